package sandbox

import "fmt"

// clip keeps the beginning and the end of a text.
type clip struct {
	half    int // of either part, bytes
	head    []byte
	tail    []byte // a ring once it is full
	at      int    // where the ring begins
	omitted int64
}

func newClip(limit int64) *clip { return &clip{half: int(max(1, limit/2))} }

func (c *clip) add(p []byte) {
	n := min(len(p), c.half-len(c.head))
	c.head = append(c.head, p[:n]...)
	p = p[n:]
	if extra := len(p) - c.half; extra > 0 { // only its end counts
		c.omitted += int64(extra)
		p = p[extra:]
	}
	n = min(len(p), c.half-len(c.tail))
	c.tail = append(c.tail, p[:n]...)
	p = p[n:]
	c.omitted += int64(len(p))
	for len(p) > 0 {
		n := copy(c.tail[c.at:], p)
		p = p[n:]
		c.at = (c.at + n) % len(c.tail)
	}
}

// String is what is kept, with a line where something was left out.
func (c *clip) String() string {
	gap := ""
	if c.omitted > 0 {
		gap = fmt.Sprintf("\n[... %d bytes left out ...]\n", c.omitted)
	}
	return string(c.head) + gap + string(c.tail[c.at:]) + string(c.tail[:c.at])
}
