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
	"time"

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
	NoCgroup   bool          // limits hold without control groups: by the limits of processes and a watchdog
	// NoForkServer has every kernel started afresh; else the fork server imports the modules of Preload, see agent.Config.
	NoForkServer bool
	Preload      []string
	// Trace sees each message sent ("->") and received ("<-") on kernels' sockets. It must not block.
	Trace func(direction string, m *messaging.Message)
}

// Backend is a backends.Backend on this machine. The caller ends it with Close.
type Backend struct {
	config  Config
	base    *base
	runtime *runtimeDir
	agent   *agent.Agent

	swept     chan struct{} // closed when sweeping is over
	stopSweep context.CancelFunc
	closing   sync.Once
	closeErr  error

	mu        sync.Mutex // guards what follows
	instances map[string]*instance
	closed    bool
}

var _ backends.Backend = (*Backend)(nil)

// sweepWait is how long Open waits for the sweep. Large workspaces take longer; the rest is done meanwhile.
const sweepWait = time.Second

// Open checks the folders, sweeps what dead programs left, and starts the supervisor. Errors name the folder and
// what to do. The sweep goes on in the background if there is much to remove.
func Open(ctx context.Context, config Config) (*Backend, error) {
	if config.Python == nil {
		return nil, errors.New("local: Config.Python is required: see package pyenv")
	}
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
	runtime, err := openRuntime(config.RuntimeDir)
	if err != nil {
		return nil, errors.Join(err, base.close())
	}
	a, err := agent.New(agent.Config{
		Python: config.Python, RuntimeDir: runtime.dir, Logger: config.Logger, NoCgroup: config.NoCgroup, Trace: config.Trace,
		NoForkServer: config.NoForkServer, Preload: config.Preload,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("local: %w", err), runtime.close(), base.close())
	}
	b := &Backend{
		config: config, base: base, runtime: runtime, agent: a,
		instances: make(map[string]*instance), swept: make(chan struct{}),
	}
	b.sweep(ctx)
	return b, nil
}

// Warm waits for the fork server, as agent.Agent's does.
func (b *Backend) Warm(ctx context.Context) error { return b.agent.Warm(ctx) }

// NotPreloaded is what the fork server could not import, with the reasons.
func (b *Backend) NotPreloaded() map[string]string { return b.agent.NotPreloaded() }

// sweep starts the sweep and waits for it a little.
func (b *Backend) sweep(ctx context.Context) {
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stopSweep = stop
	go func() {
		defer close(b.swept)
		sweep(own, filepath.Dir(b.runtime.dir), b.base, b.config.Logger)
	}()
	timer := time.NewTimer(sweepWait)
	defer timer.Stop()
	select {
	case <-b.swept:
	case <-timer.C:
	case <-ctx.Done():
	}
}

var validID = regexp.MustCompile(`^[a-z0-9]{1,40}$`)

// Create makes an instance's folders.
func (b *Backend) Create(_ context.Context, spec backends.Spec) (backends.Instance, error) {
	if !validID.MatchString(spec.ID) {
		return nil, fmt.Errorf("local: id %q: use 1 to 40 of a-z and 0-9", spec.ID)
	}
	in := &instance{backend: b, id: spec.ID}
	in.changing.Lock() // a Close that comes meanwhile waits, and then destroys it
	defer in.changing.Unlock()
	if err := b.claim(in); err != nil {
		return nil, fmt.Errorf("local: create %s: %w", spec.ID, err)
	}
	if err := in.make(spec); err != nil {
		in.destroyed = true
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

// SkippedSpecs lists the kernelspecs of this machine that can't be read.
func (b *Backend) SkippedSpecs(context.Context) ([]backends.SkippedSpec, error) {
	return b.agent.SkippedSpecs(), nil
}

// KernelSpecs lists the kernels of this machine.
func (b *Backend) KernelSpecs(context.Context) ([]messaging.KernelSpec, error) {
	return b.agent.KernelSpecs(), nil
}

// Isolation is IsolationFiles where the kernel has Landlock, else IsolationNone with the reason.
func (b *Backend) Isolation() (backends.Isolation, string) {
	detail, err := agent.Confinement()
	if err != nil {
		return backends.IsolationNone, err.Error()
	}
	return backends.IsolationFiles, detail
}

// isolation is what an instance gets that asks for this.
func (b *Backend) isolation(asked backends.Isolation) (backends.Isolation, error) {
	switch asked {
	case backends.IsolationNone:
		return asked, nil
	case "":
		isolation, _ := b.Isolation()
		return isolation, nil
	case backends.IsolationFiles:
		if _, err := agent.Confinement(); err != nil {
			return "", fmt.Errorf("isolation %q: %w; use %q for your own code, or a container", asked, err, backends.IsolationNone)
		}
		return asked, nil
	}
	return "", fmt.Errorf("isolation %q: %w: use %q or %q", asked, backends.ErrUnsupported, backends.IsolationFiles, backends.IsolationNone)
}

// Close destroys what is left, ends the supervisor and gives up the runtime folder. It is idempotent.
func (b *Backend) Close() error {
	b.closing.Do(func() { b.closeErr = b.close() })
	return b.closeErr
}

func (b *Backend) close() error {
	b.stopSweep()
	b.mu.Lock()
	b.closed = true
	left := make([]*instance, 0, len(b.instances))
	for _, in := range b.instances {
		left = append(left, in)
	}
	b.mu.Unlock()
	errs := make([]error, len(left))
	var wg sync.WaitGroup
	for i, in := range left {
		wg.Go(func() {
			errs[i] = in.Destroy(context.Background())
		})
	}
	wg.Wait()
	for _, in := range left { // not before: the last of a family removes the folders of the first
		in.giveUp()
		if in.family != nil {
			in.family.first.giveUp()
		}
	}
	<-b.swept
	return errors.Join(append(errs, b.agent.Close(), b.runtime.close(), b.base.close())...)
}
