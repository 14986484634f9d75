package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// output hands out one output of a command by offset. What was handed out last is kept until the reader asks for what follows, so
// that an answer that was lost can be asked for again.
type output struct {
	file io.ReadCloser
	turn chan struct{} // of one element, held by who reads

	mu     sync.Mutex // guards what follows
	start  int64      // offset of kept
	kept   []byte
	err    error // after kept
	closed bool
}

func newOutput(file io.ReadCloser) *output {
	o := &output{file: file, turn: make(chan struct{}, 1)}
	o.turn <- struct{}{}
	return o
}

// maxOutput is how much is handed out at once, bytes.
const maxOutput = 64 << 10

// read returns what stands at an offset, at least one byte, or io.EOF.
func (o *output) read(ctx context.Context, offset int64, most int) ([]byte, error) {
	for {
		data, err, found := o.known(offset)
		if found {
			return data, err
		}
		select {
		case <-o.turn:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if data, err, found := o.known(offset); found { // somebody whose answer was lost has read meanwhile
			o.turn <- struct{}{}
			return data, err
		}
		if most <= 0 || most > maxOutput {
			most = maxOutput
		}
		// It goes on reading when the host is lost: the host comes again for what was read.
		go func() {
			buf := make([]byte, most)
			n, err := o.file.Read(buf)
			o.mu.Lock()
			o.start += int64(len(o.kept))
			o.kept, o.err = buf[:n:n], err
			o.mu.Unlock()
			o.turn <- struct{}{}
		}()
		select { // until it has read
		case <-o.turn:
			o.turn <- struct{}{}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// known answers from what was read already.
func (o *output) known(offset int64) (data []byte, err error, found bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := o.start + int64(len(o.kept))
	switch {
	case offset < o.start || offset > end:
		return nil, fmt.Errorf("output at %d: %w: it is at %d", offset, fs.ErrInvalid, o.start), true
	case offset < end:
		return o.kept[offset-o.start:], nil, true
	case o.err != nil:
		if !errors.Is(o.err, io.EOF) {
			return nil, o.err, true
		}
		return nil, io.EOF, true
	case o.closed:
		return nil, io.EOF, true
	}
	return nil, nil, false
}

// offset is the least that can be asked for.
func (o *output) offset() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.start
}

func (o *output) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	_ = o.file.Close()
}

// over reports whether nothing is left to be had.
func (o *output) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed || o.err != nil
}
