package messaging

import "encoding/json"

// ShutdownRequest asks the kernel to end ("Kernel shutdown"). A busy kernel answers and goes on until its cell ends.
type ShutdownRequest struct {
	Restart bool `json:"restart"`
}

// MsgType is "shutdown_request".
func (*ShutdownRequest) MsgType() string { return "shutdown_request" }

// ShutdownReply answers a ShutdownRequest; ipykernel publishes it on iopub too.
type ShutdownReply struct {
	Status  ReplyStatus `json:"status"`
	Restart bool        `json:"restart"`
	ReplyError
}

// MsgType is "shutdown_reply".
func (*ShutdownReply) MsgType() string { return "shutdown_reply" }

// InterruptRequest asks the kernel to stop what it runs ("Kernel interrupt"), for kernelspecs with interrupt_mode "message".
type InterruptRequest struct{}

// MsgType is "interrupt_request".
func (*InterruptRequest) MsgType() string { return "interrupt_request" }

// InterruptReply answers an InterruptRequest.
type InterruptReply struct {
	Status ReplyStatus `json:"status"`
	ReplyError
}

// MsgType is "interrupt_reply".
func (*InterruptReply) MsgType() string { return "interrupt_reply" }

// DebugRequest carries a request of the Debug Adapter Protocol ("Debug request"), kept as it is.
type DebugRequest struct{ Raw json.RawMessage }

// MsgType is "debug_request".
func (*DebugRequest) MsgType() string { return "debug_request" }

// MarshalJSON writes the request as it is.
func (r *DebugRequest) MarshalJSON() ([]byte, error) { return rawOrEmpty(r.Raw), nil }

// UnmarshalJSON keeps the request as it is.
func (r *DebugRequest) UnmarshalJSON(b []byte) error { r.Raw = append(r.Raw[:0], b...); return nil }

// DebugReply carries a response of the Debug Adapter Protocol, kept as it is.
type DebugReply struct{ Raw json.RawMessage }

// MsgType is "debug_reply".
func (*DebugReply) MsgType() string { return "debug_reply" }

// MarshalJSON writes the response as it is.
func (r *DebugReply) MarshalJSON() ([]byte, error) { return rawOrEmpty(r.Raw), nil }

// UnmarshalJSON keeps the response as it is.
func (r *DebugReply) UnmarshalJSON(b []byte) error { r.Raw = append(r.Raw[:0], b...); return nil }

// CreateSubshellRequest asks for another shell of the same interpreter (JEP 91); gate on the feature "kernel subshells".
type CreateSubshellRequest struct{}

// MsgType is "create_subshell_request".
func (*CreateSubshellRequest) MsgType() string { return "create_subshell_request" }

// CreateSubshellReply answers a CreateSubshellRequest.
type CreateSubshellReply struct {
	Status     ReplyStatus `json:"status"`
	SubshellID string      `json:"subshell_id"`
	ReplyError
}

// MsgType is "create_subshell_reply".
func (*CreateSubshellReply) MsgType() string { return "create_subshell_reply" }

// DeleteSubshellRequest ends a subshell.
type DeleteSubshellRequest struct {
	SubshellID string `json:"subshell_id"`
}

// MsgType is "delete_subshell_request".
func (*DeleteSubshellRequest) MsgType() string { return "delete_subshell_request" }

// DeleteSubshellReply answers a DeleteSubshellRequest.
type DeleteSubshellReply struct {
	Status ReplyStatus `json:"status"`
	ReplyError
}

// MsgType is "delete_subshell_reply".
func (*DeleteSubshellReply) MsgType() string { return "delete_subshell_reply" }

// ListSubshellRequest asks for the subshells; the main shell is not among them.
type ListSubshellRequest struct{}

// MsgType is "list_subshell_request".
func (*ListSubshellRequest) MsgType() string { return "list_subshell_request" }

// ListSubshellReply answers a ListSubshellRequest.
type ListSubshellReply struct {
	Status     ReplyStatus `json:"status"`
	SubshellID []string    `json:"subshell_id"`
	ReplyError
}

// MsgType is "list_subshell_reply".
func (*ListSubshellReply) MsgType() string { return "list_subshell_reply" }

// UsageRequest asks ipykernel (6.7 and later) what its process uses.
type UsageRequest struct{}

// MsgType is "usage_request".
func (*UsageRequest) MsgType() string { return "usage_request" }

// UsageReply answers a UsageRequest. Without psutil in the kernel only Hostname, PID and CPUCount are set.
type UsageReply struct {
	Hostname          string          `json:"hostname"`
	PID               int             `json:"pid"`
	KernelCPU         float64         `json:"kernel_cpu,omitempty"`    // percent, with children
	KernelMemory      float64         `json:"kernel_memory,omitempty"` // bytes, with children
	HostCPUPercent    float64         `json:"host_cpu_percent,omitempty"`
	CPUCount          int             `json:"cpu_count"`
	HostVirtualMemory json.RawMessage `json:"host_virtual_memory,omitempty"`
}

// MsgType is "usage_reply".
func (*UsageReply) MsgType() string { return "usage_reply" }
