// Package remote is the host's side of an agent elsewhere: a [Client] speaks to package daemon over any connection, and its
// [Instance] is a backends.Instance.
//
// The agent lives with hostile code, and may have become that code. So everything it says is bounded before it is kept, checked before
// it is believed, and waited for no longer than a set time; kernels' messages are verified here, as ever. What does not keep to the
// protocol ends what it belongs to, with an error that says so.
//
// A connection that breaks is made again, as long as somebody waits and not longer than Options.Patience. Calls are repeated on the new one
// without happening twice, and kernels' streams go on with the next message. After that calls fail with [ErrLost].
//
// Goroutines: those of the connection (net/http2), one for the heartbeat, one for each transport that is read, one for a watch
// under way. Client.Close and Transport.Close wait for theirs. Start at [Open].
package remote
