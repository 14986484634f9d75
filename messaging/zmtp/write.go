package zmtp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

// joinBelow is the size up to which a message is copied together for one write; larger ones are gathered by the
// system (writev).
const joinBelow = 32 << 10

// WriteMessage writes a message in one call. When ctx ends first the write is broken off; a message that was
// written in part ends the connection for writing, since nothing can follow it.
func (c *Conn) WriteMessage(ctx context.Context, frames [][]byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.writeErr != nil {
		return c.writeErr
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("zmtp: write: %w", context.Cause(ctx))
	}
	expired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0))
		close(expired)
	})
	n, err := c.write(frames)
	if !stop() {
		<-expired
		_ = c.conn.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	err = fmt.Errorf("zmtp: write: %w", err)
	if n > 0 {
		c.writeErr = err
		_ = c.conn.Close() // half a message: the peer would wait for the rest for ever
	}
	return err
}

func (c *Conn) write(frames [][]byte) (int64, error) {
	total := 0
	for _, f := range frames {
		total += len(f) + 9
	}
	if total <= joinBelow {
		joined := make([]byte, 0, total)
		for i, f := range frames {
			joined = appendHeader(joined, len(f), i < len(frames)-1)
			joined = append(joined, f...)
		}
		n, err := c.conn.Write(joined)
		return int64(n), err
	}
	heads := make([]byte, 0, 9*len(frames))
	buffers := make(net.Buffers, 0, 2*len(frames))
	for i, f := range frames {
		start := len(heads)
		heads = appendHeader(heads, len(f), i < len(frames)-1)
		buffers = append(buffers, heads[start:len(heads):len(heads)], f)
	}
	return buffers.WriteTo(c.conn)
}

func appendHeader(b []byte, size int, more bool) []byte {
	var flags byte
	if more {
		flags = flagMore
	}
	if size <= 255 {
		return append(b, flags, byte(size))
	}
	return binary.BigEndian.AppendUint64(append(b, flags|flagLong), uint64(size))
}
