package agent

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed dskernel/*.py
var dskernel embed.FS

// writePython stores the embedded Python below dir and returns its folder.
func writePython(dir string) (string, error) {
	target := filepath.Join(dir, "dskernel")
	if err := os.MkdirAll(target, 0o700); err != nil {
		return "", fmt.Errorf("store embedded Python: %w", err)
	}
	files, err := fs.Glob(dskernel, "dskernel/*.py")
	if err != nil {
		return "", err
	}
	for _, name := range files {
		data, err := dskernel.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return "", fmt.Errorf("store embedded Python: %w", err)
		}
	}
	return target, nil
}
