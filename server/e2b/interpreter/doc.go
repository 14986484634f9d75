// Package interpreter is E2B's code interpreter API: run code and stream what it shows, and keep contexts.
//
// It answers for one sandbox at a time, the one that the router has put into the request's context (fleet.With), and owns the
// form of the answers: lines of JSON, texts of errors. What code is run and what it shows is package sandbox's.
//
// A run has two goroutines: the request's own reads it and writes lines; a timer's writes a keepalive when there was none for a
// time. Both write under the stream's lock and a deadline each. A client that goes away, or does not read, ends the run as an
// interrupt does; a sandbox that is killed aborts the connection, which is how E2B's clients learn of it.
//
// Start at New.
package interpreter
