package report

import (
	"crypto/sha256"
	_ "embed"
	"strings"

	"golang.org/x/net/html"
)

// librarySize is from how many bytes on a script is kept once for all frames.
const librarySize = 64 << 10

//go:embed frame.html
var frameHead string

// frames makes the documents of sandboxed frames. Notebooks load a library with the first figure that needs it and rely on
// it afterwards, but frames share nothing: so a large script is kept once in the page, and the page's own script puts it
// into every frame from there on that has scripts.
type frames struct {
	nonce     string
	libraries []string // texts, in the order they came
	known     map[[sha256.Size]byte]int
}

// document is what a frame shows.
type document struct {
	html      string // of the whole document
	scripts   bool
	libraries int // of frames.libraries, how many it needs
}

// document makes a frame of a piece of HTML. Scripts get the nonce, without which the page's policy stops them.
func (f *frames) document(fragment string) document {
	var b strings.Builder
	b.Grow(len(fragment) + len(frameHead))
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
		if len(text) >= librarySize && !strings.Contains(strings.ToLower(raw), "type=\"application/json") {
			f.keep(text)
			continue
		}
		b.WriteString(`<script nonce="` + f.nonce + `"` + raw[len("<script"):] + text + "</script>")
	}
	head := strings.ReplaceAll(frameHead, "NONCE", f.nonce)
	d := document{html: head + "<body>" + b.String(), scripts: scripts}
	if scripts {
		d.libraries = len(f.libraries)
	}
	return d
}

func isScript(z *html.Tokenizer) bool {
	name, _ := z.TagName()
	return string(name) == "script"
}

// keep remembers a library once.
func (f *frames) keep(text string) {
	sum := sha256.Sum256([]byte(text))
	if _, ok := f.known[sum]; ok {
		return
	}
	if f.known == nil {
		f.known = make(map[[sha256.Size]byte]int)
	}
	f.known[sum] = len(f.libraries)
	f.libraries = append(f.libraries, text)
}
