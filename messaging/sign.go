package messaging

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // JEP 106 names it; a kernel that asks for it gets it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"sync"
)

// Delimiter ends the identities of a message's frames ("The wire protocol").
const Delimiter = "<IDS|MSG>"

// What Signer.Decode says of frames that are no message of ours.
var (
	ErrDelimiter = errors.New("messaging: frames hold no " + Delimiter)
	ErrShort     = errors.New("messaging: fewer than five frames after the delimiter")
	ErrSignature = errors.New("messaging: wrong signature")
)

// Signer turns messages into signed frames and back. It may be used by several goroutines.
type Signer struct {
	keyed bool
	macs  sync.Pool // of hash.Hash, keyed
}

// NewSigner returns a signer for a connection's key and scheme ("hmac-sha256" when empty).
// An empty key signs nothing and verifies nothing, as the protocol has it.
func NewSigner(scheme string, key []byte) (*Signer, error) {
	var build func() hash.Hash
	switch scheme {
	case "", "hmac-sha256":
		build = sha256.New
	case "hmac-sha512":
		build = sha512.New
	case "hmac-md5":
		build = md5.New
	default:
		return nil, fmt.Errorf("messaging: signature scheme %q is not known: use hmac-sha256, hmac-sha512 or hmac-md5", scheme)
	}
	s := &Signer{keyed: len(key) > 0}
	key = bytes.Clone(key)
	s.macs.New = func() any { return hmac.New(build, key) }
	return s, nil
}

// sign is the lowercase hex MAC of the four parts, empty without a key.
func (s *Signer) sign(parts [][]byte) []byte {
	if !s.keyed {
		return []byte{}
	}
	mac := s.macs.Get().(hash.Hash)
	defer s.macs.Put(mac)
	mac.Reset()
	for _, p := range parts {
		mac.Write(p)
	}
	var sum [sha512.Size]byte
	return hex.AppendEncode(nil, mac.Sum(sum[:0]))
}

// Encode returns the frames of m: identities, delimiter, signature, four parts, buffers.
func (s *Signer) Encode(m *Message) ([][]byte, error) {
	header, err := m.Header.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("messaging: encode header of %s: %w", m.Header.MsgType, err)
	}
	parent := []byte("{}")
	if m.Parent != nil {
		if parent, err = m.Parent.MarshalJSON(); err != nil {
			return nil, fmt.Errorf("messaging: encode parent of %s: %w", m.Header.MsgType, err)
		}
	}
	parts := [][]byte{header, parent, rawOrEmpty(m.Metadata), rawOrEmpty(m.Content)}
	frames := make([][]byte, 0, len(m.Identities)+6+len(m.Buffers))
	frames = append(frames, m.Identities...)
	frames = append(frames, []byte(Delimiter), s.sign(parts))
	frames = append(frames, parts...)
	return append(frames, m.Buffers...), nil
}

// Decode verifies frames and reads the headers; the content stays encoded. The message keeps the
// frames: the caller must not change them. Errors: ErrDelimiter, ErrShort, ErrSignature, or of the JSON of a header.
func (s *Signer) Decode(ch Channel, frames [][]byte) (*Message, error) {
	var d Decoder
	d.Signer = s
	return d.Decode(ch, frames)
}

// Decoder is Signer.Decode for one stream of messages: it remembers the last parent header, which is the
// same for all outputs of a run. It must not be used by several goroutines.
type Decoder struct {
	Signer *Signer
	parent *Header
}

// Decode is Signer.Decode.
func (d *Decoder) Decode(ch Channel, frames [][]byte) (*Message, error) {
	at := -1
	for i, f := range frames {
		if string(f) == Delimiter {
			at = i
			break
		}
	}
	if at < 0 {
		return nil, ErrDelimiter
	}
	rest := frames[at+1:]
	if len(rest) < 5 {
		return nil, ErrShort
	}
	if !hmac.Equal(d.Signer.sign(rest[1:5]), rest[0]) && d.Signer.keyed {
		return nil, ErrSignature
	}
	m := &Message{Channel: ch, Metadata: rest[3], Content: rest[4]}
	if at > 0 {
		m.Identities = frames[:at]
	}
	if len(rest) > 5 {
		m.Buffers = rest[5:]
	}
	if err := readHeader(rest[1], &m.Header); err != nil {
		return nil, fmt.Errorf("messaging: header: %w", err)
	}
	if m.Header.MsgType == "" {
		return nil, errors.New("messaging: header: no msg_type")
	}
	parent, err := d.readParent(rest[2])
	if err != nil {
		return nil, fmt.Errorf("messaging: parent header: %w", err)
	}
	m.Parent = parent
	return m, nil
}

func (d *Decoder) readParent(b []byte) (*Header, error) {
	switch string(b) {
	case "", "{}", "null":
		return nil, nil
	}
	if d.parent != nil && bytes.Equal(d.parent.raw, b) {
		return d.parent, nil
	}
	h := new(Header)
	if err := readHeader(b, h); err != nil {
		return nil, err
	}
	if h.MsgID == "" {
		return nil, nil
	}
	d.parent = h
	return h, nil
}

// readHeader reads a header leniently and keeps its bytes for writing it back.
func readHeader(b []byte, h *Header) error {
	*h = Header{raw: b}
	if flat(b, func(key, value []byte, isString bool) {
		if to := h.field(string(key)); to != nil {
			*to = field(value, isString)
		}
	}) {
		return nil
	}
	var w wireHeader
	if err := decodeLenient(json.RawMessage(b), &w); err != nil {
		return err
	}
	*h = Header{
		MsgID: string(w.MsgID), Session: string(w.Session), Username: string(w.Username), Date: string(w.Date),
		MsgType: string(w.MsgType), Version: string(w.Version), SubshellID: string(w.SubshellID),
		raw: b,
	}
	return nil
}

// field is where a key of the wire is stored; nil for one we do not know.
func (h *Header) field(key string) *string {
	switch key {
	case "msg_id":
		return &h.MsgID
	case "session":
		return &h.Session
	case "username":
		return &h.Username
	case "date":
		return &h.Date
	case "msg_type":
		return &h.MsgType
	case "version":
		return &h.Version
	case "subshell_id":
		return &h.SubshellID
	}
	return nil
}
