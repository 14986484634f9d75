// Package control speaks E2B's control plane: REST calls that make, list, change and end sandboxes, as E2B's SDKs and its command
// line ask for them.
//
// It owns the wire: paths, bodies, paging, the answers' exact form. What the calls mean is package fleet's; whose they are is
// access.Keys'; what an error is to a client is package fault's. What is not supported answers 501 with the
// reason; unsupported.go lists it.
// What goes on in a sandbox is not asked for here: that is sandbox traffic, see packages traffic, envd and interpreter.
//
// A Handler has no goroutines and no state of its own; any number of requests may be served at once. Start at New.
package control
