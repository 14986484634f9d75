package sandbox

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker"
	"github.com/ds-sandbox/ds-sandbox/backends/local"
	"github.com/ds-sandbox/ds-sandbox/backends/local/pyenv"
)

// autoTime bounds how long "auto" waits for a container engine.
const autoTime = 5 * time.Second

// openBackend resolves the name of a backend. It is the only place that knows concrete ones.
func openBackend(ctx context.Context, config *Config) (backend backends.Backend, choice Choice, err error) {
	switch config.DefaultBackend {
	case "auto":
		backend, choice, err = openAuto(ctx, config)
	case "local":
		backend, choice, err = onThisMachine(ctx, config, "asked for")
	case "docker":
		backend, choice, err = inContainers(ctx, config, "asked for")
	default:
		_, err := readBackend(config.DefaultBackend)
		return nil, Choice{}, &ConfigError{err}
	}
	if err != nil {
		return nil, Choice{}, err
	}
	choice.Isolation, choice.IsolationDetail = backend.Isolation()
	if config.Isolation != "" && config.Isolation != choice.Isolation {
		choice.Isolation, choice.IsolationDetail = config.Isolation, "asked for"
	}
	return backend, choice, nil
}

// openAuto takes docker if an engine answers and has the image, else local. What only one of them can do decides first.
func openAuto(ctx context.Context, config *Config) (backends.Backend, Choice, error) {
	if i := config.Isolation; i == backends.IsolationFiles || i == backends.IsolationNone {
		return onThisMachine(ctx, config, fmt.Sprintf("isolation %q was asked for, which is a local one", i))
	}
	if config.Python != "" {
		return onThisMachine(ctx, config, "a Python of this machine was asked for")
	}
	trying, cancel := context.WithTimeout(ctx, autoTime)
	defer cancel()
	backend, choice, err := inContainers(trying, config, "an engine answers and has the image")
	if err == nil || ctx.Err() != nil {
		return backend, choice, err
	}
	reason := "no containers: " + strings.TrimPrefix(err.Error(), "docker: ")
	config.Logger.Info("backend local", "reason", reason)
	local, choice, err := onThisMachine(ctx, config, reason)
	return local, choice, err
}

func onThisMachine(ctx context.Context, config *Config, reason string) (backends.Backend, Choice, error) {
	python, err := pyenv.Find(ctx, pyenv.Options{Python: config.Python})
	if err != nil {
		return nil, Choice{}, err
	}
	config.Python = python.Executable
	backend, err := local.Open(ctx, local.Config{
		Python: python, BaseDir: config.WorkspaceBaseDir, RuntimeDir: config.RuntimeDir, Logger: config.Logger,
		NoCgroup: config.NoCgroup, Trace: config.Trace,
		NoForkServer: config.NoForkServer, Preload: splitModules(config.Preload),
	})
	if err != nil {
		return nil, Choice{}, err
	}
	return backend, Choice{
		Backend: "local", Reason: reason,
		Detail: fmt.Sprintf("%s (Python %s, ipykernel %s)", python.Executable, python.Version, python.Packages["ipykernel"]),
	}, nil
}

func inContainers(ctx context.Context, config *Config, reason string) (backends.Backend, Choice, error) {
	backend, err := docker.Open(ctx, docker.Config{
		Agent: config.AgentBinary, Defaults: config.container(), Logger: config.Logger, Trace: config.Trace,
		NoForkServer: config.NoForkServer, Preload: splitModules(config.Preload),
	})
	if err != nil {
		return nil, Choice{}, err
	}
	return backend, Choice{Backend: "docker", Reason: reason, Detail: backend.Describe()}, nil
}
