package messaging

import "encoding/json"

// ExecutionState is the state a kernel publishes ("Kernel status").
type ExecutionState string

// The states a kernel publishes; servers add others, which are kept as they come.
const (
	StateStarting ExecutionState = "starting"
	StateBusy     ExecutionState = "busy"
	StateIdle     ExecutionState = "idle"
)

// Status tells on iopub what the kernel does; its parent is the request it does it for.
type Status struct {
	ExecutionState ExecutionState `json:"execution_state"`
}

// MsgType is "status".
func (*Status) MsgType() string { return "status" }

// ExecuteInput repeats the code that is about to run, for all clients ("Code inputs").
type ExecuteInput struct {
	Code           string `json:"code"`
	ExecutionCount int    `json:"execution_count"`
}

// MsgType is "execute_input".
func (*ExecuteInput) MsgType() string { return "execute_input" }

// The names of the two streams.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Stream is text the code printed ("Streams").
type Stream struct {
	Name string `json:"name"` // Stdout or Stderr
	Text string `json:"text"`
}

// MsgType is "stream".
func (*Stream) MsgType() string { return "stream" }

// Transient is what an output carries that must not be stored with it.
type Transient struct {
	DisplayID string `json:"display_id,omitempty"`
}

// DisplayData is a rich output ("Display data").
type DisplayData struct {
	Data      MIMEBundle `json:"data"`
	Metadata  MIMEBundle `json:"metadata"`
	Transient Transient  `json:"transient"`
}

// MsgType is "display_data".
func (*DisplayData) MsgType() string { return "display_data" }

// UpdateDisplayData replaces every output with the same display id ("Update display data").
type UpdateDisplayData struct {
	Data      MIMEBundle `json:"data"`
	Metadata  MIMEBundle `json:"metadata"`
	Transient Transient  `json:"transient"`
}

// MsgType is "update_display_data".
func (*UpdateDisplayData) MsgType() string { return "update_display_data" }

// ExecuteResult is the value of the last expression ("Execution results").
type ExecuteResult struct {
	Data           MIMEBundle `json:"data"`
	Metadata       MIMEBundle `json:"metadata"`
	Transient      Transient  `json:"transient"`
	ExecutionCount int        `json:"execution_count"`
}

// MsgType is "execute_result".
func (*ExecuteResult) MsgType() string { return "execute_result" }

// ErrorOutput is an exception of the user's code ("Execution errors"). Traceback lines hold ANSI colours.
type ErrorOutput struct {
	EName     string   `json:"ename"`
	EValue    string   `json:"evalue"`
	Traceback []string `json:"traceback"`
}

// MsgType is "error".
func (*ErrorOutput) MsgType() string { return "error" }

// ClearOutput empties the outputs shown so far, at once or when the next one arrives ("Clear output").
type ClearOutput struct {
	Wait bool `json:"wait"`
}

// MsgType is "clear_output".
func (*ClearOutput) MsgType() string { return "clear_output" }

// IOPubWelcome says that a subscription is active (JEP 65). Only the first subscriber of a topic sees it.
type IOPubWelcome struct {
	Subscription string `json:"subscription"`
}

// MsgType is "iopub_welcome".
func (*IOPubWelcome) MsgType() string { return "iopub_welcome" }

// DebugEvent is an event of the Debug Adapter Protocol ("Debug event"), kept as it came.
type DebugEvent struct{ Raw json.RawMessage }

// MsgType is "debug_event".
func (*DebugEvent) MsgType() string { return "debug_event" }

// MarshalJSON writes the event as it came.
func (e *DebugEvent) MarshalJSON() ([]byte, error) { return rawOrEmpty(e.Raw), nil }

// UnmarshalJSON keeps the event as it came.
func (e *DebugEvent) UnmarshalJSON(b []byte) error { e.Raw = append(e.Raw[:0], b...); return nil }
