// Package messaging holds Jupyter's words on the wire: messages, their contents, signatures and frames.
//
// It owns values and codecs only: no sockets, no goroutines, no state but a session's message counter.
// [Signer] turns a [Message] into ZeroMQ frames and back; [Message.Decode] turns its content into a typed
// value of the table in content.go. What a kernel gets wrong is tolerated in lenient.go and nowhere else.
//
// The wire is described in https://jupyter-client.readthedocs.io/en/stable/messaging.html; comments name its
// sections. Start at [Session.New] to make a message and at [Signer.Decode] to read one.
package messaging
