package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// files is a workspace as a backends.FileSystem, over os.Root: whatever names and links say, and whatever is swapped while
// a call runs, nothing outside is reached.
type files struct {
	dir     string
	real    string // dir without links
	root    *os.Root
	owners  owners
	watches watches
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
func (f *files) Close() error { return errors.Join(f.watches.close(), f.root.Close()) }

// meanings are what the system's errors are in the interface's words.
var meanings = []struct{ system, meant error }{
	{os.ErrClosed, backends.ErrDestroyed},
	{syscall.ENAMETOOLONG, backends.ErrInvalidName},
	{syscall.EINVAL, backends.ErrInvalidName},
	{syscall.EISDIR, backends.ErrIsDir},
	{syscall.ENOTDIR, backends.ErrNotDir},
	{syscall.ENOTEMPTY, backends.ErrNotEmpty},
	{syscall.ENOSPC, backends.ErrNoSpace},
	{syscall.EDQUOT, backends.ErrNoSpace},
}

// told turns what os says into the errors of the interface.
func told(err error) error {
	if err == nil {
		return nil
	}
	switch text := err.Error(); { // os has no names for these
	case strings.HasSuffix(text, "path escapes from parent"):
		return backends.ErrOutside
	case strings.HasSuffix(text, "not a directory"):
		return fmt.Errorf("%w (%w)", backends.ErrNotDir, err)
	}
	for _, m := range meanings {
		if errors.Is(err, m.system) && !errors.Is(err, m.meant) {
			return fmt.Errorf("%w (%w)", m.meant, err)
		}
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
	if errors.Is(err, fs.ErrExist) {
		return "", backends.ErrNotDir
	}
	if err != nil {
		return "", err
	}
	return filepath.Join(f.dir, filepath.FromSlash(name)), nil
}

// existingFolder is folder for one that must be there.
func (f *files) existingFolder(name string) (string, error) {
	name, err := clean(f.dir, name)
	if err != nil {
		return "", err
	}
	err = f.inside(name, true, func(name string) error {
		info, err := f.root.Stat(name)
		if err == nil && !info.IsDir() {
			err = backends.ErrNotDir
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(f.dir, filepath.FromSlash(name)), nil
}

// parents makes the folders above a name.
func (f *files) parents(name string) error {
	dir := path.Dir(name)
	if dir == "." {
		return nil
	}
	return f.root.MkdirAll(dir, 0o755)
}

// MakeDir makes a folder and its parents.
func (f *files) MakeDir(_ context.Context, name string) error {
	_, err := f.folder(name)
	return err
}

// both cleans two names of which neither may be the workspace nor the second below the first, and says what leads to them.
func (f *files) both(act, oldName, newName string) (from, to string, err error) {
	if from, err = clean(f.dir, oldName); err != nil {
		return "", "", err
	}
	if to, err = clean(f.dir, newName); err != nil {
		return "", "", err
	}
	if from == "." || to == "." {
		return "", "", fmt.Errorf("%w: the workspace itself can't be %s", fs.ErrPermission, act)
	}
	if strings.HasPrefix(to, from+"/") {
		return "", "", fmt.Errorf("%s to %s: %w: the one is in the other", from, to, fs.ErrInvalid)
	}
	if from, err = f.place(from); err != nil {
		return "", "", err // before folders are made for it
	}
	if to, err = f.place(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	return from, to, nil
}

// Rename moves an entry.
func (f *files) Rename(_ context.Context, oldName, newName string) error {
	from, to, err := f.both("renamed", oldName, newName)
	if err != nil {
		return err
	}
	if err := f.parents(to); err != nil {
		return told(err)
	}
	err = f.root.Rename(from, to)
	if errors.Is(err, fs.ErrExist) { // what os says of any folder that is in the way
		err = f.replaceFolder(from, to)
	}
	return told(err)
}

// replaceFolder moves a folder to where an empty one is.
func (f *files) replaceFolder(from, to string) error {
	info, err := f.root.Lstat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return backends.ErrIsDir
	}
	if err := f.root.Remove(to); err != nil {
		return err
	}
	return f.root.Rename(from, to)
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
