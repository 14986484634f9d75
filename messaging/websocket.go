package messaging

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Framing is how a message stands in a frame of a websocket ("WebSocket protocols" of jupyter_server). Its value is the
// name of the subprotocol.
type Framing string

const (
	// FramingLegacy is what clients speak that name no subprotocol: JSON in a text frame, or in a binary one with the buffers
	// behind it.
	FramingLegacy Framing = ""
	// FramingV1 is a binary frame with the parts as they are on the wire.
	FramingV1 Framing = "v1.kernel.websocket.jupyter.org"
)

// ErrFraming is what Framing.Decode says of a frame that holds no message.
var ErrFraming = errors.New("messaging: no message in the websocket frame")

// Encode returns the frame of m, and whether it is a text frame. What Python's json writes beyond the standard is replaced, see
// ValidJSON, because browsers can't read it.
func (f Framing) Encode(m *Message) (frame []byte, text bool, err error) {
	header, err := m.Header.MarshalJSON()
	if err != nil {
		return nil, false, fmt.Errorf("messaging: encode header of %s: %w", m.Header.MsgType, err)
	}
	parent := json.RawMessage("{}")
	if m.Parent != nil {
		if parent, err = m.Parent.MarshalJSON(); err != nil {
			return nil, false, fmt.Errorf("messaging: encode parent of %s: %w", m.Header.MsgType, err)
		}
	}
	parts := [4]json.RawMessage{header, parent, m.Metadata, m.Content}
	if f == FramingV1 {
		return encodeV1(m, parts), false, nil
	}
	frame, err = encodeLegacy(m, parts)
	return frame, len(m.Buffers) == 0, err
}

// encodeV1 lays out a frame: the number of offsets, the offsets, the channel, the four parts, the buffers; integers have 64 bits,
// the lowest first. The last offset is the frame's length.
func encodeV1(m *Message, parts [4]json.RawMessage) []byte {
	segments := make([][]byte, 0, 5+len(m.Buffers))
	segments = append(segments, []byte(m.Channel))
	for _, p := range parts {
		segments = append(segments, browserJSON(p))
	}
	segments = append(segments, m.Buffers...)
	at := uint64(8 * (len(segments) + 2))
	size := at
	for _, s := range segments {
		size += uint64(len(s))
	}
	frame := binary.LittleEndian.AppendUint64(make([]byte, 0, size), uint64(len(segments)+1))
	for _, s := range segments {
		frame = binary.LittleEndian.AppendUint64(frame, at)
		at += uint64(len(s))
	}
	frame = binary.LittleEndian.AppendUint64(frame, at)
	for _, s := range segments {
		frame = append(frame, s...)
	}
	return frame
}

// browserJSON is ValidJSON without the cost of it for what is fine, as nearly everything is.
func browserJSON(b json.RawMessage) json.RawMessage {
	if len(b) == 0 {
		return json.RawMessage("{}")
	}
	if !bytes.Contains(b, []byte("NaN")) && !bytes.Contains(b, []byte("Infinity")) && utf8.Valid(b) {
		return b
	}
	return ValidJSON(b)
}

// encodeLegacy writes the JSON that jupyter_server does: with the id and the type at the top as well, which gateway clients look at.
func encodeLegacy(m *Message, parts [4]json.RawMessage) ([]byte, error) {
	ids, err := marshalPlain(struct {
		MsgID   string  `json:"msg_id"`
		MsgType string  `json:"msg_type"`
		Channel Channel `json:"channel"`
	}{m.Header.MsgID, m.Header.MsgType, m.Channel})
	if err != nil {
		return nil, fmt.Errorf("messaging: encode %s: %w", m.Header.MsgType, err)
	}
	size := len(ids) + 96
	for i, p := range parts {
		parts[i] = ValidJSON(rawOrEmpty(p))
		size += len(parts[i])
	}
	prefix := 0 // of a binary frame: how many parts, and where each begins
	if n := len(m.Buffers); n > 0 {
		prefix = 4 * (n + 2)
		for _, b := range m.Buffers {
			size += len(b)
		}
	}
	frame := make([]byte, prefix, prefix+size)
	frame = append(frame, ids[:len(ids)-1]...)
	for i, key := range []string{`,"header":`, `,"parent_header":`, `,"metadata":`, `,"content":`} {
		frame = append(append(frame, key...), parts[i]...)
	}
	if prefix == 0 {
		return append(frame, `,"buffers":[]}`...), nil
	}
	frame = append(frame, '}')
	binary.BigEndian.PutUint32(frame, uint32(len(m.Buffers)+1))
	binary.BigEndian.PutUint32(frame[4:], uint32(prefix))
	for i, b := range m.Buffers {
		binary.BigEndian.PutUint32(frame[8+4*i:], uint32(len(frame)))
		frame = append(frame, b...)
	}
	return frame, nil
}

// Decode reads a frame. The message keeps it: the caller must not change it. Metadata and content of the message are JSON objects,
// so that it can be given to a kernel. Text and binary frames are told apart by their first byte, because jupyter_server's
// gateway client sends the binary layout in text frames. Error: ErrFraming.
func (f Framing) Decode(frame []byte) (*Message, error) {
	var m *Message
	var err error
	switch {
	case f == FramingV1:
		m, err = decodeV1(frame)
	case len(frame) > 0 && frame[0] == 0:
		m, err = decodeLegacyBinary(frame)
	default:
		m, err = decodeLegacy(frame)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFraming, err)
	}
	return m, nil
}

var errOffsets = errors.New("its offsets are wrong")

func decodeV1(frame []byte) (*Message, error) {
	if len(frame) < 8 {
		return nil, errOffsets
	}
	n := binary.LittleEndian.Uint64(frame)
	if n < 6 || n > uint64(len(frame)/8)-1 {
		return nil, errOffsets
	}
	at := make([]uint64, n)
	for i := range at {
		at[i] = binary.LittleEndian.Uint64(frame[8*(i+1):])
	}
	// Clients differ in what the last offset is when there are no buffers; what counts is where the segments begin.
	segments, err := cut(frame, 8*(n+1), at[:n-1])
	if err != nil {
		return nil, err
	}
	return fromParts(string(segments[0]), [4]json.RawMessage{segments[1], segments[2], segments[3], segments[4]}, segments[5:])
}

func decodeLegacyBinary(frame []byte) (*Message, error) {
	if len(frame) < 8 {
		return nil, errOffsets
	}
	n := binary.BigEndian.Uint32(frame)
	if n < 1 || uint64(n) > uint64(len(frame)/4)-1 {
		return nil, errOffsets
	}
	at := make([]uint64, n)
	for i := range at {
		at[i] = uint64(binary.BigEndian.Uint32(frame[4*(i+1):]))
	}
	segments, err := cut(frame, 4*(uint64(n)+1), at)
	if err != nil {
		return nil, err
	}
	m, err := decodeLegacy(segments[0])
	if err == nil && n > 1 {
		m.Buffers = segments[1:]
	}
	return m, err
}

// cut gives the segments of a frame that begin at the offsets, the first one not before from.
func cut(frame []byte, from uint64, at []uint64) ([][]byte, error) {
	segments := make([][]byte, len(at))
	for i, begin := range at {
		end := uint64(len(frame))
		if i+1 < len(at) {
			end = at[i+1]
		}
		if begin < from || end < begin || end > uint64(len(frame)) {
			return nil, errOffsets
		}
		segments[i] = frame[begin:end]
	}
	return segments, nil
}

func decodeLegacy(text []byte) (*Message, error) {
	var w struct {
		Channel  lenientString   `json:"channel"`
		Header   json.RawMessage `json:"header"`
		Parent   json.RawMessage `json:"parent_header"`
		Metadata json.RawMessage `json:"metadata"`
		Content  json.RawMessage `json:"content"`
	}
	if err := decodeLenient(text, &w); err != nil {
		return nil, err
	}
	return fromParts(string(w.Channel), [4]json.RawMessage{w.Header, w.Parent, w.Metadata, w.Content}, nil)
}

// fromParts makes a message of what a frame held.
func fromParts(channel string, parts [4]json.RawMessage, buffers [][]byte) (*Message, error) {
	m := &Message{Channel: Channel(channel)}
	if len(buffers) > 0 {
		m.Buffers = buffers
	}
	if err := readObject(parts[0], &m.Header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if m.Header.MsgType == "" {
		return nil, errors.New("header: no msg_type")
	}
	var parent Header
	if err := readObject(parts[1], &parent); err != nil {
		return nil, fmt.Errorf("parent header: %w", err)
	}
	if parent.MsgID != "" {
		m.Parent = &parent
	}
	for i, to := range []*json.RawMessage{&m.Metadata, &m.Content} {
		b := parts[2+i]
		if isNull(b) {
			b = json.RawMessage("{}")
		}
		if !isObject(b) || !json.Valid(b) {
			return nil, fmt.Errorf("%s is not a JSON object", [2]string{"metadata", "content"}[i])
		}
		*to = b
	}
	switch m.Channel {
	case Shell, Control, Stdin, IOPub:
	case "":
		m.Channel = usualChannel(m.Header.MsgType)
	default:
		return nil, fmt.Errorf("channel %q is not known", channel)
	}
	return m, nil
}

// readObject reads a header that is there and is an object.
func readObject(b json.RawMessage, h *Header) error {
	if isNull(b) {
		return nil
	}
	if !isObject(b) || !json.Valid(b) {
		return errors.New("not a JSON object")
	}
	return readHeader(b, h)
}

func isObject(b []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) }

func isNull(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) == 0 || string(b) == "null"
}

// usualChannel is where a message goes whose sender named no channel; jupyter_server's GatewayKernelClient never does.
func usualChannel(msgType string) Channel {
	switch msgType {
	case "input_reply":
		return Stdin
	case "shutdown_request", "interrupt_request", "debug_request", "usage_request",
		"create_subshell_request", "delete_subshell_request", "list_subshell_request":
		return Control
	}
	return Shell
}
