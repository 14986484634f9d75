// Package jupyter speaks Jupyter Server's REST and websocket protocols for kernels, so that JupyterLab's services, a jupyter_server
// started with --gateway-url and jupyter_kernel_client work with a daemon's sandboxes.
//
// A kernel of this interface is a context of a sandbox; its id is the context's with dashes in it. POST /api/kernels makes a sandbox, whose
// default context is the kernel. Under /sandboxes/{id}/jupyter the same interface shows the contexts of one sandbox alone, and POST makes
// a context in it. What has no place for a header may begin its base URL with /t/{key}.
//
// A websocket sees all that the kernel sends on iopub, whoever had it run, and the replies to its own requests. Its requests reach
// the kernel with their ids; an execute_request waits for its turn with all other runs of the context and stands in its journal. Contents,
// sessions and terminals are not here.
//
// Each websocket has a goroutine that reads and one that writes; those of one session_id are one client after another, whose unread
// messages are kept for a while. A client that is slower than its budget is cut off: nobody waits for it. Requests of a client on the shell
// channel follow one another on a goroutine that lives while there are any. Handler.Close ends all of it.
//
// Start at New.
package jupyter
