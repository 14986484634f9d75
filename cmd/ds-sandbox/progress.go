package main

import (
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// progress shows what long work does: on a terminal one line that changes, elsewhere lines.
type progress struct {
	w     io.Writer // nil: nothing is shown
	width int       // of the terminal; 0 elsewhere
	start time.Time
	shown bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, start: time.Now()}
	if fd, ok := terminalFd(w); ok {
		p.width = 80
		if width, _, err := term.GetSize(fd); err == nil && width > 20 {
			p.width = width
		}
	}
	return p
}

func (p *progress) line(text string) {
	if p.w == nil {
		return
	}
	text = printable(text)
	if p.width == 0 {
		fmt.Fprintln(p.w, text)
		return
	}
	text = fmt.Sprintf("%3.0fs %s", time.Since(p.start).Seconds(), text)
	for utf8.RuneCountInString(text) > p.width-1 {
		text = text[:len(text)-1]
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	p.shown = true
}

// end leaves the terminal as it was.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
