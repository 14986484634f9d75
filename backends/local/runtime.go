package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// runtimeDir is an engine's private folder for sockets, with a short path. It holds a lock for as long as the engine
// lives, so that the next engine knows whose folders nobody uses any more:
//
//	ROOT/e123/lock      held by its engine
//	ROOT/e123/ID/owner  the base folder and the mark of sandbox ID
type runtimeDir struct {
	dir  string
	root *os.Root
	lock *os.File
}

const (
	lockName  = "lock"
	ownerName = "owner"
)

func openRuntime(root string) (*runtimeDir, error) {
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
	r, err := newRuntime(root)
	if err != nil {
		return nil, fmt.Errorf("local: runtime folder %s: %w", root, err)
	}
	return r, nil
}

func newRuntime(root string) (*runtimeDir, error) {
	dir, err := os.MkdirTemp(root, "e")
	if err != nil {
		return nil, err
	}
	r := &runtimeDir{dir: dir}
	if r.root, err = os.OpenRoot(dir); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	if r.lock, err = hold(r.root, lockName, note{}); err != nil {
		return nil, errors.Join(err, r.root.Close(), os.RemoveAll(dir))
	}
	return r, nil
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

// claim makes a sandbox's folder and notes whose it is.
func (r *runtimeDir) claim(id string, n note) (string, error) {
	if err := r.root.Mkdir(id, 0o700); err != nil {
		return "", err
	}
	f, err := hold(r.root, filepath.Join(id, ownerName), n)
	if err != nil {
		return "", err
	}
	return filepath.Join(r.dir, id), f.Close() // the engine's lock stands for all of its sandboxes here
}

func (r *runtimeDir) release(ctx context.Context, id string) error {
	return agent.RemoveAll(ctx, r.root, id)
}

// close gives up the folder.
func (r *runtimeDir) close() error {
	return errors.Join(removeEngine(r.dir), r.root.Close(), r.lock.Close())
}

// removeEngine removes an engine's runtime folder. The code of sandboxes can reach it.
func removeEngine(dir string) error {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), removePatience)
	defer cancel()
	return agent.RemoveAll(ctx, parent, filepath.Base(dir))
}

// freshFor is how long a folder without a lock may be one that is just being made.
const freshFor = time.Minute

// stale reports whether a folder has been without a change for longer than it takes to make one.
func stale(info fs.FileInfo) bool { return time.Since(info.ModTime()) > freshFor }

// sweepRuntime removes the runtime folders of engines that were killed. It returns what their sandboxes' notes say.
func sweepRuntime(root string, logger *slog.Logger) []note {
	engines, err := filepath.Glob(filepath.Join(root, "e*"))
	if err != nil {
		return nil
	}
	var notes []note
	for _, dir := range engines {
		info, err := os.Lstat(dir)
		if err != nil || !ours(info) {
			continue
		}
		found, err := sweepEngine(dir, info)
		if err != nil {
			logger.Warn("sweep after a dead engine", "folder", dir, "error", err)
		}
		notes = append(notes, found...)
	}
	return notes
}

func sweepEngine(dir string, info fs.FileInfo) ([]note, error) {
	engine, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = engine.Close() }()
	lock, _, err := seize(engine, lockName)
	switch {
	case errors.Is(err, fs.ErrNotExist) && stale(info):
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil || lock == nil:
		return nil, err
	default:
		defer func() { _ = lock.Close() }()
	}
	owners, err := fs.Glob(engine.FS(), "*/"+ownerName)
	if err != nil {
		return nil, err
	}
	var notes []note
	for _, path := range owners {
		owner, n, err := seize(engine, path)
		if err == nil && owner != nil {
			notes = append(notes, n)
			_ = owner.Close()
		}
	}
	return notes, removeEngine(dir)
}
