package pyenv

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/images"
)

// oldest is the oldest Python 3 the pinned packages support.
const oldest = 11

// debianPackages are what Debian has of the list.
var debianPackages = []string{
	"python3-ipykernel", "python3-numpy", "python3-pandas", "python3-matplotlib", "python3-sklearn", "python3-pil",
}

// Setup returns the Python that Find finds. When it finds none, or opts.Managed asks for it, it makes the managed environment
// from the pinned list, through PyPI; where that is out of reach and we are root on Debian, it installs
// Debian's packages instead. Two that run at once wait for one another; one that was broken off is mended by the next.
func Setup(ctx context.Context, opts Options) (*agent.Python, error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	p, err := setup(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := WarmFonts(ctx, p); err != nil {
		opts.Progress("note: " + err.Error()) // figures still work, the first one is slow
	}
	return p, nil
}

func setup(ctx context.Context, opts Options) (*agent.Python, error) {
	asked := opts.Python != "" || os.Getenv("DS_SANDBOX_PYTHON") != ""
	if !opts.Managed || asked {
		p, err := Find(ctx, opts)
		if err == nil || asked {
			return p, err
		}
	}
	m := &maker{opts: opts, data: dataDir(opts.DataDir)}
	pipErr := m.make(ctx)
	if pipErr == nil {
		return Find(ctx, Options{Python: managedPython(m.data)})
	}
	opts.Progress("the managed environment could not be made: " + pipErr.Error())
	if os.Geteuid() != 0 || !isDebian() {
		return nil, fmt.Errorf("set up Python: %w; install ipykernel, numpy, pandas, matplotlib and scikit-learn "+
			"for a Python of yours and name it with --python", pipErr)
	}
	opts.Progress("installing Debian's packages instead")
	if err := m.debian(ctx); err != nil {
		return nil, fmt.Errorf("set up Python: %w", errors.Join(pipErr, err))
	}
	return Find(ctx, Options{Python: "/usr/bin/python3"})
}

// maker makes the managed environment.
type maker struct {
	opts Options
	data string
}

// wanted is the list to install.
func (m *maker) wanted() string {
	if m.opts.Tests {
		return images.Requirements + images.TestRequirements
	}
	return images.Requirements
}

// marker says which lists are installed completely; the larger list includes the smaller.
func (m *maker) marker() string { return filepath.Join(managedDir(m.data), "ds-sandbox-complete") }

func digest(list string) string {
	sum := sha256.Sum256([]byte(list))
	return hex.EncodeToString(sum[:])
}

func (m *maker) complete() bool {
	data, err := os.ReadFile(m.marker())
	have := strings.TrimSpace(string(data))
	return err == nil && (have == digest(m.wanted()) || have == digest(images.Requirements+images.TestRequirements))
}

func (m *maker) make(ctx context.Context) error {
	if err := os.MkdirAll(m.data, 0o755); err != nil {
		return fmt.Errorf("folder for the managed environment: %w; choose another with DS_SANDBOX_DATA_DIR", err)
	}
	unlock, err := lock(ctx, filepath.Join(m.data, "setup.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if m.complete() {
		return nil
	}
	dir := managedDir(m.data)
	if _, err := agent.Probe(ctx, managedPython(m.data)); err != nil {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := m.venv(ctx, dir); err != nil {
			return errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err := os.Remove(m.marker()); err != nil && !os.IsNotExist(err) {
		return err
	}
	list := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(list, []byte(m.wanted()), 0o644); err != nil {
		return err
	}
	m.opts.Progress("installing " + strings.Join(packageNames(m.wanted()), ", "))
	err = m.run(ctx, nil, managedPython(m.data), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
		"--retries", "2", "--timeout", "20", "-r", list)
	if err != nil {
		return fmt.Errorf("install packages: %w", err)
	}
	return os.WriteFile(m.marker(), []byte(digest(m.wanted())+"\n"), 0o644)
}

// venv makes an empty environment with the newest Python there is.
func (m *maker) venv(ctx context.Context, dir string) error {
	python, err := m.basePython(ctx)
	if err != nil {
		return err
	}
	m.opts.Progress("making an environment in " + dir + " with " + python)
	err = m.run(ctx, nil, python, "-m", "venv", dir)
	if err == nil {
		return nil
	}
	if os.Geteuid() != 0 || !isDebian() {
		return fmt.Errorf("make environment: %w; Python needs its modules venv and ensurepip (on Debian: package python3-venv)", err)
	}
	m.opts.Progress("installing Debian's python3-venv")
	if err := m.apt(ctx, "python3-venv"); err != nil {
		return err
	}
	if err := m.run(ctx, nil, python, "-m", "venv", "--clear", dir); err != nil {
		return fmt.Errorf("make environment: %w", err)
	}
	return nil
}

// basePython is a Python that is new enough; the first on PATH, then those with a version in their name.
func (m *maker) basePython(ctx context.Context) (string, error) {
	var tried []string
	try := func() string {
		for _, name := range []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "/usr/bin/python3"} {
			path, err := exec.LookPath(name)
			if err != nil {
				continue
			}
			p, err := probe(ctx, path)
			if err != nil {
				tried = append(tried, path+" ("+err.Error()+")")
				continue
			}
			if minor, _ := strconv.Atoi(strings.SplitN(p.Version, ".", 3)[1]); minor >= oldest {
				return p.Executable
			}
			tried = append(tried, path+" ("+p.Version+")")
		}
		return ""
	}
	if path := try(); path != "" {
		return path, nil
	}
	if os.Geteuid() == 0 && isDebian() {
		m.opts.Progress("installing Debian's python3")
		if err := m.apt(ctx, "python3", "python3-venv"); err != nil {
			return "", err
		}
		if path := try(); path != "" {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Python 3.%d or later found (tried %s): install one", oldest, strings.Join(tried, ", "))
}

func (m *maker) debian(ctx context.Context) error { return m.apt(ctx, debianPackages...) }

// apt installs Debian packages.
func (m *maker) apt(ctx context.Context, packages ...string) error {
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	if err := m.run(ctx, env, "apt-get", "update", "-qq"); err != nil {
		return fmt.Errorf("apt-get update: %w", err)
	}
	args := append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)
	if err := m.run(ctx, env, "apt-get", args...); err != nil {
		return fmt.Errorf("apt-get install: %w", err)
	}
	return nil
}

// run runs a program and tells its lines as progress; an error carries the last of them.
func (m *maker) run(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	last := ""
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 4096), 1<<20)
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" {
				last = line
				m.opts.Progress(line)
			}
		}
		_, _ = io.Copy(io.Discard, r) // after a line that was too long
	}()
	err := cmd.Run()
	_ = w.Close()
	<-read
	if err != nil && last != "" {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, last)
	}
	return err
}

// packageNames lists the names of a pinned list.
func packageNames(list string) []string {
	var names []string
	for line := range strings.SplitSeq(list, "\n") {
		if name, _, ok := strings.Cut(line, "=="); ok {
			names = append(names, name)
		}
	}
	return names
}

func isDebian() bool {
	_, err := os.Stat("/etc/debian_version")
	return err == nil
}

// lock waits for a lock file; the result gives it up.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-time.After(100 * time.Millisecond): // flock knows no way to wait and be cancelled
		case <-ctx.Done():
			_ = f.Close()
			return nil, context.Cause(ctx)
		}
	}
}
