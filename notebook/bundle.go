package notebook

import (
	"encoding/json"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// MIME types that sandboxes add, and the one that they add to for lists and dicts.
const (
	mimePrivate = "e2b/"
	mimeChart   = mimePrivate + "chart"
	mimeJSON    = "application/json"
)

// shownAs is an output as a notebook has it. Forms that the sandbox added are for its users and never stored: a chart
// leaves its digest in the caption.
func shownAs(kind OutputType, data, metadata messaging.MIMEBundle) *Output {
	out := &Output{Type: kind, Data: bundle(data), Metadata: bundle(metadata)}
	if raw, ok := data[mimeChart]; ok {
		if chart, err := sandbox.DecodeChart(raw); err == nil {
			out.Caption = chart.Digest()
		}
	}
	var about struct {
		Added bool `json:"e2b"`
	}
	if raw, ok := metadata[mimeJSON]; ok && json.Unmarshal(raw, &about) == nil && about.Added {
		delete(out.Data, mimeJSON)
		delete(out.Metadata, mimeJSON)
	}
	return out
}

// value is what the last expression of a cell gave.
func value(c *messaging.ExecuteResult) *Output {
	out, n := shownAs(ExecuteResult, c.Data, c.Metadata), c.ExecutionCount
	out.ExecutionCount = &n
	return out
}

// bundle is a bundle of the wire without our forms.
func bundle(wire messaging.MIMEBundle) map[string]any {
	out := make(map[string]any, len(wire))
	for mime, raw := range wire {
		if strings.HasPrefix(mime, mimePrivate) {
			continue
		}
		v, err := parseJSON(string(raw))
		if err != nil {
			v = string(raw)
		}
		out[mime] = v
	}
	joinBundle(out)
	return out
}
