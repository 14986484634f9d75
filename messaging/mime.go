package messaging

import (
	"encoding/json"
	"strings"
)

// MIMEBundle holds one thing in several forms, keyed by MIME type. Text types and images (base64) are
// JSON strings, JSON types are JSON values. A bundle of metadata has the same keys, or names of its own.
type MIMEBundle map[string]json.RawMessage

// Text returns the form of the given type as a string: the string itself, a list of lines joined
// (old kernels and notebooks), or the JSON text of anything else.
func (b MIMEBundle) Text(mime string) (string, bool) {
	raw, ok := b[mime]
	if !ok {
		return "", false
	}
	var s string
	if decodeLenient(raw, &s) == nil {
		return s, true
	}
	var lines []string
	if decodeLenient(raw, &lines) == nil {
		return strings.Join(lines, ""), true
	}
	return string(raw), true
}

// SetText stores a text form.
func (b MIMEBundle) SetText(mime, text string) {
	raw, err := marshalPlain(text)
	if err != nil { // a string always marshals
		return
	}
	b[mime] = raw
}
