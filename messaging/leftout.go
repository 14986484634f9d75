package messaging

import (
	"encoding/json"
	"strconv"
)

// LeftOut stands where a message of iopub was left out on its way to us because it was too large. Kernels don't send it.
type LeftOut struct {
	Bytes int64 `json:"bytes"` // of the message
}

// leftOutType is a name of ours; no message of this type is on the wire.
const leftOutType = "ds_sandbox_left_out"

// MsgType is a name of ours; no message of this type is on the wire.
func (*LeftOut) MsgType() string { return leftOutType }

// LeftOutOf makes the message that stands for messages of iopub that belong to what parent asked for.
func LeftOutOf(parent *Header, size int64) *Message {
	return &Message{
		Channel: IOPub, Header: Header{MsgType: leftOutType}, Parent: parent, Content: json.RawMessage(`{"bytes":` + strconv.FormatInt(size, 10) + `}`),
	}
}

// NewLeftOut makes the message that stands for one of which only the first frames are known. Its parent is that one's, not
// verified, since what is signed was not kept. It is nil when the frames don't tell the parent.
func NewLeftOut(ch Channel, frames [][]byte, size int64) *Message {
	for i, f := range frames {
		if string(f) != Delimiter {
			continue
		}
		if len(frames) < i+4 { // the delimiter, the signature, the header, the parent
			return nil
		}
		m := &Message{Channel: ch, Parent: new(Header), Content: json.RawMessage(`{"bytes":` + strconv.FormatInt(size, 10) + `}`)}
		if readHeader(frames[i+2], &m.Header) != nil || readHeader(frames[i+3], m.Parent) != nil {
			return nil
		}
		m.Header.MsgType, m.Header.raw = leftOutType, nil
		return m
	}
	return nil
}
