package report

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"strconv"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/notebook"
)

// maxText bounds one text output, bytes.
const maxText = 1 << 20

// output makes what the page shows of an output.
func (b *builder) output(o *notebook.Output) []output {
	switch o.Type {
	case notebook.Stream:
		kind := "stdout"
		if o.Name == "stderr" {
			kind = "stderr"
		}
		return []output{b.terminal(kind, o.Text)}
	case notebook.Error:
		b.raised++
		text := strings.Join(o.Traceback, "\n")
		if text == "" {
			text = strings.TrimSuffix(o.EName+": "+o.EValue, ": ")
		}
		return []output{b.terminal("error", text)}
	case notebook.DisplayData, notebook.ExecuteResult:
		return b.shown(o)
	}
	return nil
}

// terminal shows text with its colours.
func (b *builder) terminal(kind, text string) output {
	if len(text) > maxText {
		head, tail := text[:maxText/2], text[len(text)-maxText/2:]
		text = head + "\n[... " + size(len(text)-maxText) + " left out ...]\n" + tail
	}
	if !b.take(len(text)) {
		return tooLarge(len(text))
	}
	return output{Kind: kind, HTML: template.HTML(ansiHTML(text))} //nolint:gosec // it is escaped
}

// shown shows a bundle: its picture, and what is interactive of it; or else the richest form there is.
func (b *builder) shown(o *notebook.Output) []output {
	text := bundleText(o.Data, "text/plain")
	page := bundleText(o.Data, "text/html")
	picture, ok := b.picture(o)
	picture.Caption = o.Caption
	switch {
	case ok && isInteractive(page):
		if frame := b.frame(page); !frame.Remote {
			frame.Open, frame.Alt = "interactive", o.Caption
			return []output{picture, frame}
		}
		return []output{picture}
	case ok:
		return []output{picture}
	case page != "":
		frame := b.frame(page)
		frame.Alt, frame.Caption = o.Caption, o.Caption
		if frame.Remote {
			return []output{frame, note("This output wants scripts from the network, which a report does not load.")}
		}
		return []output{frame}
	}
	if source := bundleText(o.Data, "text/markdown"); source != "" {
		if !b.take(len(source)) {
			return []output{tooLarge(len(source))}
		}
		return []output{{Kind: "text", HTML: markdownHTML(source, nil)}}
	}
	if text == "" {
		text = bundleText(o.Data, "text/latex")
	}
	if v, ok := o.Data["application/json"]; ok && text == "" {
		if raw, err := json.MarshalIndent(v, "", "  "); err == nil {
			text = string(raw)
		}
	}
	if text == "" {
		return nil
	}
	return []output{b.terminal("value", text)}
}

// pictures are the forms that are shown as images, the best first.
var pictures = []string{"image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp"}

// picture shows the image of a bundle, if it has one. Images are data of an img element, where scripts don't run.
func (b *builder) picture(o *notebook.Output) (output, bool) {
	for _, mime := range pictures {
		form := bundleText(o.Data, mime)
		if form == "" {
			continue
		}
		data := []byte(form)
		if mime != "image/svg+xml" {
			var err error
			if data, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(form), "")); err != nil {
				continue
			}
		}
		if !b.take(len(data)) {
			return tooLarge(len(data)), true
		}
		b.images++
		url := "data:" + mime + ";base64," + base64.StdEncoding.EncodeToString(data)
		out := output{Kind: "image", Image: template.URL(url)} //nolint:gosec // of a type above, encoded here
		out.Width, out.Height = dimensions(o.Metadata, mime)
		if out.Alt = o.Caption; out.Alt == "" {
			out.Alt = printable(bundleText(o.Data, "text/plain"))
		}
		return out, true
	}
	return output{}, false
}

// dimensions are those that the bundle's metadata ask for, in pixels of the page.
func dimensions(metadata map[string]any, mime string) (width, height int) {
	values, ok := metadata[mime].(map[string]any)
	if !ok {
		values = metadata
	}
	return pixels(values["width"]), pixels(values["height"])
}

func pixels(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || f < 1 || f > 20_000 {
		return 0
	}
	return int(f)
}

// isInteractive reports whether HTML does something.
func isInteractive(page string) bool { return strings.Contains(strings.ToLower(page), "<script") }

// frame shows HTML in a frame.
func (b *builder) frame(page string) output {
	if !b.take(len(page)) {
		return tooLarge(len(page))
	}
	d := b.frames.document(page)
	if d.scripts && !d.remote {
		b.interactive++
	}
	return output{Kind: "html", Frame: d.html, Libraries: d.libraries, Filled: d.filled, Remote: d.remote}
}

// bundleText is a form of a bundle as text; empty when it has none.
func bundleText(data map[string]any, mime string) string {
	switch v := data[mime].(type) {
	case string:
		return v
	case []any:
		var b bytes.Buffer
		for _, line := range v {
			if s, ok := line.(string); ok {
				b.WriteString(s)
			}
		}
		return b.String()
	}
	return ""
}
