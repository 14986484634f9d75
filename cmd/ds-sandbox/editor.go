package main

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/term"
)

// completer tells how a line goes on when Tab is typed: the new line and the cursor in it, in bytes. What it writes to w
// appears above the line.
type completer func(ctx context.Context, w io.Writer, line string, pos int) (newLine string, newPos int)

// editor reads lines from a terminal: with editing, history and completion, in pasted blocks too. It puts the terminal in
// raw mode only while it reads. One goroutine at a time may use it.
type editor struct {
	fd       int
	keyboard *keyboard
	out      io.Writer
	complete completer    // nil: Tab is a character
	history  term.History // nil: none is kept

	lines *term.Terminal
	wire  *editorWire
}

// editorWire is what the terminal library reads from and writes to.
type editorWire struct {
	keyboard    *keyboard
	out         io.Writer
	ctx         context.Context // of the line being read
	inject      []byte          // typed for the person: the indent
	interrupted bool
}

func (w *editorWire) Read(p []byte) (int, error) {
	if len(w.inject) > 0 {
		n := copy(p, w.inject)
		w.inject = w.inject[n:]
		return n, nil
	}
	n, err := w.keyboard.read(w.ctx, p)
	for _, b := range p[:n] {
		w.interrupted = w.interrupted || b == ctrlC
	}
	return n, err
}

func (w *editorWire) Write(p []byte) (int, error) { return w.out.Write(p) }

func newEditor(in *os.File, out io.Writer) *editor {
	e := &editor{fd: int(in.Fd()), keyboard: &keyboard{in: in}, out: out}
	e.wire = &editorWire{keyboard: e.keyboard, out: out}
	return e
}

// line reads a line that begins with indent. pasted says that it was part of a paste, of which more may come.
// Errors: io.EOF for Ctrl-D on an empty line, errInterrupt, the cause of ctx.
func (e *editor) line(ctx context.Context, prompt, indent string) (line string, pasted bool, err error) {
	if e.lines == nil {
		e.lines = e.newTerminal()
	}
	if !e.keyboard.typedAhead() {
		e.wire.inject = []byte(indent)
	}
	err = e.raw(ctx, e.lines, func() error {
		e.lines.SetPrompt(prompt)
		var err error
		line, err = e.lines.ReadLine()
		return err
	})
	if errors.Is(err, term.ErrPasteIndicator) {
		return line, true, nil
	}
	if err != nil {
		e.lines = nil // it still holds what was typed
	}
	return line, false, err
}

// ask reads an answer for the code, without history or completion.
func (e *editor) ask(ctx context.Context, prompt string, password bool) (answer string, err error) {
	t := term.NewTerminal(e.wire, "")
	t.History = noHistory{}
	err = e.raw(ctx, t, func() error {
		var err error
		if password {
			if prompt == "" { // ipykernel's getpass() has none
				prompt = "Password: "
			}
			answer, err = t.ReadPassword(prompt)
		} else {
			t.SetPrompt(prompt)
			answer, err = t.ReadLine()
		}
		return err
	})
	return answer, err
}

// raw calls read with the terminal in raw mode.
func (e *editor) raw(ctx context.Context, t *term.Terminal, read func() error) error {
	e.wire.ctx, e.wire.interrupted = ctx, false
	state, err := term.MakeRaw(e.fd)
	if err != nil {
		return err
	}
	if width, height, err := term.GetSize(e.fd); err == nil && width > 0 {
		_ = t.SetSize(width, height) // only the layout suffers
	}
	t.SetBracketedPasteMode(true)
	err = read()
	t.SetBracketedPasteMode(false)
	e.wire.inject = nil
	if restoreErr := term.Restore(e.fd, state); restoreErr != nil && err == nil {
		err = restoreErr
	}
	if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
		_, _ = io.WriteString(e.out, "\n") // the cursor is in the line that was given up
	}
	if errors.Is(err, io.EOF) && e.wire.interrupted {
		return errInterrupt
	}
	return err
}

func (e *editor) newTerminal() *term.Terminal {
	t := term.NewTerminal(e.wire, "")
	if e.history != nil {
		t.History = e.history
	} else {
		t.History = noHistory{}
	}
	if e.complete != nil {
		t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
			if key != '\t' {
				return "", 0, false
			}
			newLine, newPos := e.complete(e.wire.ctx, t, line, pos)
			return newLine, newPos, true
		}
	}
	return t
}

// noHistory keeps nothing.
type noHistory struct{}

func (noHistory) Add(string)    {}
func (noHistory) Len() int      { return 0 }
func (noHistory) At(int) string { return "" }
