package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
)

// Sandbox is an isolated place: a workspace folder and the contexts that run in it. The caller ends it with Kill;
// otherwise its time to live, its Engine or the end of the program does.
type Sandbox struct {
	engine   *Engine
	id       string
	instance backends.Instance
	metadata map[string]string
	started  time.Time
	cull     time.Duration // see Options.CullAfter
	link     string        // what the workspace is a link to
	roots    []string      // into which its links may lead
	limits   backends.Limits
	// container is what the instance has that only containers have; guarded by mu, for its network may change.
	container backends.Container
	origin    *ForkInfo           // nil for one that was created
	start     Start               // guarded by mu once it is made
	made      bool                // what is started from now on is no part of its creation
	creating  *semaphore.Weighted // held while a default context is made
	commands  commandTable

	remembering sync.Mutex // held while the sandbox is kept for another program

	clock   kernel.Clock // stands still while the sandbox is paused
	gate    gate
	history history

	life context.Context // ends with the sandbox; its cause is ErrKilled
	end  context.CancelCauseFunc

	mu       sync.Mutex
	contexts []*Context          // in the order of their creation
	defaults map[string]*Context // by language
	expiry   *kernel.Timer
	due      time.Duration // on the clock; when expiry is
	expires  time.Time     // the same as a date; zero when it lives until it is killed
	killed   chan struct{} // closed when Kill has ended everything; nil until it begins
	killErr  error
}

// Options of Create. Nil and zero fields are the defaults.
type Options struct {
	ID         string            // ^[a-z0-9]+$; a random one
	Language   string            // of the context that is ready when Create returns; "python"
	Lazy       bool              // start that context at its first use rather than in Create
	Env        map[string]string // of everything that runs in the sandbox
	TimeToLive time.Duration     // until the sandbox kills itself; Config.DefaultTimeToLive. NoTimeout is none
	Metadata   map[string]string // for the caller's own use; see Info
	// CullAfter is how long a context may be idle until its interpreter is ended to free its memory; Config.CullAfter. NoTimeout is
	// for ever. The next run says so with ErrCulled, because the variables are lost, and the one after it starts afresh.
	CullAfter time.Duration
	// Isolation keeps the code from the rest of the machine; Config.Isolation. It is an error where it can't be had.
	Isolation backends.Isolation
	// WorkspacePath makes the workspace a link to this folder of yours, an absolute path: code works in it directly, and Kill removes
	// the link alone. A new folder, removed by Kill. It may neither lie in Config.WorkspaceBaseDir nor hold it.
	WorkspacePath string
	// AllowedRoots are folders, absolute paths, into which links in the workspace may lead, to read and to write; others
	// lead nowhere. None.
	AllowedRoots []string
	// Container is what only sandboxes in containers have: image, profile, network, mounts. What is zero is the configuration's.
	Container backends.Container
	Limits    backends.Limits // of all that runs in the sandbox together; Config.DefaultLimits for each field that is zero
}

// Info describes a sandbox.
type Info struct {
	ID        string             `json:"id"`
	Backend   string             `json:"backend"`
	Workspace string             `json:"workspace"` // as the code sees it
	Isolation backends.Isolation `json:"isolation"` // what keeps the code from the rest of the machine
	StartedAt time.Time          `json:"started_at"`
	ExpiresAt time.Time          `json:"expires_at"` // zero when it lives until it is killed, and while it is paused
	Paused    bool               `json:"paused,omitempty"`
	Metadata  map[string]string  `json:"metadata,omitempty"`
	Limits    backends.Limits    `json:"limits"`
	// Enforcement says what makes each of the limits hold; package backends says how surely.
	Enforcement map[backends.LimitName]backends.Enforcer `json:"enforcement,omitempty"`
	// WorkspacePath is what the workspace is a link to; see Options.
	WorkspacePath string   `json:"workspace_path,omitempty"`
	AllowedRoots  []string `json:"allowed_roots,omitempty"`
	Start         Start    `json:"start"`
	// Container is nil where sandboxes are no containers.
	Container *backends.Container `json:"container,omitempty"`
	// Fork says what the sandbox is a fork of; nil when it was created.
	Fork *ForkInfo `json:"fork,omitempty"`
}

// Create makes a sandbox with a workspace and a ready Python context on the default engine, see Default.
// Errors say what is missing and what to do.
func Create(ctx context.Context, opts *Options) (*Sandbox, error) {
	engine, err := Default(ctx)
	if err != nil {
		return nil, err
	}
	return engine.Create(ctx, opts)
}

func newSandbox(ctx context.Context, e *Engine, opts Options) (*Sandbox, error) {
	return newSandboxFor(ctx, e, opts, false)
}

// newSandboxFor makes a sandbox, for somebody or as a spare.
func newSandboxFor(ctx context.Context, e *Engine, opts Options, spare bool) (*Sandbox, error) {
	if err := checkEnv(opts.Env); err != nil {
		return nil, err
	}
	ttl := opts.TimeToLive
	if ttl < 0 {
		return nil, fmt.Errorf("time to live is %v: use a positive one, 0 for the default, or NoTimeout", ttl)
	}
	if ttl == 0 {
		ttl = e.config.DefaultTimeToLive
	}
	if opts.CullAfter < 0 {
		return nil, fmt.Errorf("cull after is %v: use a positive one, 0 for the default, or NoTimeout", opts.CullAfter)
	}
	limits, container := withDefaultLimits(opts.Limits, e.config.DefaultLimits), e.containerFor(opts.Container)
	instance, err := e.backend.Create(ctx, backends.Spec{
		ID: opts.ID, Env: opts.Env, Isolation: cmp.Or(opts.Isolation, e.config.Isolation), Limits: limits,
		WorkspacePath: opts.WorkspacePath, AllowedRoots: opts.AllowedRoots, Container: container, Spare: spare,
	})
	if err != nil {
		return nil, err
	}
	s := &Sandbox{
		engine: e, id: opts.ID, instance: instance, metadata: opts.Metadata, started: time.Now(),
		cull: cmp.Or(opts.CullAfter, e.config.CullAfter), link: opts.WorkspacePath, roots: slices.Clone(opts.AllowedRoots),
		creating: semaphore.NewWeighted(1), defaults: make(map[string]*Context),
		limits: limits, container: container, gate: newGate(),
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	if !opts.Lazy {
		c, err := s.defaultContext(ctx, opts.Language)
		if err != nil {
			err = s.reason(err)
			return nil, errors.Join(err, s.Kill(context.WithoutCancel(ctx)))
		}
		s.start.Kind = c.Start().Kind
	}
	s.made = true
	s.SetTimeToLive(ttl)
	return s, nil
}

// ID is the sandbox's name in its engine.
func (s *Sandbox) ID() string { return s.id }

// Info describes the sandbox.
func (s *Sandbox) Info() Info {
	paused := s.gate.isPaused()
	s.mu.Lock()
	defer s.mu.Unlock()
	info := Info{
		ID: s.id, Backend: s.engine.choice.Backend, Workspace: s.instance.Workspace(), Isolation: s.instance.Isolation(),
		StartedAt: s.started, Paused: paused, Metadata: s.metadata, WorkspacePath: s.link, AllowedRoots: s.roots,
		Limits: s.limits, Enforcement: s.instance.Enforcement(), Start: s.start, Fork: s.origin,
	}
	if s.instance.Isolation() == backends.IsolationContainer {
		container := s.container
		info.Container = &container
	}
	if !paused {
		info.ExpiresAt = s.expires
	}
	return info
}

// SetTimeToLive lets the sandbox kill itself d from now, instead of when it would have; NoTimeout lets it live. While the
// sandbox is paused the time does not run.
func (s *Sandbox) SetTimeToLive(d time.Duration) {
	s.expireIn(d)
	s.remember()
}

func (s *Sandbox) expireIn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.expiry, s.expires = nil, time.Time{}
	if d == NoTimeout || s.killed != nil {
		return
	}
	s.due, s.expires = s.clock.Now()+d, time.Now().Add(d)
	s.expiry = s.clock.AfterFunc(d, func() {
		if err := s.Kill(context.Background()); err != nil {
			s.engine.config.Logger.Warn("kill expired sandbox", "sandbox", s.id, "error", err)
		}
	})
}

// Files is the workspace.
func (s *Sandbox) Files() *Files { return &Files{sandbox: s, fs: s.instance.Files()} }

// Commands runs programs and terminals.
func (s *Sandbox) Commands() *Commands { return &Commands{sandbox: s} }

// CreateContext starts another interpreter. Errors: *backends.SpecNotFoundError, *backends.StartError, ErrKilled.
func (s *Sandbox) CreateContext(ctx context.Context, opts *ContextOptions) (*Context, error) {
	var o ContextOptions
	if opts != nil {
		o = *opts
	}
	c, err := s.newContext(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("sandbox: create context: %w", s.reason(err))
	}
	if c.current() != nil {
		s.engine.starts.add(OnContext, c.Start())
	}
	s.remember()
	return c, nil
}

func (s *Sandbox) newContext(ctx context.Context, opts ContextOptions) (*Context, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := checkEnv(opts.Env); err != nil {
		return nil, err
	}
	language := normalLanguage(opts.Language)
	name, found, err := s.engine.kernelFor(ctx, language)
	if err != nil {
		return nil, err
	}
	c := &Context{
		sandbox: s, id: strings.ReplaceAll(uuid.NewString(), "-", ""), language: language, kernelName: name, dir: opts.Dir,
		turn: semaphore.NewWeighted(1), idler: idler{after: s.cull}, env: opts.Env,
		undoable: opts.Undoable, undoFiles: opts.UndoFiles,
		journal: newJournal(s.engine.config.JournalBytes),
	}
	if !opts.Lazy || !found { // what is not installed is told at once
		if err := c.startKernel(ctx, opts.Env); err != nil {
			return nil, err
		}
	}
	if s.enroll(c, false) {
		return c, nil
	}
	err = ErrKilled
	if k := c.current(); k != nil {
		err = errors.Join(err, k.Shutdown(context.WithoutCancel(ctx)))
	}
	return nil, err
}

// enroll makes a context known, maybe as the one of its language; it reports false when the sandbox has been killed.
func (s *Sandbox) enroll(c *Context, asDefault bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.killed != nil {
		return false
	}
	s.contexts = append(s.contexts, c)
	if asDefault {
		s.defaults[c.language] = c
	}
	return true
}

// LanguageContext is the context of runs that name the language alone. One that is not there yet is made, and its interpreter
// starts at its first use. Errors: *backends.SpecNotFoundError, ErrKilled, ErrPaused.
func (s *Sandbox) LanguageContext(ctx context.Context, language string) (*Context, error) {
	c, err := s.languageContext(ctx, language, true)
	if err != nil {
		return nil, fmt.Errorf("sandbox: context of %s: %w", normalLanguage(language), s.reason(err))
	}
	return c, nil
}

// defaultContext is LanguageContext with an interpreter.
func (s *Sandbox) defaultContext(ctx context.Context, language string) (*Context, error) {
	return s.languageContext(ctx, language, false)
}

func (s *Sandbox) languageContext(ctx context.Context, language string, lazy bool) (*Context, error) {
	language = normalLanguage(language)
	if c := s.knownDefault(language); c != nil {
		return c, nil
	}
	if err := s.creating.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer s.creating.Release(1)
	if c := s.knownDefault(language); c != nil {
		return c, nil
	}
	c, err := s.newContext(ctx, ContextOptions{Language: language, Lazy: lazy})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.defaults[language] = c
	s.mu.Unlock()
	if s.made && c.current() != nil {
		s.noteContext(c)
	}
	s.remember()
	return c, nil
}

// noteContext counts the start of a context's interpreter, and takes the first one for the sandbox's.
func (s *Sandbox) noteContext(c *Context) {
	start := c.Start()
	s.engine.starts.add(OnContext, start)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.start.Kind == "" {
		s.start = start
	}
}

func (s *Sandbox) knownDefault(language string) *Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.defaults[language]
}

// DefaultContext is the context of runs that name none, of the language given to Create; it is nil after its removal.
func (s *Sandbox) DefaultContext() *Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.contexts {
		if s.defaults[c.language] == c {
			return c
		}
	}
	return nil
}

// ContextFor is the context of runs that name the language and no context; it is made at its first use. Errors are those of
// CreateContext.
func (s *Sandbox) ContextFor(ctx context.Context, language string) (*Context, error) {
	c, err := s.defaultContext(ctx, language)
	if err != nil {
		return nil, fmt.Errorf("sandbox: context for %s: %w", normalLanguage(language), s.reason(err))
	}
	return c, nil
}

// Contexts lists the contexts in the order of their creation, the default one among them.
func (s *Sandbox) Contexts() []*Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.contexts)
}

// Context finds a context by its id. Error: ErrNotFound.
func (s *Sandbox) Context(id string) (*Context, error) {
	for _, c := range s.Contexts() {
		if c.id == id {
			return c, nil
		}
	}
	return nil, fmt.Errorf("sandbox: context %q: %w", id, ErrNotFound)
}

// forget takes a removed context off the lists.
func (s *Sandbox) forget(c *Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contexts = slices.DeleteFunc(s.contexts, func(other *Context) bool { return other == c })
	if s.defaults[c.language] == c {
		delete(s.defaults, c.language)
	}
}

// reason prefers the end of the sandbox as the reason of an error.
func (s *Sandbox) reason(err error) error {
	if over := context.Cause(s.life); over != nil && err != nil {
		return over
	}
	return err
}

// Kill ends every process that was started in the sandbox and removes its workspace. Runs under way and later calls end
// with ErrKilled. It is idempotent; when several call it, all wait for the end.
func (s *Sandbox) Kill(ctx context.Context) error {
	s.mu.Lock()
	first := s.killed == nil
	if first {
		s.killed = make(chan struct{})
		if s.expiry != nil {
			s.expiry.Stop()
		}
	}
	contexts := s.contexts
	s.mu.Unlock()
	if first {
		s.end(ErrKilled)
		go s.destroy(context.WithoutCancel(ctx), contexts)
	}
	select {
	case <-s.killed:
		return s.killErr
	case <-ctx.Done():
		return fmt.Errorf("sandbox: kill %s: still ending: %w", s.id, context.Cause(ctx))
	}
}

// destroy does what Kill promises.
func (s *Sandbox) destroy(ctx context.Context, contexts []*Context) {
	defer close(s.killed)
	if err := s.instance.Destroy(ctx); err != nil {
		s.killErr = fmt.Errorf("sandbox: kill %s: %w", s.id, err)
	}
	for _, c := range contexts {
		c.busy() // it is never idle again
		c.closeViews()
		k := c.current()
		if k == nil {
			continue
		}
		if err := k.Shutdown(ctx); err != nil {
			s.engine.config.Logger.Warn("end context of killed sandbox", "sandbox", s.id, "error", err)
		}
	}
	s.commands.close()
	s.engine.forget(s)
}
