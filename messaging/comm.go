package messaging

import "encoding/json"

// CommOpen opens a comm, a channel between objects of kernel and front end ("Custom Messages").
// Binary data travels in Message.Buffers.
type CommOpen struct {
	CommID       string          `json:"comm_id"`
	TargetName   string          `json:"target_name"`
	TargetModule string          `json:"target_module,omitempty"`
	Data         json.RawMessage `json:"data,omitempty"`
}

// MsgType is "comm_open".
func (*CommOpen) MsgType() string { return "comm_open" }

// CommMsg is a message over an open comm. There are no replies.
type CommMsg struct {
	CommID string          `json:"comm_id"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// MsgType is "comm_msg".
func (*CommMsg) MsgType() string { return "comm_msg" }

// CommClose ends a comm, or refuses one whose target is unknown.
type CommClose struct {
	CommID string          `json:"comm_id"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// MsgType is "comm_close".
func (*CommClose) MsgType() string { return "comm_close" }

// CommInfoRequest asks for the open comms, of one target or of all.
type CommInfoRequest struct {
	TargetName string `json:"target_name,omitempty"`
}

// MsgType is "comm_info_request".
func (*CommInfoRequest) MsgType() string { return "comm_info_request" }

// CommInfoReply answers a CommInfoRequest; keys are comm ids.
type CommInfoReply struct {
	Status ReplyStatus         `json:"status"`
	Comms  map[string]CommInfo `json:"comms"`
	ReplyError
}

// MsgType is "comm_info_reply".
func (*CommInfoReply) MsgType() string { return "comm_info_reply" }

// CommInfo is one open comm.
type CommInfo struct {
	TargetName string `json:"target_name"`
}
