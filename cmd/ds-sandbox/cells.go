package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// cellReader reads what is to be run at once: one line, or a block.
type cellReader interface {
	// cell returns the next cell, which will be number n. Errors: io.EOF after the last, the cause of ctx.
	cell(ctx context.Context, n int) (string, error)
}

// terminalCells reads cells from a person.
type terminalCells struct {
	editor  *editor
	context *sandbox.Context
	colour  bool
	lines   []string // of the cell so far
}

// above is the code above the line being typed.
func (t *terminalCells) above() string {
	if len(t.lines) == 0 {
		return ""
	}
	return strings.Join(t.lines, "\n") + "\n"
}

func (t *terminalCells) cell(ctx context.Context, n int) (string, error) {
	t.lines = nil
	indent := ""
	for {
		line, pasted, err := t.editor.line(ctx, t.prompt(n), indent)
		switch {
		case errors.Is(err, errInterrupt):
			t.lines, indent = nil, ""
			continue
		case errors.Is(err, io.EOF) && len(t.lines) > 0: // Ctrl-D in a block runs it
			return strings.Join(t.lines, "\n"), nil
		case err != nil:
			return "", err
		}
		if strings.TrimSpace(line) == "" {
			line = "" // a line that only has the indent is an empty one
		}
		t.lines = append(t.lines, line)
		if pasted {
			indent = ""
			continue // a block with empty lines in it comes in whole
		}
		code := strings.Join(t.lines, "\n")
		more, next, err := wantsMore(ctx, t.context, code)
		if err != nil || !more {
			return code, err
		}
		indent = next
	}
}

// prompt is the one that IPython has.
func (t *terminalCells) prompt(n int) string {
	text := fmt.Sprintf("In [%d]: ", n)
	if len(t.lines) > 0 {
		text = strings.Repeat(" ", len(text)-5) + "...: "
	}
	if t.colour {
		return "\x1b[32m" + text + "\x1b[0m"
	}
	return text
}

// wantsMore asks the kernel whether code goes on. A kernel that does not know is given each line.
func wantsMore(ctx context.Context, c *sandbox.Context, code string) (more bool, indent string, err error) {
	if strings.TrimSpace(code) == "" {
		return false, "", nil
	}
	reply, err := c.IsComplete(ctx, code)
	if err != nil {
		if ctx.Err() != nil {
			return false, "", context.Cause(ctx)
		}
		return false, "", nil //nolint:nilerr // a dead kernel is told by the run
	}
	if reply.Status != "incomplete" || strings.HasSuffix(code, "\n\n\n") { // two empty lines end whatever it is
		return false, "", nil
	}
	return true, reply.Indent, nil
}

// maxPlainLine bounds a line, bytes.
const maxPlainLine = 16 << 20

// plainCells reads cells from a pipe or file.
type plainCells struct {
	keyboard *keyboard
	context  *sandbox.Context
	ctx      context.Context // of the read under way
	reader   *bufio.Reader
}

func newPlainCells(in io.Reader, c *sandbox.Context) *plainCells {
	p := &plainCells{keyboard: &keyboard{in: in}, context: c}
	p.reader = bufio.NewReader(p)
	return p
}

// Read reads from the keyboard for the reader.
func (p *plainCells) Read(b []byte) (int, error) { return p.keyboard.read(p.ctx, b) }

func (p *plainCells) cell(ctx context.Context, _ int) (string, error) {
	p.ctx = ctx
	var lines []string
	size := 0
	for {
		line, err := p.reader.ReadString('\n')
		size += len(line)
		if size > maxPlainLine {
			return "", fmt.Errorf("input of more than %d MB without an end", maxPlainLine>>20)
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(lines) == 0 && line == "") {
			return "", err
		}
		lines = append(lines, strings.TrimRight(line, "\r\n"))
		code := strings.Join(lines, "\n")
		if err != nil {
			return code, nil
		}
		more, _, err := wantsMore(ctx, p.context, code)
		if err != nil || !more {
			return code, err
		}
	}
}
