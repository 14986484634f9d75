package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed page
var files embed.FS

// pagePolicy is for the page and its parts. Scripts are those of the page alone, and nothing becomes markup but by them.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
	"frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// framePolicy is for the document that shows what a sandbox made: it has no origin, and reaches nothing.
const framePolicy = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; " +
	"img-src data: blob:; media-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// framePath is where that document is.
const framePath = "/ui/frame.html"

var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// asset is one file of the page.
type asset struct {
	data []byte
	kind string
	tag  string
}

// Handler serves the page.
type Handler struct{ assets map[string]asset }

// New makes a handler of the page's files.
func New() *Handler {
	h := &Handler{assets: make(map[string]asset)}
	err := fs.WalkDir(files, "page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		h.assets["/ui/"+strings.TrimPrefix(name, "page/")] = asset{data, types[path.Ext(name)], `"` + hex.EncodeToString(sum[:16]) + `"`}
		return nil
	})
	if err != nil { // they are in the program
		panic(err)
	}
	return h
}

// Routes lists what the handler serves, as patterns of http.ServeMux.
func (h *Handler) Routes() []string {
	return []string{"GET /{$}", "GET /ui/{path...}", "GET /favicon.ico"}
}

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path
	switch name {
	case "/", "/ui", "/ui/":
		name = "/ui/index.html"
	case "/favicon.ico":
		name = "/ui/icon.svg"
	}
	a, ok := h.assets[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	header := w.Header()
	header.Set("Content-Type", a.kind)
	header.Set("Etag", a.tag)
	header.Set("Cache-Control", "no-cache") // a new daemon may have a new page
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer") // its address may hold the key for a moment
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("X-Dns-Prefetch-Control", "off")
	header.Set("Content-Security-Policy", pagePolicy)
	if name == framePath {
		header.Set("Content-Security-Policy", framePolicy)
	}
	if strings.Contains(r.Header.Get("If-None-Match"), a.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(a.data) // to a client that is gone nothing more can be said
	}
}
