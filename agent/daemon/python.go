package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// imagePython is where our own images have it.
const imagePython = "/opt/ds-sandbox/python/bin/python"

// imageFonts is where they have its matplotlib's list of fonts.
const imageFonts = "/opt/ds-sandbox/matplotlib"

// findPython is the first candidate that runs kernels. Without one the error says what was tried.
func findPython(ctx context.Context, opts Options) (*agent.Python, error) {
	candidates := opts.Pythons
	if len(candidates) == 0 {
		candidates = []string{os.Getenv("DS_SANDBOX_PYTHON"), imagePython}
		for _, name := range []string{"python3", "python"} {
			if path, err := exec.LookPath(name); err == nil {
				candidates = append(candidates, path)
			}
		}
	}
	var tried []string
	for _, path := range candidates {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			tried = append(tried, path+": there is none")
			continue
		}
		python, err := agent.Probe(ctx, path, opts.Launcher...)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			tried = append(tried, err.Error())
		case !python.HasKernel():
			tried = append(tried, fmt.Sprintf("%s: Python %s without ipykernel", path, python.Version))
		default:
			if path == imagePython {
				python.FontCache = imageFonts
			}
			return python, nil
		}
	}
	if len(tried) == 0 {
		tried = append(tried, "no python3 on PATH")
	}
	return nil, fmt.Errorf("no Python with ipykernel in the container: install it with `python3 -m pip install ipykernel`, "+
		"or name one with DS_SANDBOX_PYTHON; tried %s", strings.Join(tried, "; "))
}
