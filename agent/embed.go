package agent

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed dskernel/*.py dskernel/charts/*.py
var dskernel embed.FS

// writePython stores the embedded Python below dir and returns its folder.
func writePython(dir string) (string, error) {
	err := fs.WalkDir(dskernel, "dskernel", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		data, err := dskernel.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
	if err != nil {
		return "", fmt.Errorf("store embedded Python: %w", err)
	}
	return filepath.Join(dir, "dskernel"), nil
}
