package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Progress is how far a transfer is.
type Progress = backends.Progress

// TransferOptions of Upload and Download.
type TransferOptions struct {
	// OnProgress hears of every entry before it is copied, and of long files every 8 MiB. It must not block.
	OnProgress func(Progress)
}

func (o *TransferOptions) archive() *archive.Options {
	if o == nil {
		return nil
	}
	return &archive.Options{OnProgress: o.OnProgress}
}

// Upload copies a folder's contents from this machine into a folder of the workspace, which is made when absent, as one
// stream; of a file, the file into that folder. Links stay links. What came before an error stays.
func (f *Files) Upload(ctx context.Context, local, name string, opts *TransferOptions) error {
	root, base, err := openLocal(local)
	if err != nil {
		return f.wrap("upload to", name, err)
	}
	defer func() { _ = root.Close() }()
	err = stream(
		func(w io.Writer) error { return archive.Pack(ctx, root, base, w, opts.archive()) },
		func(r io.Reader) error { return f.fs.Import(ctx, name, r) },
	)
	return f.wrap("upload to", name, err)
}

// openLocal opens the folder that a path of this machine names, or that holds the file it names.
func openLocal(local string) (root *os.Root, base string, err error) {
	info, err := os.Stat(local)
	if err != nil {
		return nil, "", err
	}
	dir, base := local, "."
	if !info.IsDir() {
		if local, err = filepath.EvalSymlinks(local); err != nil {
			return nil, "", err
		}
		dir, base = filepath.Split(local)
		if dir == "" {
			dir = "."
		}
	}
	root, err = os.OpenRoot(dir)
	return root, base, err
}

// Download copies what is in a folder of the workspace, or one file, to a folder of this machine, which is made when absent, as one
// stream. Nothing is written outside of it, whatever the code in the sandbox did: a link that leads out of it ends the
// download with ErrOutside. What came before an error stays.
func (f *Files) Download(ctx context.Context, name, local string, opts *TransferOptions) error {
	if err := os.MkdirAll(local, 0o755); err != nil {
		return f.wrap("download", name, err)
	}
	root, err := os.OpenRoot(local)
	if err != nil {
		return f.wrap("download", name, err)
	}
	defer func() { _ = root.Close() }()
	err = stream(
		func(w io.Writer) error { return f.fs.Export(ctx, name, w) },
		func(r io.Reader) error { return archive.Unpack(ctx, root, r, opts.archive()) },
	)
	return f.wrap("download", name, err)
}

// Export writes what is in a folder of the workspace, or one file, to w as a tar stream.
func (f *Files) Export(ctx context.Context, name string, w io.Writer) error {
	return f.wrap("export", name, f.fs.Export(ctx, name, w))
}

// Import makes what a tar stream holds in a folder of the workspace, which is made when absent. What came before an error
// stays.
func (f *Files) Import(ctx context.Context, name string, r io.Reader) error {
	return f.wrap("import to", name, f.fs.Import(ctx, name, r))
}

// errStopped ends the one side of a stream when the other has ended early.
var errStopped = errors.New("the other side of the transfer ended")

// stream lets one side write what the other reads. When both fail, the reader's error tells more: the writer then found
// nobody to write to.
func stream(write func(io.Writer) error, read func(io.Reader) error) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(w)
		_ = w.CloseWithError(err) // nil is io.EOF
		written <- err
	}()
	err := read(r)
	_ = r.CloseWithError(errStopped)
	writeErr := <-written
	if writeErr != nil && !errors.Is(writeErr, errStopped) {
		if err != nil && !errors.Is(err, writeErr) {
			return fmt.Errorf("%w; %w", writeErr, err)
		}
		return writeErr
	}
	return err
}
