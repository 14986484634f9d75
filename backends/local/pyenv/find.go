package pyenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/images"
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

// Attempt is one candidate and what came of it.
type Attempt struct {
	Source string // why it was a candidate
	Path   string
	Python *agent.Python // nil when Err is set
	Err    error         // what is wrong with it
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
	switch {
	case e.Asked && errors.Is(e.Tried[0].Err, errNoFile):
		b.WriteString("\nchoose another Python with --python or DS_SANDBOX_PYTHON")
	case e.Asked:
		b.WriteString("\ninstall ipykernel there (python -m pip install ipykernel), or choose another Python with --python or DS_SANDBOX_PYTHON")
	default:
		b.WriteString("\nrun `ds-sandbox setup` to make one, or name yours with --python or DS_SANDBOX_PYTHON")
	}
	return b.String()
}

// Is makes errors.Is(err, ErrNotFound) true.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// What a Python lacks.
var (
	errNoFile   = errors.New("no such file")
	errNoKernel = errors.New("has no ipykernel")
	errBroken   = errors.New("its setup was broken off: `ds-sandbox setup` mends it")
)

// oldestUsable is the oldest Python 3 that our part of the code runs on.
const oldestUsable = 9

// candidate is a Python that may do.
type candidate struct {
	source, path string
	marker       string // file that says that the environment is complete; empty when none is needed
}

// check asks a candidate about itself; an error says why it does not do.
func (c *candidate) check(ctx context.Context) (*agent.Python, error) {
	if c.marker != "" {
		if _, err := os.Stat(c.marker); err != nil {
			return nil, errBroken
		}
	}
	if _, err := os.Stat(c.path); errors.Is(err, fs.ErrNotExist) {
		return nil, errNoFile
	}
	p, err := probe(ctx, c.path)
	switch {
	case err != nil:
		return nil, err
	case !atLeast(p.Version, oldestUsable):
		return nil, fmt.Errorf("is Python %s: 3.%d or later is needed", p.Version, oldestUsable)
	case !p.HasKernel():
		return nil, errNoKernel
	}
	return p, nil
}

// atLeast reports whether a version is 3.minor or later.
func atLeast(version string, minor int) bool {
	major, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	x, err := strconv.Atoi(major)
	y, err2 := strconv.Atoi(second)
	return err == nil && err2 == nil && (x > 3 || x == 3 && y >= minor)
}

// Missing lists what of the pinned list an interpreter does not have, whatever its version.
func Missing(p *agent.Python) []string {
	var missing []string
	for _, name := range packageNames(images.Requirements) {
		if p.Packages[name] == "" {
			missing = append(missing, name)
		}
	}
	return missing
}

// asked is the Python that alone counts, and who asks for it; empty when none is.
func (o Options) asked() (python, source string) {
	variable := strings.TrimSpace(os.Getenv("DS_SANDBOX_PYTHON"))
	if o.Python != "" && o.Python != variable {
		return o.Python, "asked for"
	}
	return variable, "asked for by DS_SANDBOX_PYTHON"
}

// Find returns the first of these that imports ipykernel: the one asked for by option or DS_SANDBOX_PYTHON (then no other
// counts); the active virtual environment's; the managed environment's; each python3 on PATH; the system's. Error: *NotFoundError.
func Find(ctx context.Context, opts Options) (*agent.Python, error) {
	asked, source := opts.asked()
	failed := &NotFoundError{Asked: asked != ""}
	for _, c := range candidates(asked, source, DataDir(opts.DataDir)) {
		attempt := c.try(ctx)
		if attempt.Err == nil {
			return attempt.Python, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("find Python: %w", context.Cause(ctx))
		}
		failed.Tried = append(failed.Tried, attempt)
	}
	return nil, failed
}

// Survey tries every candidate of Find, in its order; the first without an error is the one that Find returns.
func Survey(ctx context.Context, opts Options) []Attempt {
	asked, source := opts.asked()
	var all []Attempt
	for _, c := range candidates(asked, source, DataDir(opts.DataDir)) {
		all = append(all, c.try(ctx))
	}
	return all
}

func (c *candidate) try(ctx context.Context) Attempt {
	p, err := c.check(ctx)
	if err != nil {
		return Attempt{Source: c.source, Path: c.path, Err: err}
	}
	p.FontCache = fontCache(p)
	return Attempt{Source: c.source, Path: c.path, Python: p}
}

// systemPythons are tried last. A variable, so that tests can do without the machine's own.
var systemPythons = []string{"/usr/local/bin/python3", "/opt/homebrew/bin/python3", "/usr/bin/python3"}

// maxOnPath bounds how many python3 of PATH are tried.
const maxOnPath = 8

// candidates lists the Pythons to try, those that exist.
func candidates(asked, source, data string) []candidate {
	if asked != "" {
		return []candidate{{source: source, path: named(asked)}}
	}
	var list []candidate
	seen := make(map[string]bool)
	add := func(c candidate) {
		info, err := os.Stat(c.path)
		if err != nil || info.IsDir() || info.Mode().Perm()&0o111 == 0 {
			return
		}
		// One folder under two names counts once; a link to an interpreter is an interpreter of its own, as of an environment.
		key := c.path
		if dir, err := filepath.EvalSymlinks(filepath.Dir(c.path)); err == nil {
			key = filepath.Join(dir, filepath.Base(c.path))
		}
		if !seen[key] {
			seen[key] = true
			list = append(list, c)
		}
	}
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		add(candidate{source: "the active virtual environment", path: filepath.Join(env, "bin", "python")})
	}
	add(candidate{source: "the managed environment", path: managedPython(data), marker: markerFile(data)})
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) && len(list) < maxOnPath {
			add(candidate{source: "python3 on PATH", path: filepath.Join(dir, "python3")})
		}
	}
	for _, path := range systemPythons {
		add(candidate{source: "the system's", path: path})
	}
	return list
}

// named is the interpreter that a person means: a path, a name on PATH, or the folder of an environment.
func named(asked string) string {
	if info, err := os.Stat(asked); err == nil && info.IsDir() {
		return filepath.Join(asked, "bin", "python")
	}
	if found, err := exec.LookPath(asked); err == nil {
		return found
	}
	return asked
}

// DataDir is the folder of ours among the user's data, or the one given: the managed environment lives there, and what the daemon keeps.
func DataDir(given string) string {
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

// markerFile says which lists are installed completely. It is removed first and written last.
func markerFile(data string) string { return filepath.Join(managedDir(data), "ds-sandbox-complete") }
