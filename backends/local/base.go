package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// base is the folder that holds the workspaces. Users may share one: it is like the system's temporary folder, where
// anybody may add and only the owner remove (mode 01777).
type base struct {
	dir  string
	root *os.Root
}

func openBase(dir string) (*base, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("local: base folder: %w", err)
	}
	if err := makeBase(dir); err != nil {
		return nil, fmt.Errorf("local: base folder of the workspaces: %w; choose another with WorkspaceBaseDir or DS_SANDBOX_WORKSPACE_BASE", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("local: base folder: %w", err)
	}
	return &base{dir: dir, root: root}, nil
}

func makeBase(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
			return err
		}
		info, err = os.Lstat(dir)
	}
	if err != nil {
		return err
	}
	switch owner := ownerOf(info); {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a link: somebody else could redirect it", dir)
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	case owner != 0 && owner != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, neither to you nor to root", dir, owner)
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		return fmt.Errorf("%s may be written by everybody without the sticky bit: `chmod +t %s`", dir, dir)
	}
	if err := syscall.Access(dir, 2|1); err != nil { // write and search
		return fmt.Errorf("%s can't be written: %w", dir, err)
	}
	return nil
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

func (b *base) mkdir(name string) error { return b.root.Mkdir(name, 0o700) }

func (b *base) close() error { return b.root.Close() }

// remove removes a folder whatever is in it; one that is gone is no error. Links are removed, never followed.
func (b *base) remove(name string) error {
	err := b.root.RemoveAll(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// A folder without permission for us, or one that was written to meanwhile: open them up and try again.
	b.unlock(name)
	if err := b.root.RemoveAll(name); err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Join(b.dir, name), err)
	}
	return nil
}

// unlock gives us permission on every folder below name.
func (b *base) unlock(name string) {
	info, err := b.root.Lstat(name)
	if err != nil || !info.IsDir() {
		return
	}
	_ = b.root.Chmod(name, 0o700)
	dir, err := b.root.Open(name)
	if err != nil {
		return
	}
	entries, _ := dir.ReadDir(-1)
	_ = dir.Close()
	for _, e := range entries {
		if e.IsDir() {
			b.unlock(path.Join(name, e.Name()))
		}
	}
}
