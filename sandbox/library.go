package sandbox

import (
	"bytes"
	"regexp"
	"strings"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// The HTML of figures that need a library of JavaScript comes with it once a session; dskernel's charts/html.py writes these
// comments. Whoever sees only a part of the session must be given the library anew.
var (
	libraryNeeded = regexp.MustCompile(`\A<!--ds-sandbox needs ([a-z0-9.-]{1,64})-->`)
	libraryHere   = regexp.MustCompile(`\A<!--ds-sandbox library ([a-z0-9.-]{1,64})-->`)
)

const libraryEnd = "<!--ds-sandbox end-->"

// Bounds of the libraries that a context remembers. Hostile code may send anything.
const (
	maxLibraries    = 8
	maxLibraryBytes = 32 << 20
)

// FigureLibrary tells which library of JavaScript the HTML of a figure needs, and the HTML that loads it if it comes with it.
// The name is empty for all other HTML.
func FigureLibrary(html string) (name, library string) {
	if m := libraryNeeded.FindStringSubmatch(html); m != nil {
		return m[1], ""
	}
	m := libraryHere.FindStringSubmatch(html)
	if m == nil {
		return "", ""
	}
	end := strings.Index(html, libraryEnd)
	if end < 0 {
		return "", ""
	}
	return m[1], html[:end+len(libraryEnd)]
}

// libraries are the libraries of JavaScript that came with figures, by name.
type libraries struct {
	mu    sync.Mutex // guards what follows
	known map[string]string
}

// note remembers the library that HTML comes with and returns the one it needs and lacks.
func (l *libraries) note(html string) (missing string) {
	name, library := FigureLibrary(html)
	if name == "" {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if library == "" {
		return l.known[name]
	}
	if _, again := l.known[name]; !again && len(l.known) == maxLibraries || len(library) > maxLibraryBytes {
		return ""
	}
	if l.known == nil {
		l.known = make(map[string]string)
	}
	if l.known[name] != library {
		l.known[name] = strings.Clone(library) // the rest of the figure goes
	}
	return ""
}

// hear remembers the library that a message comes with, before anybody else hears of it: who sees a figure that needs one may ask at once.
func (l *libraries) hear(m *messaging.Message) {
	if !bytes.Contains(m.Content, []byte("<!--ds-sandbox library ")) {
		return
	}
	content, err := m.Decode()
	if err != nil {
		return
	}
	var data messaging.MIMEBundle
	switch c := content.(type) {
	case *messaging.DisplayData:
		data = c.Data
	case *messaging.ExecuteResult:
		data = c.Data
	case *messaging.UpdateDisplayData:
		data = c.Data
	}
	if html, ok := data.Text("text/html"); ok {
		l.note(html)
	}
}

// Library is the HTML that loads a library of JavaScript, by the name that FigureLibrary tells; empty if no figure of the
// context came with it.
func (c *Context) Library(name string) string {
	l := &c.journal.libraries
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[name]
}

// Page is the HTML form with the library of JavaScript that it relies on before it. HTML alone has that only in the first
// figure of a session. It needs no network.
func (r *Result) Page() string {
	if r.library == "" {
		return r.HTML
	}
	return r.library + "\n" + r.HTML
}
