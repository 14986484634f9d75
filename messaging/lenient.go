package messaging

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Everything that real kernels get wrong is tolerated here, each with the kernel that does it.

// dateLayout is how we write dates: UTC, exactly six digits of fraction, Z.
const dateLayout = "2006-01-02T15:04:05.000000Z"

// parseDate reads ISO 8601 with any fraction, with Z, +hh:mm, +hhmm or no zone (then UTC), and a float
// epoch in seconds (jupyter_server's gateway client sends one). Anything else is the zero time.
func parseDate(s string) time.Time {
	for _, layout := range []string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	if sec, err := strconv.ParseFloat(s, 64); err == nil && sec > 0 && sec < 1e11 {
		return time.UnixMicro(int64(sec * 1e6)).UTC()
	}
	return time.Time{}
}

// lenientString reads a string, a number (dates of jupyter_server's gateway client), a boolean or null.
// Objects and arrays become their JSON text: a header must not be lost for one odd field.
type lenientString string

func (s *lenientString) UnmarshalJSON(b []byte) error {
	switch {
	case bytes.Equal(b, []byte("null")):
		*s = ""
	case len(b) > 0 && b[0] == '"':
		var v string
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		*s = lenientString(v)
	default:
		*s = lenientString(b)
	}
	return nil
}

// OK reports whether the request succeeded. A missing status counts as ok: some kernels leave it out of
// kernel_info_reply, older ipykernel out of interrupt_reply.
func (s ReplyStatus) OK() bool { return s == "" || s == StatusOK }

// UnmarshalJSON reads the legacy spelling "abort" as StatusAborted.
func (s *ReplyStatus) UnmarshalJSON(b []byte) error {
	var v lenientString
	if err := v.UnmarshalJSON(b); err != nil {
		return err
	}
	if v == "abort" {
		v = lenientString(StatusAborted)
	}
	*s = ReplyStatus(v)
	return nil
}

// SalvageExecuteReply reads what can be read of an execute_reply whose Decode failed: each member by itself, and StatusError
// when the status is none of them.
func SalvageExecuteReply(b json.RawMessage) *ExecuteReply {
	r := &ExecuteReply{Status: StatusError}
	var members map[string]json.RawMessage
	if decodeLenient(b, &members) != nil {
		return r
	}
	for name, to := range map[string]any{
		"execution_count": &r.ExecutionCount, "payload": &r.Payload, "user_expressions": &r.UserExpressions,
		"ename": &r.EName, "evalue": &r.EValue, "traceback": &r.Traceback,
	} {
		_ = json.Unmarshal(members[name], to) // what fails is what is not salvaged
	}
	var status ReplyStatus
	if json.Unmarshal(members["status"], &status) == nil && status != "" {
		r.Status = status
	}
	return r
}

// decodeLenient is json.Unmarshal, tried again on a sanitized copy: Python's json writes NaN and
// Infinity, and surrogateescape lets invalid UTF-8 through.
func decodeLenient(b json.RawMessage, v any) error {
	if len(b) == 0 {
		return nil
	}
	err := json.Unmarshal(b, v)
	if err == nil {
		return nil
	}
	if fixed, changed := sanitizeJSON(b); changed {
		return json.Unmarshal(fixed, v)
	}
	return err
}

// sanitizeJSON replaces NaN, Infinity and -Infinity outside strings by null and invalid UTF-8 inside
// them by U+FFFD; it reports whether anything changed.
func sanitizeJSON(b []byte) ([]byte, bool) {
	changed := false
	out := make([]byte, 0, len(b))
	inString := false
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case inString && c == '\\' && i+1 < len(b):
			out = append(out, c, b[i+1])
			i += 2
			continue
		case c == '"':
			inString = !inString
		case !inString && (c == 'N' || c == 'I' || c == '-'):
			if n := nonFinite(b[i:]); n > 0 {
				out = append(out, "null"...)
				i += n
				changed = true
				continue
			}
		}
		if c < utf8.RuneSelf {
			out = append(out, c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			changed = true
		}
		out = utf8.AppendRune(out, r)
		i += size
	}
	return out, changed
}

// nonFinite is the length of a non-finite number that b begins with, or 0.
func nonFinite(b []byte) int {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if len(b) >= len(word) && string(b[:len(word)]) == word {
			return len(word)
		}
	}
	return 0
}

// HistoryEntry is one input of an earlier execution: [session, line, input] or [session, line, [input, output]].
type HistoryEntry struct {
	Session int
	Line    int
	Input   string
	Output  string // empty unless asked for and present
}

// MarshalJSON writes the longer form, which carries the output.
func (h HistoryEntry) MarshalJSON() ([]byte, error) {
	return marshalPlain([]any{h.Session, h.Line, []string{h.Input, h.Output}})
}

// UnmarshalJSON reads both forms.
func (h *HistoryEntry) UnmarshalJSON(b []byte) error {
	var body json.RawMessage
	if err := json.Unmarshal(b, &[]any{&h.Session, &h.Line, &body}); err != nil {
		return err
	}
	if strings.HasPrefix(string(body), "[") {
		return json.Unmarshal(body, &[]any{&h.Input, &h.Output})
	}
	return json.Unmarshal(body, &h.Input)
}

// rawOrEmpty keeps nil from becoming null: the wire knows no null contents.
func rawOrEmpty(b json.RawMessage) json.RawMessage {
	if len(b) == 0 {
		return json.RawMessage("{}")
	}
	return b
}

// marshalPlain marshals without HTML escaping, for MarshalJSON methods.
func marshalPlain(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// ValidJSON returns b, or a copy in which what Python's json writes beyond the standard is replaced: non-finite
// numbers by null, invalid UTF-8 by U+FFFD. What is no JSON even then becomes null.
func ValidJSON(b json.RawMessage) json.RawMessage {
	if json.Valid(b) && utf8.Valid(b) {
		return b
	}
	if fixed, _ := sanitizeJSON(b); json.Valid(fixed) {
		return fixed
	}
	return json.RawMessage("null")
}
