package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/mount"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// closedSources are folders of the engine's machine that no instance may see, nor anything below them.
var closedSources = []string{
	"/proc", "/sys", "/dev", "/run/docker", "/var/run/docker", "/run/containerd", "/var/lib/containerd", "/boot",
}

// closedTargets are folders of an instance that a mount may neither hide nor lie in.
var closedTargets = []string{
	"/proc", "/sys", "/dev", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/usr", "/boot", "/run", "/var/run", "/var/lib/ds-sandbox", ownDir,
}

// mounts checks what a spec wants to see of the engine's machine.
func (e *engine) mounts(list []backends.Mount) ([]mount.Mount, error) {
	var out []mount.Mount
	seen := make(map[string]bool)
	for _, m := range list {
		if err := e.checkSource(m.Source); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.Source, err)
		}
		if err := checkTarget(m.Target); err != nil {
			return nil, fmt.Errorf("mount %s at %s: %w", m.Source, m.Target, err)
		}
		if seen[m.Target] {
			return nil, fmt.Errorf("mount at %s: there are two", m.Target)
		}
		seen[m.Target] = true
		out = append(out, mount.Mount{
			Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: true,
			// Engines before 25 leave what is mounted below writable, so it is left out.
			BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true},
		})
	}
	return out, nil
}

func (e *engine) checkSource(source string) error {
	if !filepath.IsAbs(source) || filepath.Clean(source) != source {
		return errors.New("use an absolute path without . and .. in it")
	}
	closed := closedSources
	if root := e.info.DockerRootDir; root != "" {
		closed = append([]string{filepath.Clean(root)}, closed...)
	}
	for _, dir := range closed {
		if within(source, dir) || within(dir, source) && source != "/" && !commonParent(source) {
			return fmt.Errorf("it is in %s or holds it, which no sandbox may see", dir)
		}
	}
	if commonParent(source) {
		return errors.New("it holds what no sandbox may see: mount a smaller folder")
	}
	if !e.endpoint.local() {
		return nil // the engine says whether it is there
	}
	real, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	if real != source {
		return fmt.Errorf("there is a link on the way, it leads to %s: mount that", real)
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return err
	case info.Mode()&(fs.ModeSocket|fs.ModeDevice|fs.ModeNamedPipe) != 0:
		return errors.New("it is a socket, device or pipe: mount files and folders")
	case info.IsDir():
		return e.checkNoSocket(real)
	}
	return nil
}

// checkNoSocket refuses a folder in which the engine's own socket is: who reaches it is root on the engine's machine.
func (e *engine) checkNoSocket(dir string) error {
	socket, ok := strings.CutPrefix(e.endpoint.Host, "unix://")
	if !ok {
		return nil
	}
	for _, socket := range []string{socket, "/var/run/docker.sock"} {
		if real, err := filepath.EvalSymlinks(socket); err == nil && within(real, dir) {
			return fmt.Errorf("it holds the engine's socket, %s", socket)
		}
	}
	return nil
}

// commonParent reports whether a folder is one of those that hold a whole system.
func commonParent(dir string) bool {
	switch dir {
	case "/", "/var", "/run", "/var/run", "/var/lib":
		return true
	}
	return false
}

func checkTarget(target string) error {
	if !path.IsAbs(target) || path.Clean(target) != target || strings.ContainsRune(target, 0) {
		return errors.New("use an absolute path without . and .. in it")
	}
	for _, dir := range append([]string{workspaceDir}, closedTargets...) {
		if within(dir, target) || dir != workspaceDir && within(target, dir) {
			return fmt.Errorf("that would hide %s: choose a folder such as /data or %s/data", dir, workspaceDir)
		}
	}
	return nil
}

// within reports whether path is folder or below it. Both are clean.
func within(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(folder, "/"))
	return ok && (rest == "" || rest[0] == '/')
}
