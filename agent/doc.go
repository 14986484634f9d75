// Package agent is what runs beside the code of sandboxes, wherever that is: it starts kernels and processes, reaches the
// kernels' sockets, serves files and measures. For local sandboxes it is a value in the host's own process.
//
// An [Agent] has one supervisor process (dskernel/supervisor.py), the ancestor of everything that runs in its
// sandboxes; an [Instance] is one sandbox: its folders, its keeper process, its kernels. The code in a sandbox runs under the
// same user as the keeper, so nothing a keeper says is trusted: it is bounded, and a keeper that dies
// or falls silent only ends its own sandbox.
//
// Goroutines: a reader for the supervisor's socket and for each keeper's, one for the output of each kernel.
// Agent.Close and Instance.Close wait for theirs. Start at [New].
package agent
