// Package kernel speaks to one Jupyter kernel.
//
// It owns the conversation: which request a message answers, when a run is over, how one is interrupted, what
// happens when the kernel dies. It does not own processes or sockets; those are a backend's.
//
// A [Conn] is a conversation over any [messaging.Transport]; a [Kernel] is a Conn plus the process it
// talks to, and knows how to interrupt, restart and end it. [Conn.Execute] returns an [Execution], a handle in the
// manner of a command under way: Next pulls its events, Wait gives its reply, Close ends it.
//
// # Concurrency
//
// A Conn has one goroutine, the demultiplexer. It alone receives, it never blocks and never calls user code.
// Everything else runs on the caller's goroutine or on a timer. All methods of Conn and Kernel may be
// called by several goroutines; an Execution's Next belongs to one goroutine at a time.
//
// Runs of one Conn follow one another: the queue is ours, because Jupyter can't take a queued request back
// and an interrupt hits whatever runs. A run that reads slowly slows nobody: past its byte
// budget text is left out first and figures last, both counted, status, reply and error never.
//
// Start at [Start], or at [New] for a transport you already have.
package kernel
