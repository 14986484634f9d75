package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
)

// lineReader reads lines of a standard input that is no terminal. One goroutine at a time may use it.
type lineReader struct {
	from  *bufio.Reader
	ahead chan line // of a read that its context broke off; nil while there is none
}

type line struct {
	text string
	err  error
}

// read returns the next line without its end. A pipe can't be told to give up, so a read that is broken off goes on, and its
// line is the next one's.
func (l *lineReader) read(ctx context.Context) (string, error) {
	if l.ahead == nil {
		ahead := make(chan line, 1)
		l.ahead = ahead
		go func() {
			text, err := l.from.ReadString('\n')
			if errors.Is(err, io.EOF) && text != "" {
				err = nil
			}
			ahead <- line{strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), err}
		}()
	}
	select {
	case got := <-l.ahead:
		l.ahead = nil
		return got.text, got.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
