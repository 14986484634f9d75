package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Progress is how far a transfer is.
type Progress = backends.Progress

// TransferOptions of Upload and Download.
type TransferOptions struct {
	// OnProgress hears of every entry before it is copied, and of long files every 8 MiB. It must not block.
	OnProgress func(Progress)
	// Links is what becomes of links that lead out of the tree, in a Download; LinksSkip.
	Links LinkPolicy
}

// LinkPolicy is what becomes of a symbolic link that leads out of the tree it is downloaded with.
type LinkPolicy string

// The policies. Links that name what is in the tree by a whole path come out as relative ones, whatever the policy.
const (
	LinksSkip LinkPolicy = "skip" // it is left out, and told of by a *SkippedError when all else is there
	LinksKeep LinkPolicy = "keep" // it is made as it is; on this machine it may lead anywhere, or nowhere
	LinksFail LinkPolicy = "fail" // it ends the download with ErrOutside
)

// SkippedError says that an upload, a download, an export or a copy of a tree is complete but for some entries.
type SkippedError = backends.SkippedError

// archive checks the options and makes those of package archive.
func (o *TransferOptions) archive() (*archive.Options, error) {
	if o == nil {
		return &archive.Options{SkipOutward: true}, nil
	}
	out := &archive.Options{OnProgress: o.OnProgress}
	switch o.Links {
	case "", LinksSkip:
		out.SkipOutward = true
	case LinksKeep:
		out.OutwardLinks = true
	case LinksFail:
	default:
		return nil, fmt.Errorf("links %q: use %q, %q or %q", o.Links, LinksSkip, LinksKeep, LinksFail)
	}
	return out, nil
}

// Upload copies a folder's contents from this machine into a folder of the workspace, which is made when absent, as one
// stream; of a file, the file into that folder. Links stay links. What came before an error stays. What may not be read is left
// out, which a *SkippedError tells.
func (f *Files) Upload(ctx context.Context, local, name string, opts *TransferOptions) error {
	o, err := opts.archive()
	if err != nil {
		return f.wrap("upload to", name, err)
	}
	root, base, err := openLocal(local)
	if err != nil {
		return f.wrap("upload to", name, err)
	}
	defer func() { _ = root.Close() }()
	err = stream(
		func(w io.Writer) error { return archive.Pack(ctx, root, base, w, o) },
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
// stream. Nothing is written outside of it, whatever the code in the sandbox did. Links that lead out of the tree and what may
// not be read are left out, which a *SkippedError tells when all else is there; see TransferOptions.Links. What came before an
// error stays.
func (f *Files) Download(ctx context.Context, name, local string, opts *TransferOptions) error {
	o, err := opts.archive()
	if err != nil {
		return f.wrap("download", name, err)
	}
	o.Inside = f.paths(name)
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
		func(r io.Reader) error { return archive.Unpack(ctx, root, r, o) },
	)
	return f.wrap("download", name, err)
}

// paths are the whole paths that code knows a folder of the workspace by: that of the workspace, and what that leads to when it
// is a link to a user's folder.
func (f *Files) paths(name string) []string {
	workspace := f.sandbox.instance.Workspace()
	name = path.Clean("/" + name)
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
