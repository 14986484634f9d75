package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Result is one thing the code showed: the value of the last expression, a figure, a table, a page of help. It holds the
// same thing in several forms; a form that is missing is empty.
type Result struct {
	Text       string `json:"text,omitempty"`
	HTML       string `json:"html,omitempty"`
	Markdown   string `json:"markdown,omitempty"`
	SVG        string `json:"svg,omitempty"`
	PNG        string `json:"png,omitempty"`  // base64
	JPEG       string `json:"jpeg,omitempty"` // base64
	PDF        string `json:"pdf,omitempty"`  // base64
	LaTeX      string `json:"latex,omitempty"`
	JavaScript string `json:"javascript,omitempty"`

	JSON  json.RawMessage `json:"json,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`  // a table's columns
	Chart json.RawMessage `json:"chart,omitempty"` // a figure's data

	Extra map[string]json.RawMessage `json:"extra,omitempty"` // all other forms, by MIME type

	IsMainResult bool   `json:"is_main_result"`       // the value of the last expression
	IsPage       bool   `json:"is_page,omitempty"`    // a page of help, as ?name gives it
	IsUpdate     bool   `json:"is_update,omitempty"`  // an earlier result with the same DisplayID shows this now
	DisplayID    string `json:"display_id,omitempty"` // results with the same id are one, shown anew

	Bundle   messaging.MIMEBundle `json:"-"` // everything as the kernel sent it
	Metadata messaging.MIMEBundle `json:"metadata,omitempty"`

	library string // what HTML relies on and does not have, see Page
}

// The MIME types with a field of their own, as E2B's clients know them.
const (
	mimeData  = "e2b/data"
	mimeChart = "e2b/chart"
)

// NewResult reads what a kernel shows, as the Journal has it, into the fields of a result.
func NewResult(data, metadata messaging.MIMEBundle) *Result {
	r := &Result{Bundle: data, Metadata: metadata}
	texts := map[string]*string{
		"text/plain":             &r.Text,
		"text/html":              &r.HTML,
		"text/markdown":          &r.Markdown,
		"image/svg+xml":          &r.SVG,
		"image/png":              &r.PNG,
		"image/jpeg":             &r.JPEG,
		"application/pdf":        &r.PDF,
		"text/latex":             &r.LaTeX,
		"application/javascript": &r.JavaScript,
	}
	values := map[string]*json.RawMessage{"application/json": &r.JSON, mimeData: &r.Data, mimeChart: &r.Chart}
	for mime, raw := range data {
		if field, ok := texts[mime]; ok {
			*field, _ = data.Text(mime)
		} else if field, ok := values[mime]; ok {
			*field = messaging.ValidJSON(raw)
		} else {
			if r.Extra == nil {
				r.Extra = make(map[string]json.RawMessage)
			}
			r.Extra[mime] = messaging.ValidJSON(raw)
		}
	}
	for _, binary := range []*string{&r.PNG, &r.JPEG, &r.PDF} {
		if strings.ContainsAny(*binary, "\n\r ") { // older kernels wrap base64
			*binary = strings.Join(strings.Fields(*binary), "")
		}
	}
	return r
}

// Formats lists the MIME types the result has, sorted.
func (r *Result) Formats() []string { return slices.Sorted(maps.Keys(r.Bundle)) }

// Image is a picture of the result as a file's bytes, with the extension that fits (".png", ".jpg", ".svg", ".pdf", ".gif",
// ".webp"), in this order of preference; ok is false when it has none or when it can't be decoded.
func (r *Result) Image() (data []byte, ext string, ok bool) {
	for _, form := range []struct{ encoded, ext string }{{r.PNG, ".png"}, {r.JPEG, ".jpg"}} {
		if form.encoded != "" {
			data, err := base64.StdEncoding.DecodeString(form.encoded)
			return data, form.ext, err == nil
		}
	}
	if r.SVG != "" {
		return []byte(r.SVG), ".svg", true
	}
	if r.PDF != "" {
		data, err := base64.StdEncoding.DecodeString(r.PDF)
		return data, ".pdf", err == nil
	}
	for _, form := range []struct{ mime, ext string }{{"image/gif", ".gif"}, {"image/webp", ".webp"}} {
		if text, ok := r.Bundle.Text(form.mime); ok {
			data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
			return data, form.ext, err == nil && len(data) > 0
		}
	}
	return nil, "", false
}

// String is the text form, or a list of the forms there are.
func (r *Result) String() string {
	if r.Text != "" {
		return r.Text
	}
	return fmt.Sprintf("Result(%s)", strings.Join(r.Formats(), ", "))
}

// size is what the result counts for Execution's budget, bytes.
func (r *Result) size() int64 {
	var n int64
	for mime, raw := range r.Bundle {
		n += int64(len(mime) + len(raw))
	}
	return n
}
