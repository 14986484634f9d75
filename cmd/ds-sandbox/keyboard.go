package main

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// errInterrupt says that Ctrl-C was typed.
var errInterrupt = errors.New("interrupted at the keyboard")

// ctrlC is what a terminal in raw mode sends for the key.
const ctrlC = 3

// keyboard reads what is typed, for one reader at a time. A read can be given up: what then comes is kept for the next.
// Its goroutine lives as long as a read of the operating system does.
type keyboard struct {
	in      io.Reader
	pending chan keys // of the read under way; nil when there is none
	left    []byte    // typed ahead
	err     error     // for good
}

type keys struct {
	data []byte
	err  error
}

// read returns what was typed up to the end of a line, so that a line's reader never swallows a part of the next.
func (k *keyboard) read(ctx context.Context, p []byte) (int, error) {
	for len(k.left) == 0 {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		if k.err != nil {
			return 0, k.err
		}
		if k.pending == nil {
			k.pending = make(chan keys, 1)
			go func(to chan<- keys) {
				buf := make([]byte, 4096)
				n, err := k.in.Read(buf)
				to <- keys{buf[:n], err}
			}(k.pending)
		}
		select {
		case got := <-k.pending:
			k.pending, k.left, k.err = nil, got.data, got.err
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	n := len(k.left)
	if i := bytes.IndexAny(k.left, "\r\n"); i >= 0 {
		n = i + 1
		if k.left[i] == '\r' && n < len(k.left) && k.left[n] == '\n' {
			n++
		}
	}
	n = copy(p, k.left[:n])
	k.left = k.left[n:]
	return n, nil
}

// typedAhead reports whether there is something to read without waiting.
func (k *keyboard) typedAhead() bool { return len(k.left) > 0 }
