package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
)

// ForkOptions of Fork. Nil and zero fields are the defaults.
type ForkOptions struct {
	Context    *Context          // whose interpreter is copied; the default one
	Env        map[string]string // on top of the sandbox's
	TimeToLive time.Duration     // of each fork, as in Options
	Metadata   map[string]string // of each fork; the sandbox's
	// KeepRandom lets every fork draw the random numbers that would have come next; else each draws its own.
	KeepRandom bool
}

// ForkInfo says what a sandbox is a fork of.
type ForkInfo struct {
	From       string   `json:"from"`               // id of the sandbox
	Generation int      `json:"generation"`         // 1 for a fork of a sandbox that was created
	Warnings   []string `json:"warnings,omitempty"` // what the interpreter shares with the one it was copied from or lacks, in words
}

// RefusedError says that an interpreter can't be copied as it is, and why. It is as it was.
type RefusedError = kernel.RefusedError

// maxForks bounds one call of Fork.
const maxForks = 1000

// Fork makes n sandboxes that go on from where this one is: each has a copy of the default context's memory, with variables,
// imports, figures and history, and of the workspace. They and this one know nothing of each other's later changes. Other
// contexts and commands are not copied. A run under way is waited for. The callers kills each; this one may be killed before
// them. The forks and their origin are kept from the rest of the machine as ever, and less from each other: they are run by the
// same user's code. Errors: *RefusedError, backends.ErrUnsupported, *backends.StartError, ErrReentrant, ErrPaused, ErrKilled,
// the cause of ctx. After an error there are no forks, and the sandbox is as it was.
func (s *Sandbox) Fork(ctx context.Context, n int, opts *ForkOptions) ([]*Sandbox, error) {
	var o ForkOptions
	if opts != nil {
		o = *opts
	}
	forks, err := s.fork(ctx, n, o)
	if err != nil {
		return nil, fmt.Errorf("sandbox: fork: %w", s.reason(err))
	}
	return forks, nil
}

func (s *Sandbox) fork(ctx context.Context, n int, opts ForkOptions) ([]*Sandbox, error) {
	switch forker, ok := s.instance.(backends.Forker); {
	case n < 1 || n > maxForks:
		return nil, fmt.Errorf("%d forks: use 1 to %d", n, maxForks)
	case opts.TimeToLive < 0:
		return nil, fmt.Errorf("time to live is %v: use a positive one, 0 for the default, or NoTimeout", opts.TimeToLive)
	case !ok:
		return nil, fmt.Errorf("%w, %s: use local", backends.ErrUnsupported, s.engine.choice.Backend)
	default:
		if err := checkEnv(opts.Env); err != nil {
			return nil, err
		}
		c := opts.Context
		if c == nil {
			var err error
			if c, err = s.defaultContext(ctx, "python"); err != nil {
				return nil, err
			}
		}
		if c.sandbox != s {
			return nil, ErrForeignContext
		}
		return withTurn(ctx, c, func() ([]*Sandbox, error) { return s.forkContext(ctx, forker, c, n, opts) })
	}
}

// forksAtOnce is how many forks are made at the same time.
var forksAtOnce = int64(2 * runtime.NumCPU())

// forkContext copies the kernel once, and makes the forks of the copy. Their folders are made in the meantime.
func (s *Sandbox) forkContext(ctx context.Context, forker backends.Forker, c *Context, n int, opts ForkOptions) (_ []*Sandbox, err error) {
	begun := time.Now()
	if _, err := c.liveKernel(ctx); err != nil {
		return nil, err
	}
	forks, errs := make([]*Sandbox, n), make([]error, n)
	defer func() {
		if err != nil {
			err = errors.Join(err, killAll(context.WithoutCancel(ctx), forks))
		}
	}()
	places, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	p, parked := (*Checkpoint)(nil), make(chan struct{}) // closed when what was to be written to files was, too
	atOnce := semaphore.NewWeighted(forksAtOnce)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if errs[i] = atOnce.Acquire(places, 1); errs[i] != nil {
				return
			}
			defer atOnce.Release(1)
			if forks[i], errs[i] = s.forkPlace(places, forker, opts, parked); errs[i] != nil || i == n-1 {
				return
			}
			<-parked
			if places.Err() == nil {
				errs[i] = forks[i].wake(ctx, p, false, opts, begun)
			}
		})
	}
	p, err = c.checkpoint(ctx, false)
	if err != nil {
		giveUp(err)
	} else {
		defer func() { err = errors.Join(err, p.Drop(context.WithoutCancel(ctx))) }()
	}
	close(parked)
	wg.Wait()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	// The copy itself is the last, which spares a fork.
	if err := forks[n-1].wake(ctx, p, true, opts, begun); err != nil {
		return nil, err
	}
	return forks, nil
}

func killAll(ctx context.Context, forks []*Sandbox) error {
	var errs []error
	for _, f := range forks {
		if f != nil {
			errs = append(errs, f.Kill(ctx))
		}
	}
	return errors.Join(errs...)
}

// forkPlace makes a fork without an interpreter.
func (s *Sandbox) forkPlace(
	ctx context.Context, forker backends.Forker, opts ForkOptions, flushed <-chan struct{},
) (*Sandbox, error) {
	id := newID()
	ctx, cancel := s.startDeadline(ctx, "the copy of the workspace is")
	defer cancel()
	instance, err := forker.Fork(ctx, backends.Spec{ID: id, Env: opts.Env}, flushed)
	if err != nil {
		return nil, err
	}
	metadata := opts.Metadata
	if metadata == nil {
		metadata = maps.Clone(s.metadata)
	}
	f := &Sandbox{
		engine: s.engine, id: id, instance: instance, metadata: metadata, started: time.Now(), cull: s.cull,
		roots: s.roots, limits: s.limits, container: s.Container(), // no link: the copy is a folder of its own
		creating: semaphore.NewWeighted(1), defaults: make(map[string]*Context), gate: newGate(), made: true,
		origin: &ForkInfo{From: s.id, Generation: 1},
	}
	if s.origin != nil {
		f.origin.Generation += s.origin.Generation
	}
	f.life, f.end = context.WithCancelCause(context.Background())
	return f, nil
}

// wake gives a fork its interpreter.
func (s *Sandbox) wake(ctx context.Context, p *Checkpoint, last bool, opts ForkOptions, begun time.Time) error {
	s.origin.Warnings = p.Warnings
	if err := s.wakeContext(ctx, p, last, !opts.KeepRandom); err != nil {
		return err
	}
	s.noteStart(s.knownDefault(p.context.language).note(begun))
	s.engine.starts.add(OnFork, s.start)
	s.SetTimeToLive(cmp.Or(opts.TimeToLive, s.engine.config.DefaultTimeToLive))
	return s.engine.enlist(s)
}

// wakeContext makes the default context from a copy.
func (s *Sandbox) wakeContext(ctx context.Context, p *Checkpoint, last, fresh bool) error {
	from, config := p.context, &s.engine.config
	c := &Context{
		sandbox: s, id: strings.ReplaceAll(uuid.NewString(), "-", ""), language: from.language, kernelName: from.kernelName,
		dir: from.dir, turn: semaphore.NewWeighted(1), idler: idler{after: s.cull}, undoable: from.undoable, undoFiles: from.undoFiles,
		journal: newJournal(config.JournalBytes),
	}
	ctx, cancel := s.startDeadline(ctx, "the copy is")
	defer cancel()
	k, err := kernel.Wake(ctx, s.instance, backends.KernelConfig{
		Name: c.kernelName, Dir: c.startDir(), Env: from.env, MaxFrame: config.MaxFrame,
	}, p.parked, backends.WakeConfig{Last: last, Fresh: fresh, MaxFrame: config.MaxFrame},
		s.kernelOptions())
	if err != nil {
		return err
	}
	c.kernel, c.env = k, from.env
	s.mu.Lock()
	s.contexts, s.defaults[c.language] = append(s.contexts, c), c
	s.mu.Unlock()
	c.idle()
	return nil
}
