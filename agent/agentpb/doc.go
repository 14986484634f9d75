// Package agentpb is what an agent and its host say to each other: Connect services over HTTP/2, generated from the .proto files
// beside, and the turning of their messages into the values of package backends.
//
// The services Process and Filesystem have the shape of E2B's; fields and calls that those lack are numbered from 20 on. The
// contents of files are plain requests on the same connection, see [ContentPath]. What comes from the other side is hostile to
// both sides: every function here that takes such a message checks what it makes of it.
//
// Start at [Protocol].
package agentpb
