package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// Defaults of Options.
const (
	DefaultTimeout       = 5 * time.Minute
	DefaultMaxTimeout    = 24 * time.Hour
	DefaultSnapshotBytes = 20 << 30
)

// Options of New. Nil and zero fields are the defaults.
type Options struct {
	Sandboxes  int           // that may live at once, of all owners; no limit
	Timeout    time.Duration // of a Spec without one; DefaultTimeout
	MaxTimeout time.Duration // that may be asked for; DefaultMaxTimeout
	Streams    int           // requests at once of an owner without a limit of their own; no limit
	Templates  []Template    // besides those that are built in
	Images     []string      // patterns (see path.Match; "*" is all) of images that sandboxes may be made from by name; none
	// SnapshotDir keeps snapshots, also those of earlier daemons. Without it there are none.
	SnapshotDir   string
	SnapshotBytes int64    // of the files of all snapshots that are no images; DefaultSnapshotBytes
	Observer      Observer // hears what happens
	Logger        *slog.Logger
}

// Observer hears what happens in a fleet. Its functions must return at once; nil ones hear nothing.
type Observer struct {
	Created func(m *Member, took time.Duration)
	Refused func(err error)
	Ended   func(m *Member, why EndReason)
	Ran     func(m *Member, run Run)
}

// Fleet is the sandboxes of a daemon. The caller ends it with Close, before its engine.
type Fleet struct {
	engine    *sandbox.Engine
	options   Options // complete
	ledger    *ledger
	snapshots *snapshots
	making    *semaphore.Weighted // bounds sandboxes that are being made: more would only make each other slow
	tracer    trace.Tracer

	tasks    sync.WaitGroup // kills, and timers that have gone off
	watching sync.WaitGroup
	unwatch  context.CancelFunc

	mu      sync.Mutex // guards what follows
	members map[string]*Member
	gone    tombstones
	closed  bool
}

// New makes a fleet of an engine's sandboxes. Those that the engine has already are none of it. Errors are about Options.
func New(engine *sandbox.Engine, opts *Options) (*Fleet, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := CheckTemplates(o.Templates); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	o.Timeout, o.MaxTimeout = cmp.Or(o.Timeout, DefaultTimeout), cmp.Or(o.MaxTimeout, DefaultMaxTimeout)
	o.SnapshotBytes = cmp.Or(o.SnapshotBytes, DefaultSnapshotBytes)
	if o.Timeout < 0 || o.MaxTimeout < o.Timeout {
		return nil, fmt.Errorf("fleet: timeout %v, at most %v: use positive ones, the second not below the first", o.Timeout, o.MaxTimeout)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Fleet{
		engine: engine, options: o, ledger: newLedger(o.Sandboxes), making: semaphore.NewWeighted(int64(4 * runtime.NumCPU())),
		tracer: otel.Tracer("github.com/ds-sandbox/ds-sandbox/server/fleet"), members: make(map[string]*Member),
	}
	var err error
	if f.snapshots, err = openSnapshots(f); err != nil {
		return nil, fmt.Errorf("fleet: snapshots: %w", err)
	}
	watched, unwatch := context.WithCancel(context.Background())
	f.unwatch = unwatch
	f.watching.Go(func() { f.watch(watched) })
	return f, nil
}

// Engine is what the fleet stands on.
func (f *Fleet) Engine() *sandbox.Engine { return f.engine }

// MaxTimeout is the longest that a sandbox's end may be put off at once.
func (f *Fleet) MaxTimeout() time.Duration { return f.options.MaxTimeout }

// Stream counts a request of an owner, or says that there are too many. leave must be called at its end.
func (f *Fleet) Stream(owner *Owner) (leave func(), err error) {
	return f.ledger.takeStream(owner, f.options.Streams)
}

// Create makes a sandbox. Errors: *LimitError, *TemplateError, *SpecError, ErrClosed, those of sandbox.Engine.Create, the cause of ctx.
// After an error there is none.
func (f *Fleet) Create(ctx context.Context, owner *Owner, spec *Spec) (m *Member, err error) {
	ctx, span := f.tracer.Start(ctx, "sandbox.create")
	defer func() {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		} else {
			span.SetAttributes(attribute.String("sandbox.id", m.id), attribute.String("sandbox.start", string(m.sandbox.Info().Start.Kind)))
		}
		span.End()
	}()
	if m, err = f.create(ctx, owner, spec); err != nil {
		if f.options.Observer.Refused != nil {
			f.options.Observer.Refused(err)
		}
		return nil, err
	}
	return m, nil
}

func (f *Fleet) create(ctx context.Context, owner *Owner, asked *Spec) (*Member, error) {
	if asked == nil {
		asked = new(Spec)
	}
	spec := asked.clone()
	spec.Timeout, spec.OnTimeout = cmp.Or(spec.Timeout, f.options.Timeout), cmp.Or(spec.OnTimeout, Kill)
	if err := spec.check(&f.options); err != nil {
		return nil, err
	}
	from, err := f.resolve(owner, spec.Template)
	if err != nil {
		return nil, err
	}
	m, err := f.make(ctx, owner, spec, from)
	if err != nil {
		from.release(f)
		return nil, err
	}
	return m, nil
}

// make makes a sandbox of a checked spec. The member lets go of from at its end; after an error the caller does.
func (f *Fleet) make(ctx context.Context, owner *Owner, spec Spec, from *base) (*Member, error) {
	begun := time.Now()
	network, err := f.containerNetwork(spec.Network)
	if err != nil {
		return nil, err
	}
	limits := f.limits(owner, spec.Limits, from.limits)
	giveBack, err := f.ledger.takeSandbox(owner, cmp.Or(limits.Memory, f.engine.Config().DefaultLimits.Memory))
	if err != nil {
		return nil, err
	}
	var sbx *sandbox.Sandbox
	defer func() {
		if sbx == nil {
			giveBack()
		}
	}()
	if err := f.making.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer f.making.Release(1)
	if f.isClosed() {
		return nil, ErrClosed
	}
	options := &sandbox.Options{
		Language: spec.Language, Lazy: spec.Lazy, Env: spec.Env, Metadata: spec.Metadata, TimeToLive: sandbox.NoTimeout, Limits: limits,
	}
	if container := from.container(network); !container.IsZero() {
		options.Container = container
	}
	sbx, err = f.engine.Create(ctx, options)
	if err != nil {
		sbx = nil
		return nil, err
	}
	if err = from.restore(ctx, f, sbx); err == nil {
		err = context.Cause(ctx) // nobody would hear of the sandbox
	}
	if err != nil {
		return nil, f.undo(ctx, sbx, giveBack, err)
	}
	m, err := f.enlist(newMember(f, sbx, owner, spec, from, giveBack), begun)
	if err == nil {
		f.options.Logger.Info("sandbox started", "request", requestOf(ctx), "sandbox", m.id, "owner", owner.Name, "template", m.template,
			"start", string(sbx.Info().Start.Kind), "took", time.Since(begun))
	}
	return m, err
}

// undo ends a sandbox that came to be and is not wanted.
func (f *Fleet) undo(ctx context.Context, sbx *sandbox.Sandbox, giveBack func(), why error) error {
	defer giveBack()
	return errors.Join(why, sbx.Kill(context.WithoutCancel(ctx)))
}

// enlist makes a new member known.
func (f *Fleet) enlist(m *Member, begun time.Time) (*Member, error) {
	f.mu.Lock()
	closed := f.closed
	if !closed {
		f.members[m.id] = m
	}
	f.mu.Unlock()
	if closed {
		return nil, f.undo(context.Background(), m.sandbox, m.giveBack, ErrClosed)
	}
	m.begin()
	if f.options.Observer.Created != nil {
		f.options.Observer.Created(m, time.Since(begun))
	}
	return m, nil
}

func (f *Fleet) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// Get finds a live member of an owner. Error: ErrNotFound, which is a *GoneError when it was theirs.
func (f *Fleet) Get(owner *Owner, id string) (*Member, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[id]; m != nil && m.owner.Name == owner.Name {
		return m, nil
	}
	if t, ok := f.gone.find(id); ok && t.owner == owner.Name {
		return nil, &GoneError{ID: id, Reason: t.reason, Time: t.time}
	}
	return nil, fmt.Errorf("%w: %.40q", ErrNotFound, id)
}

// Find is Get for requests that the sandbox's own tokens authorise.
func (f *Fleet) Find(id string) (*Member, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[id]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("%w: %.40q", ErrNotFound, id)
}

// Members lists the live ones, those that started first first; a nil owner has all.
func (f *Fleet) Members(owner *Owner) []*Member {
	f.mu.Lock()
	list := make([]*Member, 0, len(f.members))
	for _, m := range f.members {
		if owner == nil || m.owner.Name == owner.Name {
			list = append(list, m)
		}
	}
	f.mu.Unlock()
	began := make(map[*Member]time.Time, len(list))
	for _, m := range list {
		began[m] = m.StartedAt()
	}
	slices.SortFunc(list, func(a, b *Member) int {
		return cmp.Or(began[a].Compare(began[b]), strings.Compare(a.id, b.id))
	})
	return list
}

// spawn does something in the background, unless the fleet is closed.
func (f *Fleet) spawn(task func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.tasks.Go(task)
	return true
}

// Close kills every member, ends their connections and waits for the fleet's goroutines, or for ctx. What is asked for later is ErrClosed.
// It is idempotent.
func (f *Fleet) Close(ctx context.Context) error {
	f.mu.Lock()
	f.closed = true
	members := make([]*Member, 0, len(f.members))
	for _, m := range f.members {
		members = append(members, m)
	}
	f.mu.Unlock()
	f.unwatch()
	errs := make([]error, len(members))
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		for i, m := range members {
			wg.Go(func() { errs[i] = m.end(context.WithoutCancel(ctx), EndedDaemon) })
		}
		wg.Wait()
		f.tasks.Wait()
		f.watching.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("fleet: close: %w", context.Cause(ctx))
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("fleet: close: %w", err)
		}
	}
	return nil
}
