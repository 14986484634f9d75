package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
)

// What code in a sandbox can leave behind: folders nested so deep that holding each open takes all descriptors of the
// program, folders without permissions, millions of files.

// maxOpenFolders bounds how many folders are open at once. What lies deeper is moved up first.
const maxOpenFolders = 32

// RemoveAll removes name in root with all that is in it, whatever the code of a sandbox made of it; one that is gone is no
// error. Links are removed, never followed. ctx ends it early.
func RemoveAll(ctx context.Context, root *os.Root, name string) error {
	err := root.Remove(name) // a file, a link or an empty folder
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	info, statErr := root.Lstat(name)
	if statErr != nil || !info.IsDir() {
		return err
	}
	top, err := openFolder(root, name, info)
	if err != nil {
		return err
	}
	r := remover{top: top}
	err = r.empty(ctx, top, "", 0)
	_ = top.Close()
	if err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// remover empties a folder.
type remover struct{ top *os.Root }

// empty removes all that dir holds; at is its path below the top.
func (r *remover) empty(ctx context.Context, dir *os.Root, at string, depth int) error {
	// Removing may reorder what is left to read, so it is read anew until there is nothing.
	for {
		names, err := firstNames(dir)
		if err != nil || len(names) == 0 {
			return err
		}
		progress := false
		var failed error
		for _, name := range names {
			if ctx.Err() != nil {
				return fmt.Errorf("%s: %w", path.Join(r.top.Name(), at), context.Cause(ctx))
			}
			if err := r.one(ctx, dir, at, name, depth); err != nil {
				failed = err
			} else {
				progress = true
			}
		}
		if !progress {
			return failed
		}
	}
}

func (r *remover) one(ctx context.Context, dir *os.Root, at, name string, depth int) error {
	err := dir.Remove(name)
	if errors.Is(err, fs.ErrPermission) && dir.Chmod(".", 0o700) == nil {
		err = dir.Remove(name)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	info, statErr := dir.Lstat(name)
	if statErr != nil || !info.IsDir() {
		return err
	}
	if depth == maxOpenFolders {
		_ = dir.Chmod(name, 0o700) // its entry for the parent is written
		return r.top.Rename(path.Join(at, name), archive.TemporaryName(false))
	}
	sub, err := openFolder(dir, name, info)
	if err != nil {
		return err
	}
	err = r.empty(ctx, sub, path.Join(at, name), depth+1)
	_ = sub.Close()
	if err != nil {
		return err
	}
	return dir.Remove(name)
}

// openFolder opens the folder that was seen under a name, although it may have no permissions.
func openFolder(dir *os.Root, name string, seen fs.FileInfo) (*os.Root, error) {
	sub, err := dir.OpenRoot(name)
	if errors.Is(err, fs.ErrPermission) && dir.Chmod(name, 0o700) == nil {
		sub, err = dir.OpenRoot(name)
	}
	if err != nil {
		return nil, err
	}
	// The name may have become a link to a folder beside it, which is not to be emptied.
	now, err := sub.Stat(".")
	if errors.Is(err, fs.ErrPermission) && dir.Chmod(name, 0o700) == nil {
		now, err = sub.Stat(".")
	}
	if err == nil && !os.SameFile(seen, now) {
		err = fmt.Errorf("%s: it was replaced meanwhile", name)
	}
	if err != nil {
		_ = sub.Close()
		return nil, err
	}
	return sub, nil
}

// firstNames reads some of the names in a folder.
func firstNames(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if errors.Is(err, fs.ErrPermission) && dir.Chmod(".", 0o700) == nil {
		f, err = dir.Open(".")
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(1024)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}
