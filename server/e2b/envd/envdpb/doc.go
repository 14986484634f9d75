// Package envdpb is the Connect services of E2B's in-sandbox API, process.Process and filesystem.Filesystem, as its clients know them:
// names, numbers and paths are E2B's. It holds generated code and nothing else; package envd serves them.
package envdpb
