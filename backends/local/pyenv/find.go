package pyenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// Options of Find and Setup. Zero fields are the defaults.
type Options struct {
	Python  string // this interpreter or none; looked up on PATH when it has no slash
	DataDir string // holds the managed environment; DS_SANDBOX_DATA_DIR, else ds-sandbox in the user's data folder

	// The rest is for Setup.
	Managed  bool              // make or repair the managed environment even if another Python would do
	Tests    bool              // with what tests and benchmarks need besides
	Progress func(line string) // hears what is done; nil is silence
}

// ErrNotFound says that no Python with ipykernel was found; the *NotFoundError tells what was tried.
var ErrNotFound = errors.New("no Python with ipykernel")

// NotFoundError lists what was tried in vain, and says what to do. It is ErrNotFound.
type NotFoundError struct {
	Asked bool // only the interpreter that was asked for was tried
	Tried []Attempt
}

// Attempt is one candidate and what is wrong with it.
type Attempt struct {
	Source string // why it was a candidate
	Path   string
	Err    error
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	if e.Asked {
		b.WriteString("the chosen Python can't be used")
	} else {
		b.WriteString("no Python with ipykernel found")
	}
	for _, a := range e.Tried {
		fmt.Fprintf(&b, "\n  %s, %s: %v", a.Path, a.Source, a.Err)
	}
	if e.Asked {
		fmt.Fprintf(&b, "\ninstall ipykernel there, or choose another Python with --python or DS_SANDBOX_PYTHON")
	} else {
		b.WriteString("\nrun `ds-sandbox setup` to make one, or name yours with --python or DS_SANDBOX_PYTHON")
	}
	return b.String()
}

// Is makes errors.Is(err, ErrNotFound) true.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// errNoKernel says what a Python lacks.
var errNoKernel = errors.New("has no ipykernel")

// candidate is a Python that may do.
type candidate struct {
	source, path string
}

// Find returns the first of these that imports ipykernel: the one asked for by option or DS_SANDBOX_PYTHON (then no other
// counts); the active virtual environment's; the managed environment's; python3 on PATH; the system's. Error: *NotFoundError.
func Find(ctx context.Context, opts Options) (*agent.Python, error) {
	asked := opts.Python
	if asked == "" {
		asked = os.Getenv("DS_SANDBOX_PYTHON")
	}
	failed := &NotFoundError{Asked: asked != ""}
	for _, c := range candidates(asked, dataDir(opts.DataDir)) {
		p, err := probe(ctx, c.path)
		if err == nil && !p.HasKernel() {
			err = errNoKernel
		}
		if err == nil {
			p.FontCache = fontCache(p)
			return p, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("find Python: %w", context.Cause(ctx))
		}
		failed.Tried = append(failed.Tried, Attempt{Source: c.source, Path: c.path, Err: err})
	}
	return nil, failed
}

// candidates lists the Pythons to try, those that exist.
func candidates(asked, data string) []candidate {
	if asked != "" {
		path := asked
		if found, err := exec.LookPath(asked); err == nil {
			path = found
		}
		return []candidate{{"asked for", path}}
	}
	var list []candidate
	seen := make(map[string]bool)
	add := func(source, path string) {
		if _, err := os.Stat(path); err != nil || seen[path] {
			return
		}
		seen[path] = true
		list = append(list, candidate{source, path})
	}
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		add("the active virtual environment", filepath.Join(env, "bin", "python"))
	}
	add("the managed environment", managedPython(data))
	if path, err := exec.LookPath("python3"); err == nil {
		add("python3 on PATH", path)
	}
	for _, path := range []string{"/usr/local/bin/python3", "/usr/bin/python3"} {
		add("the system's", path)
	}
	return list
}

// dataDir is where the managed environment lives.
func dataDir(given string) string {
	if given != "" {
		return given
	}
	if dir := os.Getenv("DS_SANDBOX_DATA_DIR"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ds-sandbox")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), fmt.Sprintf("ds-sandbox-data-%d", os.Geteuid()))
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "ds-sandbox")
	}
	return filepath.Join(home, ".local", "share", "ds-sandbox")
}

func managedDir(data string) string    { return filepath.Join(data, "python") }
func managedPython(data string) string { return filepath.Join(managedDir(data), "bin", "python") }
