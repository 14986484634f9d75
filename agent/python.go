package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Python describes an interpreter.
type Python struct {
	Executable     string            `json:"executable"`
	Version        string            `json:"version"` // "3.11.7"
	Prefix         string            `json:"prefix"`
	BasePrefix     string            `json:"base_prefix"`     // differs from Prefix in a virtual environment
	BaseExecutable string            `json:"base_executable"` // the interpreter that a virtual environment is made from
	SiteDirs       []string          `json:"site_dirs"`       // where its packages are, in the order of their use
	Path           []string          `json:"path"`            // folders it imports from, SiteDirs among them
	UserBase       string            `json:"user_base"`
	Packages       map[string]string `json:"packages"` // versions of those that matter to us, as far as installed
	FontCache      string            `json:"-"`        // folder with matplotlib's font list, to be copied; may be empty
}

// HasKernel reports whether the interpreter can run ipykernel.
func (p *Python) HasKernel() bool { return p.Packages["ipykernel"] != "" }

// probeCode prints a Python as JSON. It runs isolated, so that neither the folder it is started in nor
// PYTHON* variables count.
const probeCode = `
import json, os, site, sys
try:
    from importlib.metadata import version
except ImportError:
    version = None
packages = {}
for name in ("ipykernel", "ipython", "jupyter_client", "numpy", "pandas", "matplotlib", "scikit-learn", "pillow", "pip"):
    try:
        packages[name] = version(name)
    except Exception:
        pass
dirs = [p for p in sys.path if os.path.isdir(p) and os.path.basename(p) in ("site-packages", "dist-packages")]
print(json.dumps({
    "executable": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3], "prefix": sys.prefix,
    "base_prefix": sys.base_prefix, "base_executable": getattr(sys, "_base_executable", sys.executable),
    "site_dirs": dirs, "path": [p for p in sys.path if os.path.isdir(p)], "user_base": site.getuserbase(), "packages": packages,
}))
`

// probeTime bounds a probe: what is called python3 may be anything.
const probeTime = 20 * time.Second

// Probe asks an interpreter about itself. A launcher is what Config has by that name.
func Probe(ctx context.Context, executable string, launcher ...string) (*Python, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, fmt.Errorf("no answer within %v", probeTime))
	defer cancel()
	argv := slices.Concat(launcher, []string{executable, "-I", "-c", probeCode})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	var stdout, stderr head
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("agent: probe %s: %w%s", executable, err, lastLine(string(stderr)))
	}
	p := new(Python)
	if err := json.Unmarshal(stdout, p); err != nil {
		return nil, fmt.Errorf("agent: probe %s: it answers no Python's answer: %w", executable, err)
	}
	if !filepath.IsAbs(p.Executable) || p.Version == "" {
		return nil, fmt.Errorf("agent: probe %s: %w", executable, errors.New("it does not know its own executable"))
	}
	return p, nil
}

// maxAnswer bounds what is kept of a probe's output, bytes.
const maxAnswer = 1 << 20

// head keeps the beginning of what is written to it.
type head []byte

func (h *head) Write(p []byte) (int, error) {
	*h = append(*h, p[:min(len(p), maxAnswer-len(*h))]...)
	return len(p), nil
}

// lastLine is the last line of an error output, for a message.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return ": " + last
	}
	return ""
}
