package envd

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// download answers with a file (section 3.3.1).
func (h *Handler) download(w http.ResponseWriter, r *http.Request, m *fleet.Member) error {
	query := r.URL.Query()
	p, err := placeOf(m, userOf(r.Header, query))
	if err != nil {
		return err
	}
	at, err := p.locate(query.Get("path"))
	if err != nil {
		return err
	}
	f, err := openFile(r.Context(), p.files, at)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	coding, ok := negotiate(r.Header.Values("Accept-Encoding"))
	if !ok {
		return refusef(http.StatusNotAcceptable, "none of the accepted encodings can be had: accept gzip or identity")
	}
	header := w.Header()
	header.Set("Vary", "Accept-Encoding")
	header.Set("Content-Type", f.kind())
	if disposition := mime.FormatMediaType("inline", map[string]string{"filename": path.Base(at.path)}); disposition != "" {
		header.Set("Content-Disposition", disposition)
	}
	if coding == codingGzip && f.size > 0 && !isPartial(r.Header) && r.Method == http.MethodGet {
		return f.compressed(w)
	}
	http.ServeContent(w, r, path.Base(at.path), f.modified, f)
	return f.err
}

// isPartial reports whether a request is for a part of a file, or only if it has changed. Such are about the file as it is.
func isPartial(header http.Header) bool {
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if header.Get(name) != "" {
			return true
		}
	}
	return false
}

// file is an open file of a sandbox. What it begins with is read at once: for its type, and because the files of /proc say they are empty.
type file struct {
	ctx      context.Context
	files    *sandbox.Files
	name     string
	size     int64
	modified time.Time
	begin    []byte

	offset int64         // of the next Read
	open   io.ReadCloser // nil when it was closed
	at     int64         // where open is
	err    error         // what a read has failed with
}

// How much is read at once of a file, and of one that says it is empty, bytes.
const (
	sniffed    = 512
	maxUnsized = 64 << 10
)

// openFile opens a regular file. Errors: fs.ErrPermission, sandbox.ErrIsDir, sandbox.ErrNotRegular; a refusal of what is not there.
func openFile(ctx context.Context, files *sandbox.Files, at location) (*file, error) {
	info, err := files.Info(ctx, at.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refusef(http.StatusNotFound, "path '%s' does not exist", at.path)
	}
	if err != nil {
		return nil, err
	}
	kind, size, modified := info.Type, info.Size, info.ModTime
	if kind == backends.TypeLink {
		if info.End == nil {
			return nil, refusef(http.StatusNotFound, "path '%s' does not exist: it is a link to '%s'", at.path, info.Target)
		}
		kind, size, modified = info.End.Type, info.End.Size, info.End.ModTime
	}
	switch kind {
	case backends.TypeFile:
	case backends.TypeDir:
		return nil, fmt.Errorf("path '%s': %w", at.path, sandbox.ErrIsDir)
	default:
		return nil, fmt.Errorf("path '%s': %w", at.path, sandbox.ErrNotRegular)
	}
	f := &file{ctx: ctx, files: files, name: at.name, size: size, modified: modified}
	if f.open, err = files.Open(ctx, at.name); err != nil {
		return nil, err
	}
	most := int64(sniffed)
	if size == 0 {
		most = maxUnsized
	}
	if f.begin, err = io.ReadAll(io.LimitReader(f.open, most)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.at = int64(len(f.begin))
	if size == 0 {
		f.size = f.at
	}
	return f, nil
}

// kind is the type of its contents, as far as name and beginning tell.
func (f *file) kind() string {
	return cmp.Or(mime.TypeByExtension(path.Ext(f.name)), http.DetectContentType(f.begin[:min(len(f.begin), sniffed)]))
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return f.offset, fs.ErrInvalid
	}
	f.offset = offset
	return offset, nil
}

func (f *file) Read(p []byte) (int, error) {
	switch {
	case f.offset >= f.size:
		return 0, io.EOF
	case f.offset < int64(len(f.begin)):
		n := copy(p, f.begin[f.offset:])
		f.offset += int64(n)
		return n, nil
	case f.open == nil || f.at != f.offset:
		_ = f.Close()
		if f.open, f.err = f.files.OpenRange(f.ctx, f.name, f.offset, f.size-f.offset); f.err != nil {
			f.open = nil
			return 0, f.err
		}
		f.at = f.offset
	}
	n, err := f.open.Read(p[:min(int64(len(p)), f.size-f.offset)])
	f.offset += int64(n)
	f.at = f.offset
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// Close closes what is open. It is idempotent.
func (f *file) Close() error {
	if f.open == nil {
		return nil
	}
	err := f.open.Close()
	f.open = nil
	return err
}

// compressed answers with the whole file, compressed.
func (f *file) compressed(w http.ResponseWriter) error {
	header := w.Header()
	header.Set("Content-Encoding", codingGzip)
	header.Set("Last-Modified", f.modified.UTC().Format(http.TimeFormat))
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	if _, err = io.Copy(z, f); err != nil {
		return err
	}
	return z.Close()
}

// entity is a file as answers to uploads name it.
type entity struct {
	Path     string            `json:"path"`
	Name     string            `json:"name"`
	Type     string            `json:"type"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

func newEntity(path_ string, metadata map[string]string) entity {
	return entity{Path: path_, Name: path.Base(path_), Type: "file", Metadata: metadata}
}
