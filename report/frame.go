package report

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// librarySize is from how many bytes on a script is kept once for all frames.
const librarySize = 64 << 10

// maxLibraries bounds what each frame may be given; further scripts stay in their frames.
const maxLibraries = 16

//go:embed frame.html
var frameHead string

// frames makes the documents of sandboxed frames. Notebooks load a library with the first figure that needs it and rely on
// it afterwards, but frames share nothing: so a large script is kept once in the page, and the page's own script puts it
// in its place and into every frame from there on that has scripts. A script that names an element beside it draws that
// and is no library.
type frames struct {
	nonce     string
	libraries []string // texts, in the order they came
	known     map[[sha256.Size]byte]int
}

// document is what a frame shows.
type document struct {
	html      string // of the whole document
	scripts   bool
	remote    bool // it wants scripts from the network, which it does not get
	libraries int  // of frames.libraries, how many it needs before all else
	filled    bool // by the page's own script: it needs libraries
}

// document makes a frame of a piece of HTML. Scripts get the nonce, without which the page's policy stops them.
func (f *frames) document(fragment string) document {
	var b strings.Builder
	b.Grow(len(fragment) + len(frameHead))
	before := len(f.libraries)
	elements := elementIDs(fragment)
	scripts := false
	z := html.NewTokenizer(strings.NewReader(fragment))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		raw := string(z.Raw())
		if kind != html.StartTagToken || !isScript(z) {
			b.WriteString(raw)
			continue
		}
		scripts = true
		text := ""
		if z.Next() == html.TextToken {
			text = string(z.Raw())
			z.Next() // the end tag
		}
		if len(text) >= librarySize && len(f.libraries) < maxLibraries && !names(text, elements) && !isData(raw) {
			if n := f.keep(text); n >= before {
				fmt.Fprintf(&b, "<!--library %d-->", n)
			}
			continue
		}
		b.WriteString(`<script nonce="` + f.nonce + `"` + raw[len("<script"):] + text + "</script>")
	}
	head := strings.ReplaceAll(frameHead, "NONCE", f.nonce)
	d := document{html: head + "<body>" + b.String(), scripts: scripts, remote: scripts && remoteScript.MatchString(b.String())}
	if scripts {
		d.libraries, d.filled = before, len(f.libraries) > 0
	}
	return d
}

// remoteScript finds a script that is somewhere else: of a script element, or at the addresses that notebooks' libraries
// load theirs from.
var remoteScript = regexp.MustCompile(`(?i)<script\b[^<>]*\ssrc=["']?(https?:)?//` +
	`|https?://(cdn\.jsdelivr\.net|unpkg\.com|cdnjs\.cloudflare\.com|cdn\.bokeh\.org)/`)

func isScript(z *html.Tokenizer) bool {
	name, _ := z.TagName()
	return string(name) == "script"
}

// maxElements bounds how many elements of a piece are known by their ids.
const maxElements = 100

// elementIDs lists the ids of a piece's elements, those that are not words by chance.
func elementIDs(fragment string) []string {
	var ids []string
	z := html.NewTokenizer(strings.NewReader(fragment))
	for kind := z.Next(); kind != html.ErrorToken && len(ids) < maxElements; kind = z.Next() {
		if kind != html.StartTagToken {
			continue
		}
		_, more := z.TagName()
		for more {
			var key, value []byte
			if key, value, more = z.TagAttr(); string(key) == "id" && len(value) >= 6 {
				ids = append(ids, string(value))
			}
		}
	}
	return ids
}

// names reports whether a script has the id of an element.
func names(script string, ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(script, id) })
}

// isData reports whether a script element only carries data.
func isData(tag string) bool { return strings.Contains(strings.ToLower(tag), "json") }

// keep remembers a library once and returns its number.
func (f *frames) keep(text string) int {
	sum := sha256.Sum256([]byte(text))
	if n, ok := f.known[sum]; ok {
		return n
	}
	if f.known == nil {
		f.known = make(map[[sha256.Size]byte]int)
	}
	f.known[sum] = len(f.libraries)
	f.libraries = append(f.libraries, text)
	return len(f.libraries) - 1
}
