package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
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
	return private, runtime, errors.Join(makeFolder(private), makeFolder(runtime))
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
