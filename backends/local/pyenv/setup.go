package pyenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/images"
)

// Setup returns the Python that Find finds. When it finds none, or opts.Managed asks for it, it makes the managed environment
// from the pinned list, through PyPI; where that is out of reach and we are root on Debian, it installs
// Debian's packages instead. Two that run at once wait for one another; one that was broken off is mended by the next.
// With opts.Managed, opts.Python is the interpreter that the environment is made from.
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
	if !opts.Managed {
		p, err := Find(ctx, opts)
		var missing *NotFoundError
		if err == nil || !errors.As(err, &missing) || missing.Asked {
			return p, err
		}
		opts.Progress("no Python with ipykernel found, making an environment that has it")
	}
	m := &maker{opts: opts, data: DataDir(opts.DataDir)}
	pipErr := m.make(ctx)
	if pipErr == nil {
		return Find(ctx, Options{Python: managedPython(m.data)})
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("set up Python: %w", context.Cause(ctx))
	}
	opts.Progress("the managed environment could not be made: " + pipErr.Error())
	if !canInstall() {
		return nil, fmt.Errorf("set up Python: %w; or install %s for a Python of yours and name it with --python",
			pipErr, strings.Join(packageNames(images.Requirements), ", "))
	}
	opts.Progress("installing Debian's packages instead")
	if err := m.apt(ctx, debianPackages...); err != nil {
		return nil, fmt.Errorf("set up Python: %w", errors.Join(pipErr, err))
	}
	return Find(ctx, Options{Python: debianPython})
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

func digest(list string) string {
	sum := sha256.Sum256([]byte(list))
	return hex.EncodeToString(sum[:])
}

// complete reports whether the environment has what is wanted, and starts. The larger list includes the smaller.
func (m *maker) complete(ctx context.Context) bool {
	data, err := os.ReadFile(markerFile(m.data))
	have := strings.TrimSpace(string(data))
	if err != nil || have != digest(m.wanted()) && have != digest(images.Requirements+images.TestRequirements) {
		return false
	}
	p, err := probe(ctx, managedPython(m.data))
	return err == nil && p.HasKernel()
}

func (m *maker) make(ctx context.Context) error {
	if err := os.MkdirAll(m.data, 0o755); err != nil {
		return fmt.Errorf("folder for the managed environment: %w; choose another with DS_SANDBOX_DATA_DIR", err)
	}
	unlock, err := lock(ctx, filepath.Join(m.data, "setup.lock"), func() {
		m.opts.Progress("waiting for another setup to end")
	})
	if err != nil {
		return err
	}
	defer unlock()
	if m.complete(ctx) {
		return nil
	}
	if err := os.Remove(markerFile(m.data)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := m.venv(ctx); err != nil {
		return err
	}
	if err := m.install(ctx); err != nil {
		return err
	}
	return os.WriteFile(markerFile(m.data), []byte(digest(m.wanted())+"\n"), 0o644)
}

// packageNames lists the names of a pinned list.
func packageNames(list string) []string {
	var names []string
	for line := range strings.SplitSeq(list, "\n") {
		if name, _, ok := strings.Cut(line, "=="); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}
