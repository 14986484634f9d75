package messaging

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// ProtocolVersion is the version of the Jupyter protocol that our headers announce.
const ProtocolVersion = "5.4"

// Channel names one of the five sockets of a kernel.
type Channel string

// The channels of a kernel ("Introduction" of the protocol).
const (
	Shell     Channel = "shell"
	Control   Channel = "control"
	Stdin     Channel = "stdin"
	IOPub     Channel = "iopub"
	Heartbeat Channel = "hb"
)

// Message is one Jupyter message. Content stays encoded until Decode, so a bridge
// passes on what it does not understand. A Message is immutable once it is sent or received.
type Message struct {
	Channel    Channel
	Identities [][]byte // routing prefix or iopub topic; nil off ZeroMQ
	Header     Header
	Parent     *Header // nil is written as {}
	Metadata   json.RawMessage
	Content    json.RawMessage
	Buffers    [][]byte // never signed
}

// Header identifies a message ("Message header" of the protocol).
//
// A header that was decoded keeps the bytes it came from and is written back as exactly those,
// because clients route on parent headers and kernels format dates differently.
type Header struct {
	MsgID      string
	Session    string
	Username   string
	Date       string // ISO 8601 as the sender wrote it; see Time
	MsgType    string
	Version    string
	SubshellID string // empty is the main shell

	raw json.RawMessage
}

// wireHeader is Header as the wire has it.
type wireHeader struct {
	MsgID      lenientString `json:"msg_id"`
	Session    lenientString `json:"session"`
	Username   lenientString `json:"username"`
	Date       lenientString `json:"date"`
	MsgType    lenientString `json:"msg_type"`
	Version    lenientString `json:"version"`
	SubshellID lenientString `json:"subshell_id,omitempty"`
}

// Time is the header's date; zero when it is absent or unreadable.
func (h *Header) Time() time.Time { return parseDate(h.Date) }

// MarshalJSON writes the bytes the header was decoded from, or its fields.
func (h *Header) MarshalJSON() ([]byte, error) {
	if h.raw != nil {
		return h.raw, nil
	}
	return json.Marshal(wireHeader{
		MsgID: lenientString(h.MsgID), Session: lenientString(h.Session), Username: lenientString(h.Username),
		Date: lenientString(h.Date), MsgType: lenientString(h.MsgType), Version: lenientString(h.Version),
		SubshellID: lenientString(h.SubshellID),
	})
}

// UnmarshalJSON reads a header leniently (lenient.go) and keeps a copy of its bytes.
func (h *Header) UnmarshalJSON(b []byte) error { return readHeader(bytes.Clone(b), h) }

// ParentID is the id of the message that caused this one; empty when none did.
func (m *Message) ParentID() string {
	if m.Parent == nil {
		return ""
	}
	return m.Parent.MsgID
}

// Child makes a message caused by m, for instance an input_reply or, in a fake kernel, an output.
// Its session and user are m's; the caller that speaks for another session sets Header.Session.
func (m *Message) Child(ch Channel, body Content) (*Message, error) {
	child, err := newMessage(ch, body)
	if err != nil {
		return nil, err
	}
	child.Header.MsgID = uuid.NewString()
	child.Header.Session = m.Header.Session
	child.Header.Username = m.Header.Username
	parent := m.Header
	child.Parent = &parent
	return child, nil
}

// Session is the identity of one client (or kernel) on the wire; it makes messages with ids of its own.
// It may be used by several goroutines.
type Session struct {
	ID       string
	Username string
	counter  atomic.Uint64
}

// NewSession returns a session with a fresh random id. An empty username becomes "ds-sandbox".
func NewSession(username string) *Session {
	if username == "" {
		username = "ds-sandbox"
	}
	return &Session{ID: uuid.NewString(), Username: username}
}

// New makes a message without a parent.
func (s *Session) New(ch Channel, body Content) (*Message, error) {
	m, err := newMessage(ch, body)
	if err != nil {
		return nil, err
	}
	m.Header.MsgID = fmt.Sprintf("%s_%d", s.ID, s.counter.Add(1))
	m.Header.Session = s.ID
	m.Header.Username = s.Username
	return m, nil
}

func newMessage(ch Channel, body Content) (*Message, error) {
	content, err := marshalPlain(body)
	if err != nil {
		return nil, fmt.Errorf("messaging: encode %s: %w", body.MsgType(), err)
	}
	return &Message{
		Channel: ch,
		Header: Header{
			Date:    time.Now().UTC().Format(dateLayout),
			MsgType: body.MsgType(),
			Version: ProtocolVersion,
		},
		Content: content,
	}, nil
}

// Pusher is a Transport that can hand messages over without a queue and a second goroutine in between, which costs
// more than all the rest of a small message's way.
type Pusher interface {
	// Push calls handle for every message until the end, and then returns what Recv would. Messages of one
	// channel come in order, those of different channels at the same time. Push and Recv exclude each other.
	Push(handle func(*Message)) error
}

// Transport carries messages to and from one kernel, whatever the wire.
// One goroutine calls Recv; any may call Send; Close ends both and waits for its own goroutines.
type Transport interface {
	Send(ctx context.Context, m *Message) error
	Recv(ctx context.Context) (*Message, error) // next of any channel; io.EOF after Close or a clean end of the peer
	Close() error
}
