package interpreter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// maxText bounds the text of a frame, bytes: E2B's clients take quadratic time for a line.
const maxText = 64 << 10

// blockSize is how much is written at once.
const blockSize = 64 << 10

// stream is the answer to a run: lines of JSON, each a frame. The handler closes it.
type stream struct {
	writer  http.ResponseWriter
	control *http.ResponseController
	leave   context.CancelCauseFunc // ends the run when the client does not read
	every   time.Duration           // the keepalive

	mu    sync.Mutex // guards what follows
	out   *bufio.Writer
	timer *time.Timer // begins the answer, and then writes the keepalive
	begun bool
	last  time.Time // when something was written
	err   error     // of the first write that failed
	over  bool
}

// open makes a stream that begins when it is told to, or after StartPatience.
func (h *Handler) open(w http.ResponseWriter, leave context.CancelCauseFunc) *stream {
	s := &stream{writer: w, control: http.NewResponseController(w), leave: leave, every: h.options.Keepalive}
	s.out = bufio.NewWriterSize(&patient{w, s.control, h.options.WriteTimeout}, blockSize)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(h.options.StartPatience, s.tick)
	return s
}

// begin sends the head of the answer, before there is anything to say: clients wait a limited time for it.
func (s *stream) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginLocked()
}

func (s *stream) beginLocked() {
	if s.begun || s.over {
		return
	}
	s.begun = true
	header := s.writer.Header()
	header.Set("Content-Type", "application/x-ndjson")
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Accel-Buffering", "no")
	s.writer.WriteHeader(http.StatusOK)
	s.flush()
	s.timer.Reset(s.every)
}

// withdraw ends a stream that has not begun, so that another answer can be given; it reports whether it has not.
func (s *stream) withdraw() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = s.over || !s.begun
	return !s.begun
}

// patient gives each write a time of its own.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

// errSlow is why a run ends whose client does not take what it is sent.
var errSlow = errors.New("the client does not read")

// flush sends what was written. The stream is locked.
func (s *stream) flush() {
	err := s.out.Flush()
	if err == nil {
		err = s.control.Flush()
	}
	s.last = time.Now()
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("%w: %w", errSlow, err)
		s.leave(s.err)
	}
}

// frame writes one line; members writes what is in it beside its type.
func (s *stream) frame(kind string, members func(*object)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !s.over {
		s.write(kind, members)
	}
}

func (s *stream) write(kind string, members func(*object)) {
	o := object{out: s.out}
	o.text("type", kind)
	if members != nil {
		members(&o)
	}
	o.end()
	_ = s.out.WriteByte('\n') // its errors stay, and Flush has them
	s.flush()
}

// tick begins the answer, or writes a line if there was none for a time. It is called on the timer's goroutine.
func (s *stream) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over || s.err != nil:
		return
	case !s.begun:
		s.beginLocked()
		return
	}
	silent := time.Since(s.last)
	if silent >= s.every {
		s.write("keepalive", nil)
		silent = 0
	}
	s.timer.Reset(s.every - silent)
}

// end is the last line.
func (s *stream) end() { s.frame("end_of_execution", nil) }

// close ends the writing; the connection may go on to another request.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.timer.Stop()
	_ = s.control.SetWriteDeadline(time.Time{})
}

// output writes the frames of an output; what E2B has no word for has none.
func (s *stream) output(out sandbox.Output) {
	switch o := out.(type) {
	case *sandbox.Started:
		s.frame("number_of_executions", func(f *object) { f.raw("execution_count", strconv.Itoa(o.ExecutionCount)) })
	case *sandbox.OutputMessage:
		s.text(o)
	case *sandbox.Result:
		if !o.IsUpdate {
			s.frame("result", func(f *object) { writeResult(f, o) })
		}
	case *sandbox.ExecutionError:
		s.frame("error", func(f *object) {
			f.text("name", o.Name)
			f.text("value", o.Value)
			f.text("traceback", o.PlainTraceback())
		})
	case *sandbox.Cut:
		s.cut(o)
	}
}

// text writes printed text, in pieces that end between characters.
func (s *stream) text(m *sandbox.OutputMessage) {
	kind := "stdout"
	if m.Stderr {
		kind = "stderr"
	}
	at := m.Time.UTC().Format(time.RFC3339Nano)
	for rest := m.Text; rest != ""; {
		piece := rest
		if len(piece) > maxText {
			piece = piece[:border(piece, maxText)]
		}
		rest = rest[len(piece):]
		s.frame(kind, func(f *object) {
			f.text("text", piece)
			f.text("timestamp", at)
		})
	}
}

// border is the last place up to n at which a character of s begins.
func border(s string, n int) int {
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return i
		}
	}
	return n // no UTF-8
}

// cut says that output is missing, once to programs and once to people: clients skip frames that they don't know.
func (s *stream) cut(c *sandbox.Cut) {
	s.frame("truncated", func(f *object) {
		f.raw("messages", strconv.Itoa(c.Messages))
		f.raw("bytes", strconv.FormatInt(c.Bytes, 10))
	})
	if c.Incomplete {
		s.note("the interpreter did not say that its output was over; some may be missing")
		return
	}
	s.note(fmt.Sprintf("%d bytes of output are left out here, for they were not read in time", c.Bytes))
}

// note tells a person something, on standard error.
func (s *stream) note(text string) {
	s.text(&sandbox.OutputMessage{Text: "[ds-sandbox: " + text + "]\n", Time: time.Now(), Stderr: true})
}

// writeResult writes a result's forms, in the names that E2B's clients have for them, and nothing else: they take every other
// member for a form.
func writeResult(f *object, r *sandbox.Result) {
	for _, form := range []struct{ name, text string }{
		{"text", unquoted(r.Text)},
		{"html", r.HTML},
		{"markdown", r.Markdown},
		{"svg", r.SVG},
		{"png", r.PNG},
		{"jpeg", r.JPEG},
		{"pdf", r.PDF},
		{"latex", r.LaTeX},
		{"javascript", r.JavaScript},
	} {
		if form.text != "" {
			f.text(form.name, form.text)
		}
	}
	f.value("json", r.JSON)
	f.value("data", r.Data)
	f.value("chart", r.Chart)
	f.object("extra", func(extra *object) {
		for _, mime := range slices.Sorted(maps.Keys(r.Extra)) {
			extra.value(mime, r.Extra[mime])
		}
	})
	f.raw("is_main_result", strconv.FormatBool(r.IsMainResult))
}

// unquoted is a text without the quotes that a language puts around the value of a string.
func unquoted(text string) string {
	n := len(text)
	if n >= 2 && text[0] == text[n-1] && (text[0] == '\'' || text[0] == '"') {
		return text[1 : n-1]
	}
	return text
}
