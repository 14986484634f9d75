package pyenv

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopPatience is how long a program that was told to end may take: apt-get leaves things whole when it may.
const stopPatience = 10 * time.Second

// run runs a program and tells its lines as progress; an error carries the last of them. When ctx ends, the program
// and what it started are told to end, and then made to.
func (m *maker) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = cleanEnv(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopPatience
	out := &lineWriter{line: m.opts.Progress}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if ctx.Err() != nil {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // stragglers of its group; none is no error
		}
		return context.Cause(ctx)
	}
	last := out.finish()
	if err != nil && last != "" {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, last)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}

// cleanEnv is the environment without what would send packages elsewhere, or take modules from elsewhere. Settings of
// indexes, proxies and certificates stay.
func cleanEnv(env []string) []string {
	var out []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIREMENT", "PIP_CONSTRAINT",
			"__PYVENV_LAUNCHER__", "DEBIAN_FRONTEND":
			continue
		}
		out = append(out, v)
	}
	return append(out, "PIP_USER=0", "DEBIAN_FRONTEND=noninteractive")
}

// maxLine bounds a line of progress, bytes.
const maxLine = 4096

// lineWriter hands on lines. Two streams of a program may write to it: exec gives both one pipe.
type lineWriter struct {
	line func(string)

	mu      sync.Mutex
	pending []byte
	last    string
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range p {
		if b == '\n' || b == '\r' {
			w.flush()
		} else if len(w.pending) < maxLine {
			w.pending = append(w.pending, b)
		}
	}
	return len(p), nil
}

func (w *lineWriter) flush() {
	if text := string(bytes.TrimSpace(w.pending)); text != "" {
		w.last = text
		w.line(text)
	}
	w.pending = w.pending[:0]
}

// finish hands on a last line without an end, and returns the last one.
func (w *lineWriter) finish() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	return w.last
}

// lock waits for a lock file; the result gives it up. waiting is called once if it is taken.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { _ = f.Close() }, nil
		}
		if first {
			waiting()
		}
		select {
		case <-time.After(100 * time.Millisecond): // flock knows no way to wait and be cancelled
		case <-ctx.Done():
			_ = f.Close()
			return nil, context.Cause(ctx)
		}
	}
}
