package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Upload copies a folder's contents from this machine into a folder of the workspace, which is made when absent, as one
// stream; of a file, the file into that folder. Links stay links, unless TransferOptions.Follow says otherwise; Changed sends only
// what has changed. Nothing is left out in silence: what may not be read, what is neither a file nor a folder, what vanishes or never
// stands still while it is read is named by a *SkippedError when all else is there. What came before another error stays. When the
// connection to a container breaks, it begins again.
func (f *Files) Upload(ctx context.Context, local, name string, opts *TransferOptions) (*Transferred, error) {
	o, err := opts.upload()
	if err == nil {
		err = f.uncut(ctx, nil, func() error {
			*o.Count = archive.Count{}
			return f.upload(ctx, local, name, opts, o)
		})
	}
	done, err := opts.end(o.Count, err)
	return done, f.wrap("upload to", name, err)
}

func (f *Files) upload(ctx context.Context, local, name string, opts *TransferOptions, o *archive.Options) error {
	root, base, err := openLocal(local)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if opts != nil && (opts.Changed != ChangedAny || opts.Delete) {
		there := name
		if base != "." {
			if opts.Delete {
				return fmt.Errorf("%s: Delete needs a folder: %w", local, ErrNotDir)
			}
			there = path.Join(name, base)
		}
		next, stop := iter.Pull2(f.walk(ctx, there, opts.Changed == ChangedHash))
		defer stop()
		o.Difference = &archive.Difference{
			All: opts.Changed == ChangedAny, Hash: opts.Changed == ChangedHash, Delete: opts.Delete,
			Next: func() (*backends.TreeEntry, error) {
				entry, err, _ := next()
				return entry, err
			},
		}
	}
	return stream(
		func(w io.Writer) error { return archive.Pack(ctx, root, base, w, o) },
		func(r io.Reader) error {
			err := f.fs.Import(ctx, name, r)
			if err != nil {
				cancel(errStopped) // what looks for changes need not go on
			}
			return err
		},
	)
}

// walk is FileSystem.Walk to be pulled; of what is not there, nothing.
func (f *Files) walk(ctx context.Context, name string, hash bool) iter.Seq2[*backends.TreeEntry, error] {
	return func(yield func(*backends.TreeEntry, error) bool) {
		err := f.fs.Walk(ctx, name, &backends.WalkOptions{Hash: hash}, func(e *backends.TreeEntry) error {
			if !yield(e, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) && !errors.Is(err, fs.ErrNotExist) {
			yield(nil, fmt.Errorf("look for what has changed: %w", err))
		}
	}
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
// stream. Nothing is written outside of it, whatever the code in the sandbox did. Links that lead out of the tree and what may
// not be read are left out, which a *SkippedError tells when all else is there; see TransferOptions.Links. What came before an
// error stays. When the connection to a container breaks, it begins again.
func (f *Files) Download(ctx context.Context, name, local string, opts *TransferOptions) (*Transferred, error) {
	o, err := opts.download()
	if err == nil {
		err = f.uncut(ctx, nil, func() error {
			*o.Count = archive.Count{}
			return f.download(ctx, name, local, o)
		})
	}
	done, err := opts.end(o.Count, err)
	return done, f.wrap("download", name, err)
}

func (f *Files) download(ctx context.Context, name, local string, o *archive.Options) error {
	o.Inside = f.paths(name)
	if err := os.MkdirAll(local, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(local)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return stream(
		func(w io.Writer) error { return f.fs.Export(ctx, name, w) },
		func(r io.Reader) error { return archive.Unpack(ctx, root, r, o) },
	)
}

// paths are the whole paths that code knows a folder of the workspace by: that of the workspace, and what that leads to when it
// is a link to a user's folder.
func (f *Files) paths(name string) []string {
	workspace := f.sandbox.instance.Workspace()
	name = path.Clean("/" + name)
	if f.whole {
		return []string{name}
	}
	for _, dir := range []string{workspace, "/home/user"} {
		if rest, ok := strings.CutPrefix(name, dir); ok && (rest == "" || rest[0] == '/') {
			name = rest
			break
		}
	}
	paths := []string{path.Join(workspace, name)}
	if real, err := filepath.EvalSymlinks(workspace); err == nil && real != workspace {
		paths = append(paths, path.Join(real, name))
	}
	return paths
}

// Export writes what is in a folder of the workspace, or one file, to w as a tar stream. What may not be read is left out, which
// a *SkippedError tells when the stream is complete.
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
		_ = w.CloseWithError(archive.EndOf(err)) // nil is io.EOF
		written <- err
	}()
	err := read(r)
	_ = r.CloseWithError(errStopped)
	writeErr := <-written
	if left, more := new(SkippedError), new(SkippedError); errors.As(err, &left) && errors.As(writeErr, &more) {
		left.Merge(more)
		return left
	}
	if writeErr != nil && !errors.Is(writeErr, errStopped) {
		if err != nil && !errors.Is(err, writeErr) {
			return fmt.Errorf("%w; %w", writeErr, err)
		}
		return writeErr
	}
	return err
}
