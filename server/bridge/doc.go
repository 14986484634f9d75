// Package bridge gives user interfaces that know nothing of Jupyter a live view of a sandbox: JSON events over a websocket.
//
//	GET /sandboxes/{id}/events?context=C&after=N&journal=J
//
// upgrades to a websocket of subprotocol [Protocol], or else answers with the same events as server-sent events, for reading only.
// It shows one context: that of the id, or the sandbox's default one. What is sent either way is written down in events.go and
// requests.go, and as types in examples/bridge-client/protocol.ts; in short:
//
//   - First comes "hello", with the contexts and the name of the journal. Then the events of every run, whoever began it, each with
//     the number it has in the sandbox's Journal: "started", "count", "stdout", "stderr", "result", "update", "clear", "input",
//     "answered", "pages", "error", "cut", "done", and "restarted", "dropped" between runs. What threads show later follows "done" with
//     their run's number; with ipykernel before 7 it is that of the latest run. Numbers rise; some are left out. "live"
//     comes once, when all that was kept has been sent, and "gone" is the last when the context or its sandbox has ended.
//   - A client that comes back gives the number it saw last and the journal's name, and misses nothing that the journal still has;
//     what it has no more is told as "dropped". With the name of another journal everything is sent from its beginning.
//   - A client sends requests: "run", "interrupt", "input", "complete", "inspect", "restart", "contexts", "create_context",
//     "remove_context", "ping". Each is answered once, by an "answer" with its id. Runs are answered when they begin.
//
// A run goes on when the one who began it leaves. Runs of one context follow one another in the order of their requests, whoever
// sent them, and take the same turns as all other runs of the sandbox. Whoever is connected may answer an input.
//
// Nobody holds back the kernel: viewers read the journal, one event at a time, and have no queue but for answers. One that reads
// slower than the code writes misses what the journal drops and is told so; one that does not read at all is closed. The viewers of one
// context share the encoding of what they are told.
//
// The package also serves the workspace's files and the JavaScript of figures, for the page of package ui.
//
// The server bounds bodies, and how slowly a client may send or read one; of websockets the package does that itself.
//
// A viewer has two goroutines, one that reads and one that writes; runs have one for each context that has any. Close ends all and
// waits for them.
//
// Start at New.
package bridge
