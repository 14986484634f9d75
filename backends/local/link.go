package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Link mode: the workspace in the base folder is a link to a folder of the user's own. Whatever happens, the link is removed and
// nothing that it leads to, so everything of ours is in the private folder: the home of the code too, where programs leave
// their settings and histories.

// userFolders checks the folders that a spec names: the workspace's, "" without one, and the allowed roots.
func (b *Backend) userFolders(spec backends.Spec) (workspace string, roots []string, err error) {
	if spec.WorkspacePath != "" {
		if workspace, err = b.userFolder("WorkspacePath", spec.WorkspacePath); err != nil {
			return "", nil, err
		}
	}
	for _, root := range spec.AllowedRoots {
		if _, err := b.userFolder("AllowedRoots", root); err != nil {
			return "", nil, err
		}
		roots = append(roots, filepath.Clean(root)) // not what it leads to: links may have it as it stands
	}
	return workspace, roots, nil
}

// userFolder is a folder of the user's without links on the way to it. It may have none of our own folders in it, nor be in one:
// code would reach other sandboxes.
func (b *Backend) userFolder(option, dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%s: %q is not absolute: give the whole path", option, dir)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("%s: %w: make the folder first", option, err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", fmt.Errorf("%s: %w", option, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s: %s: %w", option, dir, backends.ErrNotDir)
	}
	for _, own := range []struct{ what, dir, setting string }{
		{"base folder of the workspaces", b.base.dir, "WorkspaceBaseDir"},
		{"runtime folder", filepath.Dir(b.runtime.dir), "RuntimeDir"},
	} {
		at, err := filepath.EvalSymlinks(own.dir)
		if err != nil {
			return "", fmt.Errorf("%s: %w", own.what, err)
		}
		switch {
		case within(real, at):
			return "", fmt.Errorf("%s: %s is in the %s, %s: choose a folder outside", option, dir, own.what, own.dir)
		case within(at, real):
			return "", fmt.Errorf("%s: %s holds the %s, %s: choose a smaller folder, or another %s", option, dir, own.what, own.dir, own.setting)
		}
	}
	return real, nil
}

// within reports whether path is folder or below it. Both are clean.
func within(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(folder, "/"))
	return ok && (rest == "" || rest[0] == '/')
}
