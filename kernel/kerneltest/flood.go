package kerneltest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// The longest text of a flood's message, bytes, and the shortest, which holds the number and the newline.
const (
	floodMax = 1 << 20
	floodMin = 11
)

// floodBatch is how many bytes of a flood go out in one write.
const floodBatch = 64 << 10

// FloodCode is code for which every fake kernel prints n lines of size bytes (at least 11, at most 1 MiB) on stdout, each
// in a message of its own, signed and with an id of its own, as fast as the socket takes them. None is dropped: the kernel
// waits for the socket.
func FloodCode(n, size int) string { return fmt.Sprintf("flood %d %d", n, size) }

// FloodLine is the i-th line of a flood, counted from 0.
func FloodLine(i, size int) string {
	return fmt.Sprintf("%010d", i) + strings.Repeat("x", max(size-floodMin, 0)) + "\n"
}

func parseFlood(code string) (n, size int, ok bool) {
	words := strings.Fields(code)
	if len(words) != 3 || words[0] != "flood" {
		return 0, 0, false
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || n < 0 || n > 9_999_999_999 {
		return 0, 0, false
	}
	if size, err = strconv.Atoi(words[2]); err != nil || size < 0 || size > floodMax {
		return 0, 0, false
	}
	return n, size, true
}

// flood sends the lines. All messages have one length, so they are made by changing a few digits of the first.
func flood(c *Call, n, size int) {
	if _, ok := c.from.(*pipe); ok {
		for i := 0; i < n && c.kernel.life.Err() == nil; i++ {
			c.Stream(messaging.Stdout, FloodLine(i, size))
		}
		return
	}
	m := c.Message(messaging.IOPub, &messaging.Stream{Name: messaging.Stdout, Text: FloodLine(0, size)})
	const prefix, zeros = "f-", "0000000000"
	m.Header.MsgID = prefix + zeros
	t := newTemplate(c.Encode(m), []byte(prefix+zeros), []byte(zeros), c.kernel.key)
	batch := make([]byte, 0, floodBatch+len(t.wire))
	for i := range n {
		t.number(i)
		batch = append(batch, t.wire...)
		if len(batch) >= floodBatch || i == n-1 {
			if c.kernel.life.Err() != nil {
				return
			}
			c.kernel.put(item{channel: messaging.IOPub, bytes: batch}, nil, floodLimit)
			batch = make([]byte, 0, floodBatch+len(t.wire))
		}
	}
}

// template is a message as the wire has it.
type template struct {
	wire      []byte
	signature []byte    // in wire, as are these:
	id, text  []byte    // ten digits each
	parts     [][]byte  // what is signed
	mac       hash.Hash // nil without a key
}

func newTemplate(frames [][]byte, id, text []byte, key string) *template {
	t := new(template)
	t.wire = appendFrames(nil, frames)
	at := make([][]byte, len(frames))
	end := 0
	for i, f := range frames {
		start := end + len(longHeader(0, 0))
		end = start + len(f)
		at[i] = t.wire[start:end]
	}
	// topic, delimiter, signature, header, parent, metadata, content
	t.signature, t.parts = at[2], at[3:7]
	from := bytes.Index(at[3], id) + len(id) - len(text)
	t.id = at[3][from : from+len(text)]
	from = bytes.Index(at[6], text)
	t.text = at[6][from : from+len(text)]
	if key != "" {
		t.mac = hmac.New(sha256.New, []byte(key))
	}
	return t
}

// number makes it the i-th message.
func (t *template) number(i int) {
	for at := len(t.text) - 1; at >= 0; at-- {
		t.text[at] = byte('0' + i%10)
		i /= 10
	}
	copy(t.id, t.text)
	if t.mac == nil {
		return
	}
	t.mac.Reset()
	for _, p := range t.parts {
		t.mac.Write(p)
	}
	var sum [sha256.Size]byte
	hex.Encode(t.signature, t.mac.Sum(sum[:0]))
}

// sign is the signature of parts that need not be JSON, empty without a key.
func sign(key string, parts [][]byte) []byte {
	if key == "" {
		return []byte{}
	}
	mac := hmac.New(sha256.New, []byte(key))
	for _, p := range parts {
		mac.Write(p)
	}
	return hex.AppendEncode(nil, mac.Sum(nil))
}

// appendFrames appends a message as the wire has it.
func appendFrames(b []byte, frames [][]byte) []byte {
	for i, f := range frames {
		var flags byte
		if i < len(frames)-1 {
			flags = 1 // more
		}
		b = append(append(b, longHeader(flags, uint64(len(f)))...), f...)
	}
	return b
}
