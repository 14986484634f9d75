package fleet

import (
	"maps"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// Bounds of a member's log.
const (
	logLength  = 500
	maxMessage = 2 << 10 // bytes of a line, and of a field's value
)

// LogEntry is one line of a member's log.
type LogEntry struct {
	Time    time.Time
	Level   string // "debug", "info", "warn" or "error"
	Message string
	Fields  map[string]string // not to be changed
}

// logRing keeps the last lines.
type logRing struct {
	mu      sync.Mutex // guards what follows
	entries []LogEntry
	first   int // index of the oldest, once the ring is full
}

// Log adds a line about the sandbox, for its owner to read. Secrets have no place there.
func (m *Member) Log(level, message string, fields map[string]string) {
	kept := maps.Clone(fields)
	for name, value := range kept {
		kept[name] = clip(value)
	}
	l := &m.log
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := LogEntry{Time: time.Now(), Level: level, Message: clip(message), Fields: kept}
	if len(l.entries) < logLength {
		l.entries = append(l.entries, entry)
		return
	}
	l.entries[l.first] = entry
	l.first = (l.first + 1) % logLength
}

// Logs are the last lines, oldest first.
func (m *Member) Logs() []LogEntry {
	l := &m.log
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append([]LogEntry{}, l.entries[l.first:]...), l.entries[:l.first]...)
}

// clip is a text that fits in a line.
func clip(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	text = text[:maxMessage]
	for !utf8.ValidString(text[len(text)-min(len(text), utf8.UTFMax):]) && len(text) > maxMessage-utf8.UTFMax {
		text = text[:len(text)-1]
	}
	return strings.ToValidUTF8(text, "\uFFFD") + "…"
}

// Run is a run of code that is over, for the log and the figures of the daemon.
type Run struct {
	Language string
	Took     time.Duration // from the request to the end
	Raised   *sandbox.ExecutionError
	Err      error // what kept the code from running to its end
}

// Outcome is how the run ended, in a word: "ok", "raised", "timeout", "killed" or "failed".
func (r *Run) Outcome() string {
	switch {
	case r.Err == nil && r.Raised == nil:
		return "ok"
	case r.Err == nil:
		return "raised"
	case isTimeout(r.Err):
		return "timeout"
	case Dead(r.Err):
		return "killed"
	}
	return "failed"
}

// NoteRun is told of every run by the dialect that asked for it.
func (m *Member) NoteRun(r Run) {
	level, message := "info", "code ran"
	fields := map[string]string{"language": r.Language, "seconds": seconds(r.Took), "outcome": r.Outcome()}
	switch {
	case r.Err != nil:
		level, message = "error", "code did not run to its end: "+r.Err.Error()
	case r.Raised != nil:
		level, message = "warn", "code raised "+r.Raised.Name
	}
	m.Log(level, message, fields)
	if f := m.fleet.options.Observer.Ran; f != nil {
		f(m, r)
	}
}
