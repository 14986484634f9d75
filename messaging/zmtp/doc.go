// Package zmtp carries Jupyter messages over ZeroMQ's wire protocol, ZMTP 3 (https://rfc.zeromq.org/spec/23/).
//
// It owns sockets. The greeting and handshake are go-zeromq's, over a connection that is guarded: nothing a peer announces
// is allocated before it is checked. After the handshake frames are read and written here, buffered and
// bounded, because the far end belongs to hostile code.
//
// A [Conn] has no goroutine: reads happen on the caller's. A [Link], and the [Transport] over it, has one reader for each of
// its four sockets; Close waits for them. Start at [Connect] for a kernel, at [DialLink] to pass its messages on unread, at
// [Dial] for one socket, at [Listen] to play the kernel in a test.
package zmtp
