package messaging

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// ConnectionInfo says how to reach a kernel; its JSON is the connection file ("Connection files" of jupyter_client).
// With transport "ipc", IP is a path prefix and a port the number of the socket file "IP-PORT".
type ConnectionInfo struct {
	ShellPort       int    `json:"shell_port"`
	IOPubPort       int    `json:"iopub_port"`
	StdinPort       int    `json:"stdin_port"`
	ControlPort     int    `json:"control_port"`
	HBPort          int    `json:"hb_port"`
	IP              string `json:"ip"`
	Key             string `json:"key"`
	Transport       string `json:"transport"`        // "tcp" or "ipc"
	SignatureScheme string `json:"signature_scheme"` // "hmac-sha256"
	KernelName      string `json:"kernel_name"`
	CurvePublicKey  string `json:"curve_publickey,omitempty"`
}

// ErrCurve says that a kernel wants CurveZMQ, which this client does not speak.
var ErrCurve = errors.New("messaging: the connection file asks for CurveZMQ encryption, which is not supported: " +
	"start the kernel with transport ipc, or with transport_encryption disabled")

// ParseConnection reads a connection file's bytes. Ports may be numbers or strings (JEP 106).
func ParseConnection(b []byte) (*ConnectionInfo, error) {
	type plain ConnectionInfo
	var w struct {
		plain
		ShellPort   json.RawMessage `json:"shell_port"`
		IOPubPort   json.RawMessage `json:"iopub_port"`
		StdinPort   json.RawMessage `json:"stdin_port"`
		ControlPort json.RawMessage `json:"control_port"`
		HBPort      json.RawMessage `json:"hb_port"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("messaging: connection file: %w", err)
	}
	info := ConnectionInfo(w.plain)
	for _, p := range []struct {
		name string
		raw  json.RawMessage
		to   *int
	}{
		{"shell_port", w.ShellPort, &info.ShellPort},
		{"iopub_port", w.IOPubPort, &info.IOPubPort},
		{"stdin_port", w.StdinPort, &info.StdinPort},
		{"control_port", w.ControlPort, &info.ControlPort},
		{"hb_port", w.HBPort, &info.HBPort},
	} {
		if len(p.raw) == 0 {
			continue
		}
		var s lenientString
		if err := s.UnmarshalJSON(p.raw); err != nil {
			return nil, fmt.Errorf("messaging: connection file: %s: %w", p.name, err)
		}
		n, err := strconv.Atoi(string(s))
		if err != nil || n < 0 || n > 65535 {
			return nil, fmt.Errorf("messaging: connection file: %s is %q, not a port", p.name, string(s))
		}
		*p.to = n
	}
	if info.Transport == "" {
		info.Transport = "tcp"
	}
	if info.Transport != "tcp" && info.Transport != "ipc" {
		return nil, fmt.Errorf("messaging: connection file: transport %q is not tcp or ipc", info.Transport)
	}
	if info.CurvePublicKey != "" {
		return nil, ErrCurve
	}
	return &info, nil
}

// ReadConnection reads a connection file.
func ReadConnection(path string) (*ConnectionInfo, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("messaging: %w", err)
	}
	return ParseConnection(b)
}

// Address returns the network ("tcp" or "unix") and address of a channel, as package net takes them.
func (c *ConnectionInfo) Address(ch Channel) (network, address string) {
	port := map[Channel]int{
		Shell: c.ShellPort, IOPub: c.IOPubPort, Stdin: c.StdinPort, Control: c.ControlPort, Heartbeat: c.HBPort,
	}[ch]
	if c.Transport == "ipc" {
		return "unix", c.IP + "-" + strconv.Itoa(port)
	}
	return "tcp", c.IP + ":" + strconv.Itoa(port)
}
