package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// files is a workspace as a backends.FileSystem, over os.Root: whatever names and links say, and whatever is swapped while
// a call runs, nothing outside is reached.
type files struct {
	dir  string
	real string // dir without links
	root *os.Root
}

var _ backends.FileSystem = (*files)(nil)

func openFiles(dir string) (*files, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open workspace: %w", err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open workspace: %w", err), root.Close())
	}
	return &files{dir: dir, real: real, root: root}, nil
}

// Close ends the use of the workspace; later calls fail with backends.ErrDestroyed.
func (f *files) Close() error { return f.root.Close() }

// told turns what os says into the errors of the interface.
func told(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrClosed):
		return backends.ErrDestroyed
	case strings.HasSuffix(err.Error(), "path escapes from parent"):
		return backends.ErrOutside // os has no name for this error
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%w: %w", backends.ErrInvalidName, err)
	}
	return err
}

// folder makes a folder and returns its path outside of os.Root, for a process to start in.
func (f *files) folder(name string) (string, error) {
	name, err := clean(f.dir, name)
	if err != nil {
		return "", err
	}
	err = f.inside(name, true, func(name string) error { return f.root.MkdirAll(name, 0o755) })
	if err != nil {
		return "", err
	}
	return filepath.Join(f.dir, filepath.FromSlash(name)), nil
}

// Open opens a regular file.
func (f *files) Open(_ context.Context, name string) (io.ReadCloser, error) {
	name, err := clean(f.dir, name)
	if err != nil {
		return nil, err
	}
	var file *os.File
	err = f.inside(name, true, func(name string) (err error) {
		// Not blocking: a FIFO would wait for a writer for ever.
		file, err = f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	})
	if errors.Is(err, syscall.ENXIO) { // a socket
		return nil, backends.ErrNotRegular
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		_ = file.Close()
		return nil, told(err)
	}
	return file, nil
}

// regular is the error of what is no regular file.
func regular(info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return fmt.Errorf("%w: it is a folder", backends.ErrNotRegular)
	case !info.Mode().IsRegular():
		return backends.ErrNotRegular
	}
	return nil
}

// Write stores a file: beside its place first, and then moved there. A link is followed, so that it stays one.
func (f *files) Write(ctx context.Context, name string, r io.Reader) (int64, error) {
	name, err := clean(f.dir, name)
	if err != nil {
		return 0, err
	}
	if name == "." {
		return 0, fmt.Errorf("%w: it is the workspace", backends.ErrNotRegular)
	}
	if info, err := f.root.Lstat(name); err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if name, err = f.resolve(name, true); err != nil {
			return 0, err
		}
	}
	info, err := f.root.Lstat(name)
	if err == nil {
		err = regular(info)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, told(err)
	}
	if dir := path.Dir(name); dir != "." {
		if err := f.root.MkdirAll(dir, 0o755); err != nil {
			return 0, told(err)
		}
	}
	temporary := path.Join(path.Dir(name), ".ds-sandbox-"+uuid.NewString())
	n, err := f.fill(ctx, temporary, r)
	if err == nil {
		err = f.root.Rename(temporary, name)
	}
	if err != nil {
		_ = f.root.Remove(temporary)
		return 0, told(err)
	}
	return n, nil
}

func (f *files) fill(ctx context.Context, name string, r io.Reader) (int64, error) {
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(file, &contextReader{ctx: ctx, r: r})
	if err == nil {
		err = file.Chmod(0o644) // whatever the host's umask
	}
	return n, errors.Join(err, file.Close())
}

// contextReader ends reading when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// Stat describes an entry without following a last link.
func (f *files) Stat(_ context.Context, name string) (backends.FileInfo, error) {
	name, err := clean(f.dir, name)
	if err != nil {
		return backends.FileInfo{}, err
	}
	return f.info(name)
}

func (f *files) info(name string) (backends.FileInfo, error) {
	var info fs.FileInfo
	at := name // where that is, without links on the way
	err := f.inside(name, false, func(name string) (err error) {
		at = name
		info, err = f.root.Lstat(name)
		return err
	})
	if err != nil {
		return backends.FileInfo{}, err
	}
	out := backends.FileInfo{
		Name: path.Base(name), Path: name, Type: typeOf(info.Mode()), Size: info.Size(), Mode: info.Mode().Perm(), ModTime: info.ModTime(),
	}
	if out.Type == backends.TypeLink {
		out.Target, _ = f.root.Readlink(at) // it may be gone by now
	}
	return out, nil
}

func typeOf(mode fs.FileMode) backends.FileType {
	switch {
	case mode.IsRegular():
		return backends.TypeFile
	case mode.IsDir():
		return backends.TypeDir
	case mode&fs.ModeSymlink != 0:
		return backends.TypeLink
	}
	return backends.TypeOther
}

// maxListed bounds a listing: code can make millions of files in seconds.
const maxListed = 100_000

// List lists a folder, of 100,000 entries at most.
func (f *files) List(_ context.Context, name string) ([]backends.FileInfo, error) {
	name, err := clean(f.dir, name)
	if err != nil {
		return nil, err
	}
	var dir *os.File
	at := name
	err = f.inside(name, true, func(name string) (err error) {
		at = name
		dir, err = f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_DIRECTORY, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(maxListed + 1)
	_ = dir.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, told(err)
	}
	if len(names) > maxListed {
		return nil, fmt.Errorf("list %s: it holds more than %d entries: list it by code in the sandbox", name, maxListed)
	}
	slices.Sort(names)
	infos := make([]backends.FileInfo, 0, len(names))
	for _, n := range names {
		info, err := f.info(path.Join(at, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			return nil, err
		}
		info.Name, info.Path = strings.ToValidUTF8(info.Name, "\uFFFD"), strings.ToValidUTF8(path.Join(name, n), "\uFFFD")
		infos = append(infos, info)
	}
	return infos, nil
}

// MakeDir makes a folder and its parents.
func (f *files) MakeDir(_ context.Context, name string) error {
	_, err := f.folder(name)
	return err
}

// Rename moves an entry.
func (f *files) Rename(_ context.Context, oldName, newName string) error {
	from, err := clean(f.dir, oldName)
	if err != nil {
		return err
	}
	to, err := clean(f.dir, newName)
	if err != nil {
		return err
	}
	if from == "." || to == "." {
		return fmt.Errorf("%w: the workspace itself can't be renamed", fs.ErrPermission)
	}
	if strings.HasPrefix(to, from+"/") {
		return fmt.Errorf("rename %s to %s: %w: the one is in the other", from, to, fs.ErrInvalid)
	}
	if from, err = f.place(from); err != nil {
		return err // before folders are made for it
	}
	if to, err = f.place(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if dir := path.Dir(to); dir != "." {
		if err := f.root.MkdirAll(dir, 0o755); err != nil {
			return told(err)
		}
	}
	return told(f.root.Rename(from, to))
}

// Remove removes an entry and all below it.
func (f *files) Remove(ctx context.Context, name string) error {
	name, err := clean(f.dir, name)
	if err != nil {
		return err
	}
	if name == "." {
		return fmt.Errorf("%w: the workspace itself can't be removed: kill the sandbox, or remove what is in it", fs.ErrPermission)
	}
	if name, err = f.place(name); err != nil {
		return err
	}
	return told(RemoveAll(ctx, f.root, name))
}
