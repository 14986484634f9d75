package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// runtimeDir is an engine's private folder for sockets, with a short path. It holds a lock for as long as the engine
// lives, so that the next engine knows whose folders nobody uses any more:
//
//	ROOT/lock           taken while engines come and are swept
//	ROOT/e123/lock      held by its engine
//	ROOT/e123/ID/owner  the base folder of sandbox ID
type runtimeDir struct {
	dir  string
	lock *os.File
}

// owner is what a sandbox's folder tells a sweeper.
type owner struct {
	Base string `json:"base"`
}

func openRuntime(root string, logger *slog.Logger) (*runtimeDir, error) {
	if root == "" {
		root = defaultRuntime()
	}
	root, err := filepath.Abs(root)
	if err == nil {
		err = makePrivate(root)
	}
	if err != nil {
		return nil, fmt.Errorf("local: runtime folder: %w; choose another with RuntimeDir or DS_SANDBOX_RUNTIME_DIR", err)
	}
	r, err := newRuntime(root, logger)
	if err != nil {
		return nil, fmt.Errorf("local: runtime folder %s: %w", root, err)
	}
	return r, nil
}

func newRuntime(root string, logger *slog.Logger) (*runtimeDir, error) {
	turn, err := lockFile(filepath.Join(root, "lock"), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer func() { _ = turn.Close() }() // gives up the lock
	sweep(root, logger)
	dir, err := os.MkdirTemp(root, "e")
	if err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(dir, "lock"), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	return &runtimeDir{dir: dir, lock: lock}, nil
}

// maxRuntime is the longest runtime folder that leaves room for the sockets' names.
const maxRuntime = 50

// defaultRuntime is a folder of the user's own.
func defaultRuntime() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && len(dir) < maxRuntime {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && ownerOf(info) == os.Geteuid() {
			return filepath.Join(dir, "ds-sandbox")
		}
	}
	return "/tmp/ds-sandbox-" + strconv.Itoa(os.Geteuid())
}

// makePrivate makes a folder that is ours alone, or checks that it is.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0 || !info.IsDir():
		return fmt.Errorf("%s is not a folder but a link or a file", dir)
	case ownerOf(info) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, not to you", dir, ownerOf(info))
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others (mode %o): `chmod 700 %s`", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// lockFile opens a file and locks it; closing it, or the end of the program, gives up the lock.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// claim makes a sandbox's folder and notes whose it is.
func (r *runtimeDir) claim(id, base string) (string, error) {
	dir := filepath.Join(r.dir, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	data, err := json.Marshal(owner{Base: base})
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "owner"), data, 0o600)
}

func (r *runtimeDir) release(id string) error { return os.RemoveAll(filepath.Join(r.dir, id)) }

// close gives up the folder.
func (r *runtimeDir) close() error { return errors.Join(os.RemoveAll(r.dir), r.lock.Close()) }

// sweep removes what engines left that were killed: processes, workspaces, runtime folders. An engine whose lock
// is held lives.
func sweep(root string, logger *slog.Logger) {
	engines, err := filepath.Glob(filepath.Join(root, "e*"))
	if err != nil {
		return
	}
	for _, dir := range engines {
		lock, err := lockFile(filepath.Join(dir, "lock"), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			continue
		}
		owners, _ := filepath.Glob(filepath.Join(dir, "*", "owner"))
		for _, path := range owners {
			if err := sweepSandbox(path); err != nil {
				logger.Warn("sweep after a dead engine", "owner", path, "error", err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			logger.Warn("sweep after a dead engine", "folder", dir, "error", err)
		}
		_ = lock.Close()
	}
}

// sweepSandbox removes one sandbox of a dead engine. The note about it was in reach of the sandbox's code, so only a
// folder named like a workspace, of this user, below a base folder is removed.
func sweepSandbox(path string) error {
	id := filepath.Base(filepath.Dir(path))
	if !validID.MatchString(id) {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var o owner
	if err := json.Unmarshal(data, &o); err != nil {
		return err
	}
	if err := agent.KillMarked(id); err != nil {
		return err
	}
	b, err := openBase(o.Base)
	if err != nil {
		return err
	}
	defer func() { _ = b.close() }()
	for _, name := range []string{workspaceName(id), privateName(id)} {
		info, err := b.root.Lstat(name)
		if err != nil || !info.IsDir() || ownerOf(info) != os.Geteuid() {
			continue
		}
		if err := b.remove(name); err != nil {
			return err
		}
	}
	return nil
}
