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
// a call runs, nothing outside is reached. An allowed root is another, into which links of the workspace may lead.
type files struct {
	dir     string
	real    string // dir without links
	root    *os.Root
	roots   []*files // the allowed ones
	disk    *disk    // that is written to; nil without a limit, and of an allowed root
	owners  owners
	watches watches
	run     func(act func()) error // see WholeFiles; nil of a workspace
}

var _ backends.FileSystem = (*files)(nil)

func openFiles(dir string, roots ...string) (*files, error) {
	f, err := openTree(dir)
	if err != nil {
		return nil, fmt.Errorf("open workspace: %w", err)
	}
	for _, dir := range roots {
		root, err := openTree(dir)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open allowed root: %w", err), f.Close())
		}
		f.roots = append(f.roots, root)
	}
	return f, nil
}

func openTree(dir string) (*files, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, err
	}
	return &files{dir: dir, real: real, root: root}, nil
}

// folders are where everything lies, without links.
func (f *files) folders() []string {
	folders := []string{f.real}
	for _, root := range f.roots {
		folders = append(folders, root.real)
	}
	return folders
}

// Close ends the use of the workspace; later calls fail with backends.ErrDestroyed.
func (f *files) Close() error {
	err := errors.Join(f.watches.close(), f.root.Close())
	for _, root := range f.roots {
		err = errors.Join(err, root.Close())
	}
	return err
}

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
	f, name, err := f.at(name, true)
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
	f, name, err := f.at(name, true)
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

// entry is one that an act is about, without links on the way to it.
type entry struct {
	in   *files
	name string
}

// both finds two entries of which neither may be the workspace nor the second below the first. Only the second may be absent.
func (f *files) both(act, oldName, newName string) (from, to entry, err error) {
	if from, err = f.entry(act, oldName); err != nil {
		return from, to, err // before folders are made for it
	}
	if to, err = f.entry(act, newName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return from, to, err
	}
	if strings.HasPrefix(to.path(), from.path()+"/") {
		return from, to, fmt.Errorf("%s to %s: %w: the one is in the other", oldName, newName, fs.ErrInvalid)
	}
	return from, to, nil
}

func (f *files) entry(act, name string) (e entry, err error) {
	if e.in, e.name, err = f.at(name, false); err != nil {
		return e, err
	}
	if e.name == "." {
		return e, fmt.Errorf("%w: neither the workspace itself nor an allowed root can be %s", fs.ErrPermission, act)
	}
	e.name, err = e.in.place(e.name)
	return e, err
}

func (e entry) path() string { return path.Join(e.in.real, e.name) }

// Rename moves an entry.
func (f *files) Rename(_ context.Context, oldName, newName string) error {
	from, to, err := f.both("renamed", oldName, newName)
	if err != nil {
		return err
	}
	if from.in != to.in {
		return fmt.Errorf("%s to %s: %w: one is in an allowed root, the other not: copy it and remove the old one",
			oldName, newName, syscall.EXDEV)
	}
	return told(from.in.rename(from.name, to.name))
}

func (f *files) rename(from, to string) error {
	if err := f.parents(to); err != nil {
		return err
	}
	err := f.root.Rename(from, to)
	if errors.Is(err, fs.ErrExist) { // what os says of any folder that is in the way
		err = f.replaceFolder(from, to)
	}
	return err
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
	f, name, err := f.at(name, false)
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
