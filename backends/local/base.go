package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent"
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

func (b *base) mkdir(name string) error {
	err := b.root.Mkdir(name, 0o700)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return fmt.Errorf("%s takes no new folder: %w; choose another with WorkspaceBaseDir or DS_SANDBOX_WORKSPACE_BASE", b.dir, err)
}

func (b *base) close() error { return b.root.Close() }

// removePatience bounds how long the removal of one sandbox may take, against a process that could not be ended and
// goes on writing. What is left then is the next engine's to sweep.
const removePatience = 2 * time.Minute

// removeSandbox removes the folders of a sandbox. The file that says whose they are goes last, so that what an
// interrupted removal leaves can be swept.
func (b *base) removeSandbox(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, removePatience, errors.New("something still writes there"))
	defer cancel()
	if err := agent.RemoveAll(ctx, b.root, workspaceName(id)); err != nil {
		return fmt.Errorf("remove workspace: %w", err)
	}
	private := privateName(id)
	dir, err := b.root.Open(private)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		names, _ := dir.Readdirnames(-1)
		_ = dir.Close()
		for _, name := range names {
			if name != ownerName {
				err = errors.Join(err, agent.RemoveAll(ctx, b.root, path.Join(private, name)))
			}
		}
	}
	// Again as a whole, whatever went wrong above: without permissions, say.
	if err := agent.RemoveAll(ctx, b.root, private); err != nil {
		return fmt.Errorf("remove private folder: %w", err)
	}
	return nil
}
