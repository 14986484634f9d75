package bridge

import (
	"context"
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

// fileFunc answers a request that is about the files of a sandbox, or says why it can't.
type fileFunc func(ctx context.Context, w http.ResponseWriter, r *http.Request, files *sandbox.Files) error

// inWorkspace is the handler for it, with the sandbox awake.
func (h *Handler) inWorkspace(do fileFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		m, ok := h.admit(w, r)
		if !ok {
			return
		}
		ctx, detach := m.Attach(r.Context())
		defer detach()
		err := m.Awake(ctx)
		if err == nil {
			err = do(ctx, w, r, m.Sandbox().Files())
		}
		if err != nil {
			refuse(w, err)
		}
	}
}

// readFile serves a file for download, or lists a folder.
func (h *Handler) readFile(ctx context.Context, w http.ResponseWriter, r *http.Request, files *sandbox.Files) error {
	name := r.PathValue("path")
	info, err := files.Info(ctx, name)
	if err != nil {
		return err
	}
	if info.Type == "dir" {
		entries, err := files.List(ctx, name)
		if err != nil {
			return err
		}
		if entries == nil {
			entries = []sandbox.FileInfo{}
		}
		writeJSON(w, http.StatusOK, &folder{Path: info.Path, Entries: entries})
		return nil
	}
	file, err := files.Open(ctx, name)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	hostile(w.Header(), path.Base(info.Path))
	h.deliver(w, file)
	return nil
}

// writeFile stores the body as a file, or makes a folder when the name ends in a slash.
func (h *Handler) writeFile(ctx context.Context, w http.ResponseWriter, r *http.Request, files *sandbox.Files) error {
	name := r.PathValue("path")
	var err error
	if strings.HasSuffix(name, "/") {
		err = files.MakeDir(ctx, name)
	} else {
		_, err = files.WriteFrom(ctx, name, r.Body, nil)
	}
	if err != nil {
		return err
	}
	info, err := files.Info(ctx, name)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, &info)
	return nil
}

func (h *Handler) removeFile(ctx context.Context, w http.ResponseWriter, r *http.Request, files *sandbox.Files) error {
	if err := files.Remove(ctx, r.PathValue("path")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
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
