package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

var pythonName = regexp.MustCompile(`^python(3(\.\d+)?)?$`)

// command is the argv of a kernel, and the Python environment that its PATH begins with. ipykernel runs in the
// sandbox's own environment, one over the Python that its spec names, and by our launcher. Other kernels run as they are.
func (in *Instance) command(ctx context.Context, spec *messaging.KernelSpec, connectionFile string) ([]string, *overlay, error) {
	a := in.agent
	in.bounds.readable(namedFolders(spec)...)
	argv := spec.ExpandArgv(map[string]string{
		"connection_file": connectionFile, "resource_dir": spec.ResourceDir, "prefix": a.config.Python.Prefix,
	})
	env, chosen := in.env, pythonName.MatchString(argv[0]) || samePython(argv[0], a.config.Python)
	// Options of the interpreter may stand before -m, such as the one for the debugger that ipykernel writes.
	at := slices.Index(argv, "-m")
	ipykernel := at >= 1 && at+1 < len(argv) && (argv[at+1] == "ipykernel_launcher" || argv[at+1] == "ipykernel")
	if !chosen && ipykernel && filepath.IsAbs(argv[0]) && pythonName.MatchString(filepath.Base(argv[0])) {
		// Without an environment of its own, %pip would change the one of the other Python.
		if python := a.others.probe(ctx, argv[0], a.config.Launcher...); python != nil {
			var err error
			if env, err = in.overlayOf(python); err != nil {
				return nil, nil, err
			}
			chosen = true
			in.bounds.readable(python.folders()...)
		}
	}
	if chosen {
		argv[0] = env.python
	}
	if ipykernel {
		argv = append([]string{argv[0], filepath.Join(a.scripts, "launch.py")}, argv[at+2:]...)
	}
	return argv, env, nil
}

// overlayOf is the sandbox's environment over a Python that is not the chosen one.
func (in *Instance) overlayOf(python *Python) (*overlay, error) {
	in.overlays.Lock()
	defer in.overlays.Unlock()
	if o := in.others[python.Executable]; o != nil {
		return o, nil
	}
	o, err := makeOverlay(filepath.Join(in.place.Private, fmt.Sprintf("venv%d", len(in.others)+2)), python)
	if err != nil {
		return nil, err
	}
	if in.others == nil {
		in.others = make(map[string]*overlay)
	}
	in.others[python.Executable] = o
	return o, nil
}

// samePython reports whether path is the chosen interpreter.
func samePython(path string, python *Python) bool {
	return path == python.Executable || path == python.BaseExecutable && python.Prefix == python.BasePrefix ||
		filepath.Dir(path) == filepath.Dir(python.Executable) && pythonName.MatchString(filepath.Base(path))
}

// others remembers Pythons that kernelspecs name besides the chosen one.
type others struct {
	mu    sync.Mutex
	known map[string]probed
}

type probed struct {
	changed time.Time // of the interpreter's file
	python  *Python
}

// probe asks an interpreter about itself, once as long as it is the same file; nil when it can't be asked.
func (o *others) probe(ctx context.Context, path string, launcher ...string) *Python {
	info, err := os.Stat(path)
	if err != nil {
		return nil // the start will say so
	}
	o.mu.Lock()
	known, ok := o.known[path]
	o.mu.Unlock()
	if ok && known.changed.Equal(info.ModTime()) {
		return known.python
	}
	python, err := Probe(ctx, path, launcher...)
	if err != nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		o.known = make(map[string]probed)
	}
	o.known[path] = probed{changed: info.ModTime(), python: python}
	return python
}
