package messaging

import (
	"encoding/json"
	"fmt"
)

// Content is the typed body of a message.
type Content interface{ MsgType() string }

// contents maps a message type to its constructor: the whole vocabulary of this package.
var contents = map[string]func() Content{
	"execute_request": func() Content { return new(ExecuteRequest) },
	"execute_reply":   func() Content { return new(ExecuteReply) },

	"inspect_request":     func() Content { return new(InspectRequest) },
	"inspect_reply":       func() Content { return new(InspectReply) },
	"complete_request":    func() Content { return new(CompleteRequest) },
	"complete_reply":      func() Content { return new(CompleteReply) },
	"history_request":     func() Content { return new(HistoryRequest) },
	"history_reply":       func() Content { return new(HistoryReply) },
	"is_complete_request": func() Content { return new(IsCompleteRequest) },
	"is_complete_reply":   func() Content { return new(IsCompleteReply) },
	"kernel_info_request": func() Content { return new(KernelInfoRequest) },
	"kernel_info_reply":   func() Content { return new(KernelInfoReply) },
	"connect_request":     func() Content { return new(ConnectRequest) },
	"connect_reply":       func() Content { return new(ConnectReply) },

	"shutdown_request":        func() Content { return new(ShutdownRequest) },
	"shutdown_reply":          func() Content { return new(ShutdownReply) },
	"interrupt_request":       func() Content { return new(InterruptRequest) },
	"interrupt_reply":         func() Content { return new(InterruptReply) },
	"debug_request":           func() Content { return new(DebugRequest) },
	"debug_reply":             func() Content { return new(DebugReply) },
	"create_subshell_request": func() Content { return new(CreateSubshellRequest) },
	"create_subshell_reply":   func() Content { return new(CreateSubshellReply) },
	"delete_subshell_request": func() Content { return new(DeleteSubshellRequest) },
	"delete_subshell_reply":   func() Content { return new(DeleteSubshellReply) },
	"list_subshell_request":   func() Content { return new(ListSubshellRequest) },
	"list_subshell_reply":     func() Content { return new(ListSubshellReply) },
	"usage_request":           func() Content { return new(UsageRequest) },
	"usage_reply":             func() Content { return new(UsageReply) },
	"checkpoint_request":      func() Content { return new(CheckpointRequest) },
	"checkpoint_reply":        func() Content { return new(CheckpointReply) },

	"status":              func() Content { return new(Status) },
	"execute_input":       func() Content { return new(ExecuteInput) },
	"stream":              func() Content { return new(Stream) },
	"display_data":        func() Content { return new(DisplayData) },
	"update_display_data": func() Content { return new(UpdateDisplayData) },
	"execute_result":      func() Content { return new(ExecuteResult) },
	"error":               func() Content { return new(ErrorOutput) },
	"clear_output":        func() Content { return new(ClearOutput) },
	"debug_event":         func() Content { return new(DebugEvent) },
	"iopub_welcome":       func() Content { return new(IOPubWelcome) },

	"comm_open":         func() Content { return new(CommOpen) },
	"comm_msg":          func() Content { return new(CommMsg) },
	"comm_close":        func() Content { return new(CommClose) },
	"comm_info_request": func() Content { return new(CommInfoRequest) },
	"comm_info_reply":   func() Content { return new(CommInfoReply) },

	"input_request": func() Content { return new(InputRequest) },
	"input_reply":   func() Content { return new(InputReply) },

	leftOutType: func() Content { return new(LeftOut) },
}

// UnknownContent is the content of a message type that this package does not know, kept as it came.
type UnknownContent struct {
	Type string
	Raw  json.RawMessage
}

// MsgType is the type the message came with.
func (c *UnknownContent) MsgType() string { return c.Type }

// MarshalJSON writes the bytes as they came.
func (c *UnknownContent) MarshalJSON() ([]byte, error) {
	if c.Raw == nil {
		return []byte("{}"), nil
	}
	return c.Raw, nil
}

// ContentError says that the content of a message does not fit its type.
type ContentError struct {
	MsgType string
	Err     error
}

func (e *ContentError) Error() string {
	return fmt.Sprintf("messaging: content of %s: %v", e.MsgType, e.Err)
}

func (e *ContentError) Unwrap() error { return e.Err }

// Decode returns the typed content. An unknown type gives an *UnknownContent, content that
// cannot be read even leniently a *ContentError.
func (m *Message) Decode() (Content, error) {
	build, ok := contents[m.Header.MsgType]
	if !ok {
		return &UnknownContent{Type: m.Header.MsgType, Raw: m.Content}, nil
	}
	body := build()
	if decodeFlat(m.Content, body) {
		return body, nil
	}
	if err := decodeLenient(m.Content, body); err != nil {
		return nil, &ContentError{MsgType: m.Header.MsgType, Err: err}
	}
	return body, nil
}
