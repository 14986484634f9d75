package zmtp

import "fmt"

// absurd is how many times the limit a message may have to be skipped. One that announces more is no output that
// became too large, and the peer could keep us reading for ever.
const absurd = 16

// SkippedError says that a message over the limit was read past, and that the connection is as good as before.
type SkippedError struct {
	Frames [][]byte // of the message, before the one that was too much
	Size   int64    // of the whole message, bytes
	Limit  int64
}

func (e *SkippedError) Error() string {
	return fmt.Sprintf("zmtp: message of %d bytes skipped, the limit is %d", e.Size, e.Limit)
}

// skip reads past the rest of a message: of the frame whose header was read last, and those that follow.
func (c *Conn) skip(frames [][]byte, flags byte, total, size int64) error {
	for count := len(frames); ; count++ {
		if size > absurd*c.maxFrame-total || count == maxFrames {
			return fmt.Errorf("%w: %d bytes announced after %d, the limit is %d", ErrTooLarge, size, total, c.maxFrame)
		}
		total += size
		for left := size; left > 0; {
			n, err := c.r.Discard(int(min(left, readBuffer)))
			if err != nil {
				return unexpected(err)
			}
			left -= int64(n)
		}
		if flags&flagMore == 0 {
			return &SkippedError{Frames: frames, Size: total, Limit: c.maxFrame}
		}
		var err error
		if flags, size, err = c.nextHeader(); err != nil {
			return err
		}
	}
}

// nextHeader reads the header of a message's next frame, and commands before it.
func (c *Conn) nextHeader() (flags byte, size int64, err error) {
	for {
		flags, size, err := c.readHeader(true)
		if err != nil || flags&flagCommand == 0 {
			return flags, int64(size), err
		}
		if err := c.readCommand(size); err != nil {
			return 0, 0, err
		}
	}
}
