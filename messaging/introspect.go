package messaging

import "encoding/json"

// InspectRequest asks about the name at the cursor ("Introspection").
type InspectRequest struct {
	Code        string `json:"code"`
	CursorPos   int    `json:"cursor_pos"`   // in unicode code points
	DetailLevel int    `json:"detail_level"` // 0, or 1 for the source too
}

// MsgType is "inspect_request".
func (*InspectRequest) MsgType() string { return "inspect_request" }

// InspectReply answers an InspectRequest.
type InspectReply struct {
	Status   ReplyStatus `json:"status"`
	Found    bool        `json:"found"`
	Data     MIMEBundle  `json:"data"`
	Metadata MIMEBundle  `json:"metadata"`
	ReplyError
}

// MsgType is "inspect_reply".
func (*InspectReply) MsgType() string { return "inspect_reply" }

// CompleteRequest asks how the code at the cursor may go on ("Completion").
type CompleteRequest struct {
	Code      string `json:"code"`
	CursorPos int    `json:"cursor_pos"` // in unicode code points
}

// MsgType is "complete_request".
func (*CompleteRequest) MsgType() string { return "complete_request" }

// CompleteReply answers a CompleteRequest: each match replaces the text between the cursors.
type CompleteReply struct {
	Status      ReplyStatus `json:"status"`
	Matches     []string    `json:"matches"`
	CursorStart int         `json:"cursor_start"` // in unicode code points
	CursorEnd   int         `json:"cursor_end"`
	Metadata    MIMEBundle  `json:"metadata"`
	ReplyError
}

// MsgType is "complete_reply".
func (*CompleteReply) MsgType() string { return "complete_reply" }

// HistoryRequest asks for earlier inputs ("History").
type HistoryRequest struct {
	Output         bool   `json:"output"`
	Raw            bool   `json:"raw"`
	HistAccessType string `json:"hist_access_type"` // "range", "tail" or "search"
	Session        int    `json:"session,omitempty"`
	Start          int    `json:"start,omitempty"`
	Stop           int    `json:"stop,omitempty"`
	N              int    `json:"n,omitempty"`
	Pattern        string `json:"pattern,omitempty"`
	Unique         bool   `json:"unique,omitempty"`
}

// MsgType is "history_request".
func (*HistoryRequest) MsgType() string { return "history_request" }

// HistoryReply answers a HistoryRequest.
type HistoryReply struct {
	Status  ReplyStatus    `json:"status"`
	History []HistoryEntry `json:"history"`
	ReplyError
}

// MsgType is "history_reply".
func (*HistoryReply) MsgType() string { return "history_reply" }

// IsCompleteRequest asks whether code may be run as it stands ("Code completeness").
type IsCompleteRequest struct {
	Code string `json:"code"`
}

// MsgType is "is_complete_request".
func (*IsCompleteRequest) MsgType() string { return "is_complete_request" }

// IsCompleteReply answers an IsCompleteRequest; its status is of its own kind.
type IsCompleteReply struct {
	Status string `json:"status"` // "complete", "incomplete", "invalid" or "unknown"
	Indent string `json:"indent"` // of the next line, when incomplete
}

// MsgType is "is_complete_reply".
func (*IsCompleteReply) MsgType() string { return "is_complete_reply" }

// KernelInfoRequest asks what the kernel is ("Kernel info"). It may be sent on shell and control.
type KernelInfoRequest struct{}

// MsgType is "kernel_info_request".
func (*KernelInfoRequest) MsgType() string { return "kernel_info_request" }

// KernelInfoReply answers a KernelInfoRequest.
type KernelInfoReply struct {
	Status                ReplyStatus  `json:"status"`
	ProtocolVersion       string       `json:"protocol_version"`
	Implementation        string       `json:"implementation"`
	ImplementationVersion string       `json:"implementation_version"`
	LanguageInfo          LanguageInfo `json:"language_info"`
	Banner                string       `json:"banner"`
	HelpLinks             []HelpLink   `json:"help_links,omitempty"`
	Debugger              bool         `json:"debugger,omitempty"`
	SupportedFeatures     []string     `json:"supported_features,omitempty"`
	ReplyError
}

// MsgType is "kernel_info_reply".
func (*KernelInfoReply) MsgType() string { return "kernel_info_reply" }

// LanguageInfo describes the language a kernel runs.
type LanguageInfo struct {
	Name              string          `json:"name"`
	Version           string          `json:"version"`
	MIMEType          string          `json:"mimetype"`
	FileExtension     string          `json:"file_extension"`
	PygmentsLexer     string          `json:"pygments_lexer,omitempty"`
	CodeMirrorMode    json.RawMessage `json:"codemirror_mode,omitempty"` // a string or an object
	NBConvertExporter string          `json:"nbconvert_exporter,omitempty"`
}

// HelpLink is a link a front end may show.
type HelpLink struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

// ConnectRequest asks for the kernel's ports ("Connect"; deprecated).
type ConnectRequest struct{}

// MsgType is "connect_request".
func (*ConnectRequest) MsgType() string { return "connect_request" }

// ConnectReply answers a ConnectRequest.
type ConnectReply struct {
	Status      ReplyStatus `json:"status"`
	ShellPort   int         `json:"shell_port"`
	IOPubPort   int         `json:"iopub_port"`
	StdinPort   int         `json:"stdin_port"`
	HBPort      int         `json:"hb_port"`
	ControlPort int         `json:"control_port"`
	ReplyError
}

// MsgType is "connect_reply".
func (*ConnectReply) MsgType() string { return "connect_reply" }
