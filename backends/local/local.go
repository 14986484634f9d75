package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Config of a Backend. Zero fields are the defaults.
type Config struct {
	Python     *agent.Python // runs kernels; required, see package pyenv
	BaseDir    string        // of the workspaces; ds_sandbox_workspaces in the temporary folder
	RuntimeDir string        // of sockets; ds-sandbox in XDG_RUNTIME_DIR, else ds-sandbox-UID in /tmp
	Logger     *slog.Logger  // nil discards
	// Trace sees each message sent ("->") and received ("<-") on kernels' sockets. It must not block.
	Trace func(direction string, m *messaging.Message)
}

// Backend is a backends.Backend on this machine. The caller ends it with Close.
type Backend struct {
	config  Config
	base    *base
	runtime *runtimeDir
	agent   *agent.Agent

	mu        sync.Mutex
	instances map[string]*instance
	closed    bool
}

var _ backends.Backend = (*Backend)(nil)

// Open checks the folders, sweeps what dead programs left, and starts the supervisor. Errors name the folder and
// what to do.
func Open(_ context.Context, config Config) (*Backend, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.BaseDir == "" {
		config.BaseDir = filepath.Join(os.TempDir(), "ds_sandbox_workspaces")
	}
	base, err := openBase(config.BaseDir)
	if err != nil {
		return nil, err
	}
	runtime, err := openRuntime(config.RuntimeDir, config.Logger)
	if err != nil {
		return nil, errors.Join(err, base.close())
	}
	a, err := agent.New(agent.Config{Python: config.Python, RuntimeDir: runtime.dir, Logger: config.Logger, Trace: config.Trace})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("local: %w", err), runtime.close(), base.close())
	}
	return &Backend{config: config, base: base, runtime: runtime, agent: a, instances: make(map[string]*instance)}, nil
}

var validID = regexp.MustCompile(`^[a-z0-9]{1,40}$`)

// Create makes an instance's folders.
func (b *Backend) Create(_ context.Context, spec backends.Spec) (backends.Instance, error) {
	if !validID.MatchString(spec.ID) {
		return nil, fmt.Errorf("local: id %q: use 1 to 40 of a-z and 0-9", spec.ID)
	}
	in := &instance{backend: b, id: spec.ID}
	if err := b.claim(in); err != nil {
		return nil, fmt.Errorf("local: create %s: %w", spec.ID, err)
	}
	if err := in.make(spec); err != nil {
		b.forget(in)
		return nil, fmt.Errorf("local: create %s: %w", spec.ID, err)
	}
	return in, nil
}

func (b *Backend) claim(in *instance) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.New("backend is closed")
	}
	if b.instances[in.id] != nil {
		return fmt.Errorf("id is taken: %w", os.ErrExist)
	}
	b.instances[in.id] = in
	return nil
}

func (b *Backend) forget(in *instance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.instances[in.id] == in {
		delete(b.instances, in.id)
	}
}

// KernelSpecs lists the kernels of this machine.
func (b *Backend) KernelSpecs(context.Context) ([]messaging.KernelSpec, error) {
	return b.agent.KernelSpecs(), nil
}

// Close destroys what is left, ends the supervisor and gives up the runtime folder. It is idempotent.
func (b *Backend) Close() error {
	b.mu.Lock()
	already := b.closed
	b.closed = true
	left := make([]*instance, 0, len(b.instances))
	for _, in := range b.instances {
		left = append(left, in)
	}
	b.mu.Unlock()
	if already {
		return nil
	}
	var errs []error
	for _, in := range left {
		errs = append(errs, in.Destroy(context.Background()))
	}
	return errors.Join(append(errs, b.agent.Close(), b.runtime.close(), b.base.close())...)
}
