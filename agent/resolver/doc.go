// Package resolver answers a sandbox's DNS: only names that are admitted, only with addresses that may be reached, and
// it lets these be reached before it answers.
//
// It owns the parsing of hostile queries and hostile answers; an answer is always written anew from what was understood. Which names and
// addresses those are is a [Gate]'s. Goroutines: a reader, an acceptor, one per query and per TCP connection, all bounded;
// [Server.Serve] waits for them. Start at [Listen].
package resolver
