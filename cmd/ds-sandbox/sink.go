package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// sink shows what a run does.
type sink interface {
	show(o sandbox.Output) error
	// end is called once, also when the run never began; code is the exit code to come.
	end(e *sandbox.Execution, code int, err error) error
}

// textSink shows a run to a person: what the code printed where it printed it to, values on standard output, what
// is about the run on standard error.
type textSink struct {
	out, err io.Writer
	colour   bool
	results  *resultFolder
	pictures *pictures // nil shows none
	midLine  bool      // standard output's last character was no newline
	prefix   string    // of the value to come
}

func newTextSink(s *streams, results *resultFolder, pictures *pictures) *textSink {
	return &textSink{out: s.out, err: s.err, colour: colours(s.err), results: results, pictures: pictures}
}

func (t *textSink) show(o sandbox.Output) error {
	switch o := o.(type) {
	case *sandbox.OutputMessage:
		w := t.out
		if o.Stderr {
			w = t.err
		} else {
			t.midLine = !strings.HasSuffix(o.Text, "\n")
		}
		_, err := io.WriteString(w, o.Text)
		return err
	case *sandbox.Result:
		return t.result(o)
	case *sandbox.ExecutionError:
		return t.raised(o)
	case *sandbox.Cut:
		return t.note("%d bytes of output were left out here: the code printed faster than this could be written", o.Bytes)
	}
	return nil
}

func (t *textSink) result(r *sandbox.Result) error {
	files, err := t.results.save(r)
	if err != nil {
		return err
	}
	name := r.String()
	chart, isChart := r.Figure()
	if isChart {
		name = chart.Digest()
	}
	if _, _, isImage := r.Image(); !isImage && !isChart {
		if t.prefix != "" && strings.Contains(name, "\n") {
			name = "\n" + name
		}
		if err := t.line(t.prefix + name); err != nil {
			return err
		}
		if len(files) > 0 {
			return t.note("saved%s: %s", cutOf(r), strings.Join(files, ", "))
		}
		return nil
	}
	shown, err := t.picture(r)
	switch {
	case err != nil:
		return err
	case len(files) > 0:
		return t.note("%s: %s", name, strings.Join(files, ", "))
	case !shown:
		return t.note("%s; --out DIR saves it", name)
	}
	return nil
}

// cutOf says how much of a table its file has, if that is not all.
func cutOf(r *sandbox.Result) string {
	table, ok := r.Table()
	if !ok {
		return ""
	}
	var parts []string
	if kept := table.Kept(); kept < table.Rows {
		parts = append(parts, fmt.Sprintf("first %d of %d rows", kept, table.Rows))
	}
	if kept := len(table.Columns); kept < table.Width {
		parts = append(parts, fmt.Sprintf("first %d of %d columns", kept, table.Width))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// picture shows a picture on a line of its own, where that can be.
func (t *textSink) picture(r *sandbox.Result) (shown bool, err error) {
	if t.pictures == nil {
		return false, nil
	}
	var w strings.Builder
	if shown, err = t.pictures.show(&w, r); !shown || err != nil {
		return false, err
	}
	return true, t.line(w.String())
}

// line writes a value on a line of its own.
func (t *textSink) line(text string) error {
	if t.midLine {
		text = "\n" + text
	}
	t.midLine = false
	_, err := io.WriteString(t.out, strings.TrimSuffix(text, "\n")+"\n")
	return err
}

func (t *textSink) raised(e *sandbox.ExecutionError) error {
	if code, ok := systemExit(e); ok {
		if _, isNumber := exitNumber(e.Value); isNumber || code == 0 {
			return nil
		}
		_, err := fmt.Fprintln(t.err, e.Value)
		return err
	}
	text := e.PlainTraceback()
	if t.colour {
		text = e.Traceback
	}
	if text == "" {
		text = e.Error()
	}
	_, err := fmt.Fprintln(t.err, strings.TrimSuffix(text, "\n"))
	return err
}

func (t *textSink) note(format string, args ...any) error {
	_, err := fmt.Fprintf(t.err, "[ds-sandbox] "+format+"\n", args...)
	return err
}

func (t *textSink) end(*sandbox.Execution, int, error) error { return nil }

// systemExit tells how sys.exit was called, if the code ended by it.
func systemExit(e *sandbox.ExecutionError) (code int, ok bool) {
	if e.Name != "SystemExit" {
		return 0, false
	}
	if n, isNumber := exitNumber(e.Value); isNumber {
		return n, true
	}
	return exitRaised, true // sys.exit("reason")
}

// exitNumber reads the value of a SystemExit as the exit code it means.
func exitNumber(value string) (int, bool) {
	switch value {
	case "", "None", "False":
		return 0, true
	case "True":
		return 1, true
	}
	n, err := strconv.Atoi(value)
	return n & 0xff, err == nil
}
