package control

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// lineBody is a line of a log as text.
type lineBody struct {
	Timestamp time.Time `json:"timestamp"`
	Line      string    `json:"line"`
}

// entryBody is a line of a log with its parts.
type entryBody struct {
	Timestamp time.Time         `json:"timestamp"`
	Level     string            `json:"level"`
	Message   string            `json:"message"`
	Fields    map[string]string `json:"fields"`
}

func newEntryBody(e *fleet.LogEntry) entryBody {
	body := entryBody{Timestamp: e.Time.UTC(), Level: e.Level, Message: e.Message, Fields: e.Fields}
	if body.Fields == nil {
		body.Fields = map[string]string{}
	}
	return body
}

// levels are those of lines, the least first.
var levels = []string{"debug", "info", "warn", "error"}

// maxLines is how many lines an answer has at most, and when nothing is said.
const maxLines = 1000

// logsV1 are the lines of a sandbox since a moment (in ms), in both forms.
func (h *Handler) logsV1(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, err := h.member(r, owner)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	since, err := moment(q, "start", time.Millisecond)
	if err != nil {
		return err
	}
	limit, err := limitOf(q, maxLines)
	if err != nil {
		return err
	}
	body := struct {
		Logs       []lineBody  `json:"logs"`
		LogEntries []entryBody `json:"logEntries"`
	}{[]lineBody{}, []entryBody{}}
	for _, e := range m.Logs() {
		if len(body.Logs) < limit && !e.Time.Before(since) {
			body.Logs = append(body.Logs, lineBody{e.Time.UTC(), e.Level + " " + e.Message})
			body.LogEntries = append(body.LogEntries, newEntryBody(&e))
		}
	}
	return answer(w, http.StatusOK, body)
}

// logsV2 are the lines of a sandbox from a cursor (in ms) on, or back from it.
func (h *Handler) logsV2(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, err := h.member(r, owner)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	cursor, err := moment(q, "cursor", time.Millisecond)
	if err != nil {
		return err
	}
	limit, err := limitOf(q, maxLines)
	if err != nil {
		return err
	}
	least := max(0, slices.Index(levels, q.Get("level")))
	if level := q.Get("level"); level != "" && !slices.Contains(levels, level) {
		return badf("level: %.20q: use one of %s", level, strings.Join(levels, ", "))
	}
	backward, err := parseDirection(q.Get("direction"))
	if err != nil {
		return err
	}
	entries := m.Logs()
	if backward {
		slices.Reverse(entries)
	}
	body := struct {
		Logs []entryBody `json:"logs"`
	}{[]entryBody{}}
	for _, e := range entries {
		beyond := !cursor.IsZero() && (e.Time.Before(cursor) != backward)
		if beyond || slices.Index(levels, e.Level) < least || !strings.Contains(e.Message, q.Get("search")) {
			continue
		}
		if body.Logs = append(body.Logs, newEntryBody(&e)); len(body.Logs) == limit {
			break
		}
	}
	return answer(w, http.StatusOK, body)
}

func parseDirection(text string) (backward bool, err error) {
	switch text {
	case "", "forward":
		return false, nil
	case "backward":
		return true, nil
	}
	return false, badf("direction: %.20q: use forward or backward", text)
}
