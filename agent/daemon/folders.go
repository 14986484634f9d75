package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// canBranch says whether kernels can be copied here.
const canBranch = runtime.GOOS == "linux"

// folders makes the private folders and returns them.
func (o *Options) folders() (private, runtime string, err error) {
	private, runtime = filepath.Join(o.Private, "sandbox"), filepath.Join(o.Runtime, "sandbox")
	for _, dir := range []string{o.Private, o.Runtime} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", "", err
		}
	}
	// What is there is of the instance that ours is a snapshot of. What it had installed stays; its sockets are nobody's.
	if err := removeAll(o.Runtime, "sandbox"); err != nil {
		return "", "", err
	}
	return private, runtime, errors.Join(makeFolder(private), makeFolder(runtime))
}

// removeAll removes a folder that the code may have filled with anything.
func removeAll(above, name string) error {
	root, err := os.OpenRoot(above)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return agent.RemoveAll(ctx, root, name)
}

// makeFolder makes a folder that is the user's alone.
func makeFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// measured are the folders besides the workspace that count as disk.
func (o *Options) measured() []string {
	var found []string
	for _, dir := range o.Measured {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			found = append(found, dir)
		}
	}
	return found
}
