package sandbox

import (
	"context"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/local"
	"github.com/ds-sandbox/ds-sandbox/backends/local/pyenv"
)

// openBackend resolves the name of a backend. It is the only place that knows concrete ones.
func openBackend(ctx context.Context, config *Config) (backends.Backend, Choice, error) {
	choice := Choice{Backend: "local", Reason: "asked for"}
	switch config.DefaultBackend {
	case "auto":
		choice.Reason = "this version has no other backend"
	case "local":
	case "docker":
		return nil, Choice{}, fmt.Errorf("backend docker: %w: this version has none; use local or auto", backends.ErrUnsupported)
	default:
		_, err := readBackend(config.DefaultBackend)
		return nil, Choice{}, &ConfigError{err}
	}
	python, err := pyenv.Find(ctx, pyenv.Options{Python: config.Python})
	if err != nil {
		return nil, Choice{}, err
	}
	config.Python = python.Executable
	choice.Detail = fmt.Sprintf("%s (Python %s, ipykernel %s)", python.Executable, python.Version, python.Packages["ipykernel"])
	backend, err := local.Open(ctx, local.Config{
		Python: python, BaseDir: config.WorkspaceBaseDir, RuntimeDir: config.RuntimeDir, Logger: config.Logger,
		NoCgroup: config.NoCgroup, Trace: config.Trace,
		NoForkServer: config.NoForkServer, Preload: splitModules(config.Preload),
	})
	if err != nil {
		return nil, Choice{}, err
	}
	choice.Isolation, choice.IsolationDetail = backend.Isolation()
	if config.Isolation != "" && config.Isolation != choice.Isolation {
		choice.Isolation, choice.IsolationDetail = config.Isolation, "asked for"
	}
	return backend, choice, nil
}
