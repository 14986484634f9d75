package messaging

import "encoding/json"

// ReplyStatus is the status every reply carries ("Request - Reply").
type ReplyStatus string

// The statuses of a reply. A missing one is read as StatusOK, the legacy "abort" as StatusAborted.
const (
	StatusOK      ReplyStatus = "ok"
	StatusError   ReplyStatus = "error"
	StatusAborted ReplyStatus = "aborted"
)

// ReplyError holds the fields a reply has when its status is "error".
type ReplyError struct {
	EName     string   `json:"ename,omitempty"`
	EValue    string   `json:"evalue,omitempty"`
	Traceback []string `json:"traceback,omitempty"`
}

// ExecuteRequest asks the kernel to run code ("Execute").
type ExecuteRequest struct {
	Code            string            `json:"code"`
	Silent          bool              `json:"silent"`
	StoreHistory    bool              `json:"store_history"`
	UserExpressions map[string]string `json:"user_expressions"` // nil is written as {}
	AllowStdin      bool              `json:"allow_stdin"`
	StopOnError     bool              `json:"stop_on_error"`
}

// MsgType is "execute_request".
func (*ExecuteRequest) MsgType() string { return "execute_request" }

// MarshalJSON writes nil UserExpressions as {}, as kernels expect.
func (r *ExecuteRequest) MarshalJSON() ([]byte, error) {
	type plain ExecuteRequest
	out := plain(*r)
	if out.UserExpressions == nil {
		out.UserExpressions = map[string]string{}
	}
	return marshalPlain(out)
}

// ExecuteReply ends an execution on the shell channel ("Execution results").
type ExecuteReply struct {
	Status          ReplyStatus               `json:"status"`
	ExecutionCount  int                       `json:"execution_count"` // 0 when aborted
	UserExpressions map[string]UserExpression `json:"user_expressions,omitempty"`
	Payload         []Payload                 `json:"payload,omitempty"`
	ReplyError
}

// MsgType is "execute_reply".
func (*ExecuteReply) MsgType() string { return "execute_reply" }

// UserExpression is the outcome of one expression of ExecuteRequest.UserExpressions.
type UserExpression struct {
	Status   ReplyStatus `json:"status"`
	Data     MIMEBundle  `json:"data,omitempty"`
	Metadata MIMEBundle  `json:"metadata,omitempty"`
	ReplyError
}

// Payload is an instruction of the kernel to its front end ("Payloads"): a page of help to show,
// the next input to set, a file to edit, a wish to exit.
type Payload struct {
	Source   string          `json:"source"`
	Data     MIMEBundle      `json:"data,omitempty"`     // page
	Start    int             `json:"start,omitempty"`    // page: line to begin at
	Text     string          `json:"text,omitempty"`     // set_next_input
	Replace  bool            `json:"replace,omitempty"`  // set_next_input
	Filename string          `json:"filename,omitempty"` // edit
	Line     json.RawMessage `json:"line_number,omitempty"`
	// Keep is of ask_exit: what exit() was given, which IPython takes for whether the kernel is to go on. It is false, true,
	// or anything else, such as the number in exit(4).
	Keep json.RawMessage `json:"keepkernel,omitempty"`
}
