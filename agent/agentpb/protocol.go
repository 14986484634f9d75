package agentpb

// Protocol is the version of all this. Agent and host of different versions refuse each other: raise it with every change that the
// other side would misunderstand.
const Protocol = 3

// Plain requests, for bytes without bounds. The name of the file is the query's "path".
const (
	// ContentPath: GET reads a file, from "offset" on and at most "length"; PUT writes one, with "mode" (octal) and
	// "metadata" (JSON). The answer to PUT is the size, in SizeHeader.
	ContentPath = "/content"
	// TreePath: GET exports a folder as tar, PUT imports one.
	TreePath = "/tree"
	// EntriesPath: GET tells what is in a folder and below it, a TreeLine each; with "hash" the files' hashes too.
	EntriesPath = "/entries"
	// PortPath: POST connects to the query's "port"; what the server there says is the answer's body, what it is told the request's.
	PortPath = "/port"
)

// AsPath with the name of a user of a backends.Machine after it, before the path of a call of Process or Filesystem or of a plain
// request, says who does it. Files are then all of the machine's.
const AsPath = "/as/"

// Headers and trailers.
const (
	// CallHeader names a call that changes something, so that it may be repeated on another connection and still happens once.
	CallHeader = "Ds-Call"
	// FaultHeader is a trailer with a Fault in base64: what was sent is not all.
	FaultHeader = "Ds-Fault"
	// EndHeader is a trailer that says that the answer is all there is.
	EndHeader = "Ds-End"
	// SizeHeader is how many bytes were stored.
	SizeHeader = "Ds-Size"
)

// Bounds that both sides keep.
const (
	// MaxMessage of a call or of one message of a stream, bytes.
	MaxMessage = 4 << 20
	// MaxChunk of data in one message, bytes.
	MaxChunk = 256 << 10
	// MaxHeaders of one request or answer, bytes.
	MaxHeaders = 64 << 10
	// MaxLine of EntriesPath, bytes: a name and a link's target of 4096 each, in base64.
	MaxLine = 16 << 10
	// MaxFault is the size of an encoded Fault, bytes.
	MaxFault = 24 << 10
	// MaxFrames of one message of a kernel.
	MaxFrames = 4096
	// ScanBatch is how many entries are told at once.
	ScanBatch = 512

	// MaxStateValue and MaxState bound the host's state, bytes.
	MaxStateValue = 64 << 10
	MaxState      = 1 << 20
)
