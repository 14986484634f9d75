// Package daemon is an agent that serves a host elsewhere: process 1 of a container.
//
// It holds one agent.Agent with one agent.Instance, and serves these over HTTP/2 on a unix socket of root's, to hosts that an
// engine's exec brings there: the Connect services of package agentpb, and plain requests for the contents of files. What a
// kernel says it numbers and keeps until the host acknowledges it, so that a host that lost its connection, or was started again, goes
// on where it was. It verifies none of it and reads no more than the types of messages.
//
// A host is anybody who reaches the socket, and may do what the services offer, in bounds: of sizes, of streams, of memory kept.
// The code of the sandbox does not reach it: it has another user. When no host was heard for a while, the agent ends, and the container
// with it; time in which it is frozen does not count.
//
// Started as root in a container it has two users, see users.go: the one of code, and root where code may become that. A request says by its
// path for which it is, and without that is about the workspace, as the code's user.
//
// Goroutines: one for each connection and request, a few with a user's rights (crew.go), and for each kernel those of its sockets and one for each channel that it is told on.
// Close waits for all of them. Start at [Run], or at [New] in a program of one's own.
package daemon
