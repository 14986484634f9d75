package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Engine owns what the sandboxes of a program share: the backend, the registry of live sandboxes, the limits. The
// caller ends it with Close.
type Engine struct {
	config   Config // complete
	settings []Setting
	backend  backends.Backend
	choice   Choice

	spares *spares
	starts starts
	spool  kernel.Spool // of all runs whose readers fall behind

	stopSampling context.CancelFunc
	sampling     sync.WaitGroup

	mu        sync.Mutex
	sandboxes map[string]*Sandbox
	closed    bool
	ended     chan struct{} // closed when Close has done its work
}

// Choice tells which backend an engine uses, and why.
type Choice struct {
	Backend string `json:"backend"` // "local" or "docker"
	Reason  string `json:"reason"`
	Detail  string `json:"detail"` // what it runs on, for instance the Python

	// Isolation is what sandboxes get that ask for none in particular; IsolationDetail is how it is enforced, or why it is
	// not stronger.
	Isolation       backends.Isolation `json:"isolation"`
	IsolationDetail string             `json:"isolation_detail"`
}

// Open starts an engine. Errors say what is missing (a Python with ipykernel, a writable base folder) and what to do, or are a
// *ConfigError.
func Open(ctx context.Context, config Config) (*Engine, error) {
	config, settings, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("sandbox: open: %w", &ConfigError{err})
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	for _, s := range settings {
		if strings.HasPrefix(s.Source, "environment") {
			config.Logger.Info("setting", "name", s.Name, "value", s.Value, "source", s.Source)
		}
	}
	backend, choice, err := openBackend(ctx, &config)
	if err != nil {
		return nil, fmt.Errorf("sandbox: open: %w", err)
	}
	e := &Engine{
		config: config, settings: settings, backend: backend, choice: choice,
		sandboxes: make(map[string]*Sandbox), ended: make(chan struct{}),
	}
	e.spares = e.newSpares()
	sampling, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stopSampling = stop
	e.sampling.Go(func() { e.sample(sampling) })
	return e, nil
}

var (
	defaultTurn   = semaphore.NewWeighted(1) // held while it is looked up, and opened
	defaultEngine *Engine
)

// Default is the engine that Create uses: one for the program, opened at first use with the zero Config. It may be closed
// like any other; the next use opens another.
func Default(ctx context.Context) (*Engine, error) {
	if err := defaultTurn.Acquire(ctx, 1); err != nil { // somebody else opens it
		return nil, fmt.Errorf("sandbox: open: %w", context.Cause(ctx))
	}
	defer defaultTurn.Release(1)
	if defaultEngine != nil && !defaultEngine.isClosed() {
		return defaultEngine, nil
	}
	e, err := Open(ctx, Config{})
	if err != nil {
		return nil, err
	}
	defaultEngine = e
	return e, nil
}

func (e *Engine) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// Choice tells which backend the engine uses, and why.
func (e *Engine) Choice() Choice { return e.choice }

// Config is the engine's configuration with all defaults filled in.
func (e *Engine) Config() Config { return e.config }

// Create makes a sandbox with a workspace and a ready context; the caller ends it with Kill. Errors:
// *backends.SpecNotFoundError, *backends.StartError, ErrClosed, and mistakes in opts, by name.
func (e *Engine) Create(ctx context.Context, opts *Options) (*Sandbox, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if e.isClosed() {
		return nil, fmt.Errorf("sandbox: create: %w", ErrClosed)
	}
	begun, made := time.Now(), false
	end := e.spares.begin(&o)
	defer func() { end(made) }()
	s, err := e.claimOrMake(ctx, &o)
	if err != nil {
		return nil, fmt.Errorf("sandbox: create: %w", err)
	}
	if err := e.enlist(s); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: create: %w", err), s.Kill(context.WithoutCancel(ctx)))
	}
	if s.start.Kind != "" {
		s.noteStart(Start{Kind: s.start.Kind, Time: time.Since(begun)})
		e.starts.add(OnCreate, s.start)
	}
	made = true
	return s, nil
}

// claimOrMake takes a spare if there is one that fits, else it makes a sandbox.
func (e *Engine) claimOrMake(ctx context.Context, o *Options) (*Sandbox, error) {
	if err := checkEnv(o.Env); err != nil {
		return nil, err
	}
	if k, fits := e.spares.kindOf(o); fits {
		if s := e.spares.take(ctx, k, o); s != nil {
			s.start.Kind = backends.StartSpare
			return s, nil
		}
	}
	made := *o
	if made.ID == "" {
		made.ID = newID()
	}
	return newSandbox(ctx, e, made)
}

func newID() string { return strings.ReplaceAll(uuid.NewString(), "-", "")[:20] }

// enlist makes a new sandbox known. Error: ErrClosed.
func (e *Engine) enlist(s *Sandbox) error {
	e.mu.Lock()
	closed := e.closed
	if !closed {
		e.sandboxes[s.id] = s
	}
	e.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if s.life.Err() != nil { // its time to live was shorter than this
		e.forget(s)
	}
	return nil
}

// Connect finds a live sandbox of this engine by its id, or takes over one that an earlier program has left, where the
// backend's sandboxes outlive their program (docker, see Sandbox.Detach): contexts have their variables, code that runs goes on, and
// Context.Resume gives the run. Commands of the earlier program live on, but are known here no more. Errors: ErrNotFound,
// backends.ErrInUse.
func (e *Engine) Connect(ctx context.Context, id string) (*Sandbox, error) {
	e.mu.Lock()
	s, closed := e.sandboxes[id], e.closed
	e.mu.Unlock()
	if s != nil {
		return s, nil
	}
	err := ErrClosed
	if !closed {
		s, err = e.adopt(ctx, id)
	}
	if err != nil {
		return nil, fmt.Errorf("sandbox: connect to %q: %w", id, err)
	}
	return s, nil
}

// List describes the live sandboxes, oldest first.
func (e *Engine) List(_ context.Context) ([]Info, error) {
	infos := []Info{}
	for _, s := range e.live() {
		infos = append(infos, s.Info())
	}
	slices.SortFunc(infos, func(a, b Info) int { return a.StartedAt.Compare(b.StartedAt) })
	return infos, nil
}

func (e *Engine) live() []*Sandbox {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*Sandbox, 0, len(e.sandboxes))
	for _, s := range e.sandboxes {
		out = append(out, s)
	}
	return out
}

func (e *Engine) forget(s *Sandbox) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sandboxes[s.id] == s {
		delete(e.sandboxes, s.id)
	}
}

// KernelSpecs lists the kernels that contexts can be created for, by name.
func (e *Engine) KernelSpecs(ctx context.Context) ([]messaging.KernelSpec, error) {
	specs, err := e.backend.KernelSpecs(ctx)
	if err != nil {
		return nil, fmt.Errorf("sandbox: list kernels: %w", err)
	}
	return specs, nil
}

// SkippedKernelSpecs lists the kernelspecs that were found and can't be read, so that no context can be created for them.
func (e *Engine) SkippedKernelSpecs(ctx context.Context) ([]backends.SkippedSpec, error) {
	skipper, ok := e.backend.(backends.SpecSkipper)
	if !ok {
		return nil, nil
	}
	skipped, err := skipper.SkippedSpecs(ctx)
	if err != nil {
		return nil, fmt.Errorf("sandbox: list kernels: %w", err)
	}
	return skipped, nil
}

// Close kills every sandbox, ends the backend and waits for its goroutines. It is idempotent: a call while another is at work waits
// for it, or for ctx, and leaves telling what went wrong to that one.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	already := e.closed
	e.closed = true
	e.mu.Unlock()
	if already {
		select {
		case <-e.ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("sandbox: close: %w", context.Cause(ctx))
		}
	}
	defer close(e.ended)
	e.spares.close()
	e.stopSampling()
	e.sampling.Wait()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, s := range e.live() {
		wg.Go(func() {
			if err := s.Kill(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if err := e.backend.Close(); err != nil {
		errs = append(errs, fmt.Errorf("sandbox: close: %w", err))
	}
	return errors.Join(errs...)
}
