package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// transfer is a plain request under way: r.Body is read, which fails when not all of it comes, or w written to.
type transfer struct {
	ctx   context.Context
	files backends.FileSystem
	name  string
	query url.Values
	r     *http.Request
	w     http.ResponseWriter
	began bool // something was written
}

func (t *transfer) Write(p []byte) (int, error) {
	t.began = true
	return t.w.Write(p)
}

// plain serves a plain request. What goes wrong is the answer's body as long as nothing was sent, and its trailer after.
func (d *Daemon) plain(do func(*transfer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		files, _, err := d.files(r.Context())
		query := r.URL.Query()
		t := &transfer{ctx: r.Context(), files: files, name: query.Get("path"), query: query, r: r, w: w}
		w.Header().Set("Content-Type", "application/octet-stream")
		if err == nil {
			err = do(t)
		}
		switch {
		case err == nil:
			w.Header().Set(http.TrailerPrefix+agentpb.EndHeader, "1")
		case t.began:
			w.Header().Set(http.TrailerPrefix+agentpb.FaultHeader, agentpb.NewFault(err).Encode())
		default:
			data, _ := proto.Marshal(agentpb.NewFault(err))
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write(data)
		}
	}
}

// number reads a number of the query; 0 when it is absent.
func (t *transfer) number(name string, base int) (int64, error) {
	text := t.query.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, base, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s %.40q: %w", name, text, fs.ErrInvalid)
	}
	return n, nil
}

// copySize is how much of a file is in memory at once, bytes.
const copySize = 256 << 10

func (d *Daemon) readContent(t *transfer) error {
	offset, err := t.number("offset", 10)
	if err != nil {
		return err
	}
	length, err := t.number("length", 10)
	if err != nil {
		return err
	}
	file, err := t.files.Open(t.ctx, t.name, &backends.OpenOptions{Offset: offset, Length: length})
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.CopyBuffer(onlyWriter{t}, file, make([]byte, copySize))
	return err
}

// onlyWriter hides what else a writer can, so that the size of io.CopyBuffer's buffer counts.
type onlyWriter struct{ io.Writer }

func (d *Daemon) writeContent(t *transfer) error {
	mode, err := t.number("mode", 8)
	if err != nil {
		return err
	}
	opts := &backends.WriteOptions{Mode: fs.FileMode(mode).Perm()}
	if text := t.query.Get("metadata"); text != "" {
		if err := json.Unmarshal([]byte(text), &opts.Metadata); err != nil {
			return fmt.Errorf("metadata: %w", errors.Join(fs.ErrInvalid, err))
		}
	}
	n, err := t.files.Write(t.ctx, t.name, t.r.Body, opts)
	if err != nil {
		return err
	}
	t.w.Header().Set(agentpb.SizeHeader, strconv.FormatInt(n, 10))
	return nil
}

func (d *Daemon) exportTree(t *transfer) error { return t.files.Export(t.ctx, t.name, t) }

func (d *Daemon) importTree(t *transfer) error { return t.files.Import(t.ctx, t.name, t.r.Body) }

func (d *Daemon) listTree(t *transfer) error {
	out := bufio.NewWriterSize(t, copySize)
	var line []byte
	err := t.files.Walk(t.ctx, t.name, &backends.WalkOptions{Hash: t.query.Get("hash") != ""}, func(e *backends.TreeEntry) (err error) {
		if line, err = agentpb.AppendTreeLine(line[:0], e); err == nil {
			_, err = out.Write(line)
		}
		return err
	})
	if err != nil {
		return err
	}
	return out.Flush()
}
