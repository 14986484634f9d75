package bridge

import (
	"io"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// folder is what a folder holds.
type folder struct {
	Path    string             `json:"path"`
	Entries []sandbox.FileInfo `json:"entries"`
}

// readFile serves a file for download, or lists a folder.
func (h *Handler) readFile(w http.ResponseWriter, r *http.Request) {
	m, ok := h.admit(w, r)
	if !ok {
		return
	}
	ctx, detach := m.Attach(r.Context())
	defer detach()
	err := m.Awake(ctx)
	name, files := r.PathValue("path"), m.Sandbox().Files()
	var info sandbox.FileInfo
	if err == nil {
		info, err = files.Info(ctx, name)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	if info.Type == "dir" {
		entries, err := files.List(ctx, name)
		if err != nil {
			refuse(w, err)
			return
		}
		if entries == nil {
			entries = []sandbox.FileInfo{}
		}
		writeJSON(w, http.StatusOK, &folder{Path: info.Path, Entries: entries})
		return
	}
	file, err := files.Open(ctx, name)
	if err != nil {
		refuse(w, err)
		return
	}
	defer file.Close() //nolint:errcheck // it was only read
	hostile(w.Header(), path.Base(info.Path))
	h.deliver(w, file)
}

// writeFile stores the body as a file, or makes a folder when the name ends in a slash.
func (h *Handler) writeFile(w http.ResponseWriter, r *http.Request) {
	m, ok := h.admit(w, r)
	if !ok {
		return
	}
	ctx, detach := m.Attach(r.Context())
	defer detach()
	err := m.Awake(ctx)
	name, files := r.PathValue("path"), m.Sandbox().Files()
	if err == nil {
		if strings.HasSuffix(name, "/") {
			err = files.MakeDir(ctx, name)
		} else {
			_, err = files.WriteFrom(ctx, name, r.Body, nil)
		}
	}
	var info sandbox.FileInfo
	if err == nil {
		info, err = files.Info(ctx, name)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	writeJSON(w, http.StatusOK, &info)
}

func (h *Handler) removeFile(w http.ResponseWriter, r *http.Request) {
	m, ok := h.admit(w, r)
	if !ok {
		return
	}
	ctx, detach := m.Attach(r.Context())
	defer detach()
	err := m.Awake(ctx)
	if err == nil {
		err = m.Sandbox().Files().Remove(ctx, r.PathValue("path"))
	}
	if err != nil {
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// hostile are the headers of what a sandbox made: no browser takes it for a page of ours.
func hostile(header http.Header, name string) {
	header.Set("Content-Type", "application/octet-stream")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	header.Set("Cache-Control", "no-store")
	disposition := "attachment"
	if name != "" {
		disposition = mime.FormatMediaType("attachment", map[string]string{"filename": name})
	}
	header.Set("Content-Disposition", disposition)
}

// deliver writes a body that may be large.
func (h *Handler) deliver(w http.ResponseWriter, r io.Reader) {
	if _, err := io.Copy(w, r); err != nil {
		h.opts.Logger.Debug("download", "error", err)
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
}
