package report

import (
	"bytes"
	"html/template"
	"strings"
	"sync"

	"github.com/alecthomas/chroma/v2"
	chromahtml "github.com/alecthomas/chroma/v2/formatters/html"
	"github.com/alecthomas/chroma/v2/lexers"
	"github.com/alecthomas/chroma/v2/styles"
	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

// maxHighlight bounds the source that is highlighted, bytes; longer ones are plain.
const maxHighlight = 256 << 10

// highlighter shows sources of one language.
type highlighter struct {
	lexer     chroma.Lexer // nil: plain
	formatter *chromahtml.Formatter
}

func newHighlighter(language string) *highlighter {
	h := &highlighter{formatter: chromahtml.New(chromahtml.WithClasses(true), chromahtml.PreventSurroundingPre(true))}
	if language == "" {
		language = "python"
	}
	if lexer := lexers.Get(language); lexer != nil {
		h.lexer = chroma.Coalesce(lexer)
	}
	return h
}

// html is a source in colours, by classes.
func (h *highlighter) html(source string) template.HTML {
	source = printable(source)
	if h.lexer == nil || len(source) > maxHighlight {
		return escaped(source)
	}
	tokens, err := h.lexer.Tokenise(nil, source)
	if err != nil {
		return escaped(source)
	}
	var b bytes.Buffer
	if err := h.formatter.Format(&b, styles.Fallback, tokens); err != nil {
		return escaped(source)
	}
	return template.HTML(strings.TrimRight(b.String(), "\n")) //nolint:gosec // the formatter escapes
}

// highlightCSS is the style of sources, light and dark.
var highlightCSS = sync.OnceValue(func() string {
	var b strings.Builder
	f := chromahtml.New(chromahtml.WithClasses(true))
	for _, scheme := range []struct{ media, style string }{{"light", "github"}, {"dark", "github-dark"}} {
		b.WriteString("@media (prefers-color-scheme:" + scheme.media + "){\n")
		if err := f.WriteCSS(&b, styles.Get(scheme.style)); err != nil { // a Builder takes everything
			return ""
		}
		b.WriteString("}\n")
	}
	return b.String()
})

var (
	markdown = goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote))
	policy   = sync.OnceValue(func() *bluemonday.Policy {
		p := bluemonday.UGCPolicy() // no scripts, styles, frames, forms or objects
		p.AllowDataURIImages()
		p.AllowAttrs("class").Matching(bluemonday.SpaceSeparatedTokens).OnElements("code", "div", "section", "sup", "li", "a")
		p.RequireNoFollowOnLinks(false)
		p.RequireNoReferrerOnLinks(true)
		return p
	})
)

// markdownHTML is Markdown as HTML that does nothing. Attachments are images that it names.
func markdownHTML(source string, attachments map[string]any) template.HTML {
	source = printable(source)
	for name, v := range attachments {
		bundle, _ := v.(map[string]any)
		for _, mime := range pictures {
			if data := bundleText(bundle, mime); data != "" && mime != "image/svg+xml" {
				url := "data:" + mime + ";base64," + strings.Join(strings.Fields(data), "")
				source = strings.ReplaceAll(source, "attachment:"+name, url)
				break
			}
		}
	}
	var b bytes.Buffer
	if err := markdown.Convert([]byte(source), &b); err != nil {
		return escaped(source)
	}
	return template.HTML(policy().Sanitize(b.String())) //nolint:gosec // it is sanitised
}
