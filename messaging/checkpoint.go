package messaging

// CheckpointRequest asks one of our own kernels to make a copy of itself that waits on a unix socket. It is no part of the
// protocol of Jupyter; other kernels do not answer it.
type CheckpointRequest struct {
	Socket string `json:"socket"` // path, to be made
}

// MsgType is "checkpoint_request".
func (*CheckpointRequest) MsgType() string { return "checkpoint_request" }

// CheckpointReply answers a CheckpointRequest. With status "error", Reasons are why the kernel refuses, if it does.
type CheckpointReply struct {
	Status     ReplyStatus `json:"status"`
	PID        int         `json:"pid"`
	Warnings   []string    `json:"warnings"` // what the copy shares or lacks
	Generation int         `json:"generation"`
	Reasons    []string    `json:"reasons,omitempty"`
	ReplyError
}

// MsgType is "checkpoint_reply".
func (*CheckpointReply) MsgType() string { return "checkpoint_reply" }
