package messaging

// EndOfInput is the InputReply.Value that raises EOFError in the cell.
const EndOfInput = "\x04"

// InputRequest asks the person at the front end for a line ("Messages on the stdin channel").
// It comes only for an execution that allowed stdin, on the stdin channel.
type InputRequest struct {
	Prompt   string `json:"prompt"`
	Password bool   `json:"password"`
}

// MsgType is "input_request".
func (*InputRequest) MsgType() string { return "input_request" }

// InputReply answers an InputRequest. Sent before the request came, it is lost.
type InputReply struct {
	Value string `json:"value"`
}

// MsgType is "input_reply".
func (*InputReply) MsgType() string { return "input_reply" }
