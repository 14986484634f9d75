package report

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/notebook"
)

// DefaultMaxBytes is Options.MaxBytes when that is 0.
const DefaultMaxBytes = 128 << 20

// Options of Write. Nil and zero fields are the defaults.
type Options struct {
	Title string    // of the page; "Notebook"
	Time  time.Time // of what is shown, in its own time zone; not told
	// MaxBytes bounds what the outputs and sources take, as they are before they are encoded for the page, bytes; 128 MiB. What
	// goes beyond is left out and said. A single text output is cut at 1 MiB.
	MaxBytes int64
}

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
)

// Write writes the page of a notebook.
func Write(w io.Writer, nb *notebook.Notebook, opts *Options) error {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Title == "" {
		o.Title = "Notebook"
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	b := &builder{left: o.MaxBytes, highlight: newHighlighter(nb.Language()), frames: frames{nonce: rand.Text()}}
	p := page{
		Title: printable(o.Title), Language: nb.Language(),
		Nonce: b.frames.nonce, CSS: template.CSS(pageCSS + highlightCSS()), JS: template.JS(pageJS), //nolint:gosec // ours
	}
	if !o.Time.IsZero() {
		p.Time = o.Time.Format("2 January 2006, 15:04 MST")
	}
	for _, c := range nb.Cells {
		p.Cells = append(p.Cells, b.cell(c))
	}
	p.Libraries = b.frames.libraries
	p.Counts = b.counts()
	if err := pageTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// page is what the template shows.
type page struct {
	Title, Time, Language, Counts string
	Nonce                         string
	CSS                           template.CSS
	JS                            template.JS
	Cells                         []cell
	Libraries                     []string
}

// cell is a cell as the template shows it.
type cell struct {
	Kind    string // "code", "text" or "raw"
	Count   string // of a code cell that was run
	Source  template.HTML
	Outputs []output
}

// output is an output as the template shows it, one of its forms.
type output struct {
	Kind   string // "stdout", "stderr", "error", "value", "note", "html", "text", "image"
	HTML   template.HTML
	Image  template.URL
	Width  int // of the image; 0 is its own
	Height int
	Alt    string // of the image, title of the frame: what a chart shows, in words
	// Caption is that too, where it is to be seen.
	Caption string
	Frame   string // a document
	// Libraries is how many of the page's libraries Frame needs first, if it is Filled by the page's script at all.
	Libraries int
	Filled    bool
	Remote    bool   // Frame wants scripts that it does not get
	Open      string // of a folded output: what it is called
}

// builder makes cells within a budget.
type builder struct {
	left      int64 // bytes
	highlight *highlighter
	frames    frames

	code, images, interactive, raised int
}

// counts is what the page has, in words.
func (b *builder) counts() string {
	var parts []string
	for _, part := range []struct {
		n        int
		one, all string
	}{
		{b.code, "cell", "cells"}, {b.images, "figure", "figures"}, {b.interactive, "interactive", "interactive"}, {b.raised, "error", "errors"},
	} {
		switch {
		case part.n == 1:
			parts = append(parts, "1 "+part.one)
		case part.n > 1:
			parts = append(parts, strconv.Itoa(part.n)+" "+part.all)
		}
	}
	return strings.Join(parts, ", ")
}

// take takes n bytes of the budget; false when there are not so many left.
func (b *builder) take(n int) bool {
	if int64(n) > b.left {
		return false
	}
	b.left -= int64(n)
	return true
}

func (b *builder) cell(c *notebook.Cell) cell {
	out := cell{Kind: "raw"}
	if !b.take(len(c.Source)) {
		out.Outputs = []output{tooLarge(len(c.Source))}
		return out
	}
	switch c.Type {
	case notebook.Code:
		out.Kind = "code"
		b.code++
		if c.ExecutionCount != nil {
			out.Count = strconv.Itoa(*c.ExecutionCount)
		}
		out.Source = b.highlight.html(c.Source)
		for _, o := range c.Outputs {
			out.Outputs = append(out.Outputs, b.output(o)...)
		}
	case notebook.Markdown:
		out.Kind = "text"
		out.Source = markdownHTML(c.Source, c.Attachments)
	default:
		out.Source = escaped(c.Source)
	}
	return out
}

func tooLarge(n int) output {
	return note("%s were left out here, because the page would be too large", size(n))
}

func note(format string, args ...any) output {
	return output{Kind: "note", HTML: escaped(fmt.Sprintf(format, args...))}
}

// size is a number of bytes for a person.
func size(n int) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

func escaped(text string) template.HTML {
	return template.HTML(template.HTMLEscapeString(printable(text))) //nolint:gosec // it is escaped
}
