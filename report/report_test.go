package report_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/report"
)

func TestMain(m *testing.M) {
	// The highlighter's clock, which bounds its regular expressions, ends by itself a moment later.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}

// dot is a PNG of one pixel.
const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func number(n int) *int { return &n }

// shows makes a notebook of one cell with outputs.
func shows(outputs ...*notebook.Output) *notebook.Notebook {
	nb := notebook.New("python3", "Python 3", "python")
	c := nb.AddCell(notebook.Code, "x = 1 # <b>")
	c.ExecutionCount, c.Outputs = number(3), outputs
	return nb
}

func displays(forms ...any) *notebook.Output {
	o := &notebook.Output{Type: notebook.DisplayData, Data: map[string]any{}}
	for i := 0; i < len(forms); i += 2 {
		o.Data[forms[i].(string)] = forms[i+1]
	}
	return o
}

func page(t *testing.T, nb *notebook.Notebook, opts *report.Options) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, report.Write(&b, nb, opts))
	return b.String()
}

// elements lists the elements of a page with a name.
func elements(t *testing.T, page, name string) []*html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	require.NoError(t, err)
	var found []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func TestReportShowsEachKindOfOutput(t *testing.T) {
	nb := shows(
		&notebook.Output{Type: notebook.Stream, Name: "stdout", Text: "\x1b[31mred\x1b[0m <i>\n"},
		&notebook.Output{Type: notebook.Stream, Name: "stderr", Text: "careful\n"},
		displays("text/plain", "a figure", "image/png", dot),
		displays("text/plain", "a table", "text/html", "<table><tr><td>1</td></tr></table>"),
		displays("text/markdown", "**strong**"),
		displays("application/json", map[string]any{"a": json.Number("1")}),
		&notebook.Output{Type: notebook.ExecuteResult, Data: map[string]any{"text/plain": "42"}},
		&notebook.Output{Type: notebook.Error, EName: "E", EValue: "v", Traceback: []string{"\x1b[0;31mE\x1b[0m: v"}},
	)
	nb.AddCell(notebook.Markdown, "# Title\n\n- one")
	nb.AddCell(notebook.Raw, "raw <text>")
	text := page(t, nb, &report.Options{Title: "My <run>", Time: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)})
	for _, want := range []string{
		"<h1>My &lt;run&gt;</h1>", "2 January 2026, 03:04 UTC", "1 cell", "1 figure", "1 error", "[3]",
		`<span class="c1">red</span> &lt;i&gt;`, "careful", `alt="a figure"`, "<strong>strong</strong>", "&#34;a&#34;: 1", "42",
		`<span class="c1">E</span>: v`, "<h1>Title</h1>", "<li>one</li>", "raw &lt;text&gt;", `class="c1"># &lt;b&gt;</span>`,
	} {
		require.True(t, strings.Contains(text, want), want)
	}
	images := elements(t, text, "img")
	require.Len(t, images, 1)
	require.Equal(t, "data:image/png;base64,"+dot, attribute(images[0], "src"))
	frames := elements(t, text, "iframe")
	require.Len(t, frames, 1)
	require.Equal(t, "allow-scripts", attribute(frames[0], "sandbox"))
	require.Contains(t, attribute(frames[0], "srcdoc"), "<table><tr><td>1</td></tr></table>")
}

func TestReportStandsAlone(t *testing.T) {
	text := page(t, shows(displays("text/html", `<img src="https://example.com/x.png">`)), nil)
	for _, name := range []string{"link", "object", "embed", "base"} {
		require.Empty(t, elements(t, text, name))
	}
	for _, name := range []string{"script", "img", "iframe"} {
		for _, e := range elements(t, text, name) {
			require.Empty(t, attribute(e, "src"), name)
		}
	}
	var policies []string
	for _, meta := range elements(t, text, "meta") {
		if attribute(meta, "http-equiv") == "Content-Security-Policy" {
			policies = append(policies, attribute(meta, "content"))
		}
	}
	require.Len(t, policies, 2)
	require.Contains(t, policies[0], "default-src 'none'")
	require.NotContains(t, policies[0]+policies[1], "http")
}

func TestReportNeverTakesHostileMarkup(t *testing.T) {
	const bad = `</script></style></pre></iframe>"'><script>alert(1)</script><img src=x onerror=alert(1)><a href="javascript:alert(1)">x</a>`
	nb := shows(
		&notebook.Output{Type: notebook.Stream, Name: bad, Text: bad},
		&notebook.Output{Type: notebook.Error, EName: bad, EValue: bad, Traceback: []string{bad}},
		&notebook.Output{Type: notebook.Error, EName: bad, EValue: bad},
		displays("text/plain", bad), displays("text/markdown", bad), displays("text/html", bad), displays("text/latex", bad),
		displays("text/plain", bad, "image/png", dot), displays("image/png", bad), displays("image/svg+xml", "<svg>"+bad),
		displays("application/json", map[string]any{bad: bad}), displays("application/javascript", bad), displays(bad, bad),
		&notebook.Output{Type: notebook.OutputType(bad), Text: bad},
		&notebook.Output{Type: notebook.DisplayData, Data: map[string]any{"image/png": dot}, Metadata: map[string]any{"image/png": map[string]any{"width": bad, "height": json.Number("1e999")}}},
	)
	c := nb.AddCell(notebook.Markdown, bad+"\n\n![x](attachment:a.png)\n\n```"+bad+"\n"+bad+"\n```")
	c.Attachments = map[string]any{"a.png": map[string]any{"image/png": `x" onerror="alert(1)`}}
	nb.AddCell(notebook.Raw, bad)
	nb.AddCell(notebook.CellType(bad), bad)
	nb.AddCell(notebook.Code, bad)
	nb.Metadata["language_info"] = map[string]any{"name": bad}
	text := page(t, nb, &report.Options{Title: bad})

	scripts := elements(t, text, "script")
	require.Len(t, scripts, 1, "only the page's own")
	for _, name := range []string{"img", "a", "section", "div", "iframe", "span", "body"} {
		for _, e := range elements(t, text, name) {
			for _, a := range e.Attr {
				require.False(t, strings.HasPrefix(a.Key, "on"), "<%s %s>", name, a.Key)
				if a.Key == "src" {
					require.Regexp(t, `^data:image/(png|svg\+xml);base64,[A-Za-z0-9+/=]+$`, a.Val)
				}
				if a.Key == "href" {
					require.NotContains(t, a.Val, "javascript")
				}
			}
		}
	}
	for _, frame := range elements(t, text, "iframe") {
		require.Equal(t, "allow-scripts", attribute(frame, "sandbox"))
	}
}

func TestReportKeepsLibrariesOnce(t *testing.T) {
	library := "/* library */" + strings.Repeat("var a = 1;\n", 10_000)
	figure := func(n int) *notebook.Output {
		return displays("text/html", fmt.Sprintf("<script>%s</script><div>figure %d</div><script>draw(%d)</script>", library, n, n))
	}
	text := page(t, shows(displays("text/html", "<b>before</b>"), figure(1), displays("text/html", "<b>static</b>"), figure(2),
		displays("text/html", "<script>draw(3)</script>")), nil)
	require.Equal(t, 1, strings.Count(text, "/* library */"))
	var wants []string
	for _, frame := range elements(t, text, "iframe") {
		wants = append(wants, attribute(frame, "data-libraries"))
	}
	require.Equal(t, []string{"", "0", "", "1", "1"}, wants)
	require.Equal(t, 1, strings.Count(text, "library 0--"), "in its place in the first frame")

	drawing := displays("text/html", "<div id='drawing-1'></div><script>draw('drawing-1')"+library+"</script>")
	text = page(t, shows(drawing), nil)
	require.Empty(t, attribute(elements(t, text, "iframe")[0], "data-libraries"), "it draws the element beside it")
}

func TestReportSaysWhatWantsTheNetwork(t *testing.T) {
	const remote = `<div id=v></div><script src="https://cdn.example.com/vega@5"></script><script>draw()</script>`
	text := page(t, shows(displays("text/html", remote)), nil)
	requireText(t, text, "wants scripts from the network")
	require.Len(t, elements(t, text, "iframe"), 1)
	text = page(t, shows(displays("text/html", remote, "image/png", dot)), nil)
	require.Empty(t, elements(t, text, "iframe"), "the picture will do")
	require.Len(t, elements(t, text, "img"), 1)
	text = page(t, shows(displays("text/html", `<a href="https://example.com/a.js">a link</a><p>https://cdn.example.com`)), nil)
	require.False(t, strings.Contains(text, "wants scripts"))
}

func TestReportIsBounded(t *testing.T) {
	large := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 300_000)))
	nb := shows(displays("image/jpeg", large), displays("image/jpeg", large), displays("image/png", dot),
		&notebook.Output{Type: notebook.Stream, Name: "stdout", Text: strings.Repeat("line\n", 1_000_000)})
	text := page(t, nb, &report.Options{MaxBytes: 400_000})
	require.Len(t, elements(t, text, "img"), 2)
	requireText(t, text, "292 kB were left out here")
	require.Less(t, len(text), 800_000)
	text = page(t, nb, nil)
	requireText(t, text, "[... 3858 kB left out ...]")
	require.Less(t, len(text), 3_000_000)
}

// requireText is require.Contains without the page in its message.
func requireText(t *testing.T, page, want string) {
	t.Helper()
	require.True(t, strings.Contains(page, want), "%q is not on the page", want)
}

func TestReportOfAnEmptyNotebook(t *testing.T) {
	require.Contains(t, page(t, &notebook.Notebook{}, nil), "<h1>Notebook</h1>")
}

func TestChartsAreToldInWords(t *testing.T) {
	picture, interactive := displays("image/png", dot), displays("text/html", "<script>draw()</script>")
	picture.Caption, interactive.Caption = "line chart 'a <b>'\n- one", "bar chart 'c'"
	text := page(t, shows(picture, interactive), nil)
	require.Len(t, elements(t, text, "figcaption"), 1)
	require.Equal(t, "line chart 'a <b>'\n- one", elements(t, text, "figcaption")[0].FirstChild.Data)
	require.Equal(t, "bar chart 'c'", attribute(elements(t, text, "iframe")[0], "title"))
	captions := 0
	for _, p := range elements(t, text, "p") {
		if attribute(p, "class") == "caption" {
			captions++
			require.Equal(t, "bar chart 'c'", p.FirstChild.Data)
		}
	}
	require.Equal(t, 1, captions)
	require.Equal(t, "output", attribute(elements(t, page(t, shows(displays("text/html", "<b>x</b>")), nil), "iframe")[0], "title"))
}
