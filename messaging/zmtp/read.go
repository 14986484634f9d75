package zmtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// header reads the flags and size of a frame from the beginning of b; n is 0 when b is too short.
func header(b []byte) (flags byte, size uint64, n int) {
	if len(b) < 2 {
		return 0, 0, 0
	}
	if b[0]&flagLong == 0 {
		return b[0], uint64(b[1]), 2
	}
	if len(b) < 9 {
		return 0, 0, 0
	}
	return b[0], binary.BigEndian.Uint64(b[1:]), 9
}

// ReadMessage returns the frames of the next message. Commands are answered or skipped. Errors: io.EOF after a clean
// end, io.ErrUnexpectedEOF after an end inside a message, ErrTooLarge, what the network says; and, with
// Options.SkipOversize, *SkippedError, after which the next message can be read.
func (c *Conn) ReadMessage() ([][]byte, error) {
	for {
		if frames := c.buffered(); frames != nil {
			return frames, nil
		}
		if c.r.Buffered() == 0 {
			if err := c.pace.wait(c.receive); err != nil {
				return nil, err
			}
			continue
		}
		frames, err := c.readSlow()
		if err != nil || frames != nil {
			return frames, err
		}
	}
}

// receive waits until something has come and tells how much of it is buffered.
func (c *Conn) receive() (int, error) {
	_, err := c.r.Peek(1)
	return c.r.Buffered(), err
}

// buffered returns the next message if all of it has been received already, in one allocation for its bytes;
// else nil, with nothing consumed. One over the limit is none: readSlow says what becomes of it.
func (c *Conn) buffered() [][]byte {
	b, _ := c.r.Peek(c.r.Buffered())
	var bodies [8]struct{ from, to int }
	count, at, total := 0, 0, 0
	for {
		flags, size, n := header(b[at:])
		if n == 0 || flags&flagCommand != 0 || size > uint64(len(b)-at-n) || count == len(bodies) {
			return nil
		}
		from := at + n
		at = from + int(size)
		bodies[count].from, bodies[count].to = from, at
		count++
		total += int(size)
		if int64(total) > c.maxFrame {
			return nil
		}
		if flags&flagMore == 0 {
			break
		}
	}
	arena := make([]byte, 0, total)
	frames := make([][]byte, count)
	for i := range frames {
		start := len(arena)
		arena = append(arena, b[bodies[i].from:bodies[i].to]...)
		frames[i] = arena[start:len(arena):len(arena)]
	}
	_, _ = c.r.Discard(at) // all of it is buffered
	return frames
}

// readSlow reads a message frame by frame; nil frames and nil error mean that a command was read instead.
func (c *Conn) readSlow() ([][]byte, error) {
	var frames [][]byte
	total := int64(0)
	for {
		flags, size, err := c.readHeader(len(frames) > 0)
		if err != nil {
			return nil, err
		}
		if flags&flagCommand != 0 {
			if err := c.readCommand(size); err != nil {
				return nil, err
			}
			if len(frames) == 0 {
				return nil, nil
			}
			continue
		}
		if size > uint64(c.maxFrame) || total+int64(size) > c.maxFrame {
			if c.skips {
				return nil, c.skip(frames, flags, total, int64(size))
			}
			return nil, fmt.Errorf("%w: %d bytes announced after %d, the limit is %d", ErrTooLarge, size, total, c.maxFrame)
		}
		if len(frames) == maxFrames {
			return nil, fmt.Errorf("%w: more than %d frames", ErrTooLarge, maxFrames)
		}
		total += int64(size)
		body, err := c.readBody(int(size))
		if err != nil {
			return nil, err
		}
		frames = append(frames, body)
		if flags&flagMore == 0 {
			return frames, nil
		}
	}
}

// readHeader reads a frame's flags and size.
func (c *Conn) readHeader(inside bool) (flags byte, size uint64, err error) {
	var head [9]byte
	if _, err := io.ReadFull(c.r, head[:2]); err != nil {
		if inside && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, 0, err
	}
	if head[0]&flagLong != 0 {
		if _, err := io.ReadFull(c.r, head[2:]); err != nil {
			return 0, 0, unexpected(err)
		}
	}
	flags, size, _ = header(head[:])
	if size > math.MaxInt64 {
		return 0, 0, fmt.Errorf("%w: %d bytes announced", ErrTooLarge, size)
	}
	return flags, size, nil
}

// growAt is the size up to which a frame is allocated at once. A larger one grows with what has really come. Our own
// kernels send a flood in messages of 4 MiB.
const growAt = 6 << 20

// readBody reads a frame's bytes.
func (c *Conn) readBody(size int) ([]byte, error) {
	body := make([]byte, min(size, growAt))
	read := 0
	for {
		n, err := io.ReadFull(c.r, body[read:])
		read += n
		if err != nil {
			return nil, unexpected(err)
		}
		if read == size {
			return body, nil
		}
		grown := make([]byte, min(size, 2*len(body)))
		copy(grown, body)
		body = grown
	}
}

// readCommand reads a command after the handshake: PING is answered, the others are skipped.
func (c *Conn) readCommand(size uint64) error {
	if size > maxHandshake {
		return fmt.Errorf("%w: command of %d bytes", ErrTooLarge, size)
	}
	body, err := c.readBody(int(size))
	if err != nil {
		return err
	}
	// PING has a time to live of two bytes and a context of at most 16, which PONG repeats.
	if len(body) >= 7 && string(body[:5]) == "\x04PING" && len(body) <= 7+16 {
		c.pong(body[7:])
	}
	return nil
}

// pongPatience bounds how long the reader may be held up by a peer that pings and does not read.
const pongPatience = 100 * time.Millisecond

// pong answers a PING unless a writer is at work; the peer pings again. A PONG that can't be written ends writing.
func (c *Conn) pong(context []byte) {
	if !c.writing.TryLock() {
		return
	}
	defer c.writing.Unlock()
	if c.writeErr != nil {
		return
	}
	frame := append([]byte{flagCommand, byte(5 + len(context))}, "\x04PONG"...)
	frame = append(frame, context...)
	_ = c.conn.SetWriteDeadline(time.Now().Add(pongPatience))
	if _, err := c.conn.Write(frame); err != nil {
		c.writeErr = fmt.Errorf("zmtp: answer to ping: %w", err)
		return
	}
	_ = c.conn.SetWriteDeadline(time.Time{})
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
