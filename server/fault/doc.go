// Package fault says what an error is to a client: one table for all dialects of the server, each of which gives it its own form.
//
// No handler picks a status itself for an error that came from below. Start at Of.
package fault
