package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// maxSpares bounds Config.MaxSpares.
const maxSpares = 1000

// demandWindow is how long a sandbox that was asked for counts as demand.
const demandWindow = time.Minute

// spares are sandboxes with a ready Python interpreter that nobody has asked for yet. One is given away at most once: its
// code is its owner's alone.
type spares struct {
	engine *Engine
	wake   chan struct{} // of capacity one: something has changed
	stop   context.CancelFunc
	done   chan struct{}
	ending sync.WaitGroup // of dead ones

	mu       sync.Mutex
	ready    []*Sandbox
	asked    []time.Time // of late, oldest first
	starting int         // Creates under way, which come first
	running  int         // runs under way
	ran      time.Time   // when a run began or ended last
	closed   bool
}

func (e *Engine) newSpares() *spares {
	ctx, stop := context.WithCancel(context.Background())
	p := &spares{engine: e, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	if e.config.MinSpares > 0 {
		p.nudge()
	}
	go p.grow(ctx)
	return p
}

func (p *spares) depth() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ready)
}

func (p *spares) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// wanted is how many there should be; mu is held.
func (p *spares) wanted() int {
	config := &p.engine.config
	for len(p.asked) > 0 && time.Since(p.asked[0]) > demandWindow {
		p.asked = p.asked[1:]
	}
	return max(min(max(len(p.asked), config.MinSpares), config.MaxSpares), 0)
}

// begin notes that somebody creates a sandbox; the returned function, that it is there.
func (p *spares) begin() (end func()) {
	p.mu.Lock()
	p.starting++
	if p.asked = append(p.asked, time.Now()); len(p.asked) > maxSpares {
		p.asked = p.asked[1:]
	}
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.starting--
		p.mu.Unlock()
		p.nudge()
	}
}

// pulse is how long a spare may take to show that it lives.
const pulse = time.Second

// take is a spare whose interpreter lives and has the variables; nil when there is none.
func (p *spares) take(ctx context.Context, env map[string]string) *Sandbox {
	for {
		p.mu.Lock()
		if len(p.ready) == 0 {
			p.mu.Unlock()
			return nil
		}
		s := p.ready[0]
		p.ready = p.ready[1:]
		p.mu.Unlock()
		if s.knownDefault("python").greet(ctx, env) {
			return s
		}
		p.ending.Go(func() { p.drop(s) })
	}
}

// greet gives the interpreter variables, if it is ready, and reports whether it answers and will go on doing so.
func (c *Context) greet(ctx context.Context, env map[string]string) bool {
	k := c.current()
	if k.Conn().State() != kernel.Idle {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, pulse)
	defer cancel()
	var err error
	if len(env) > 0 {
		if _, ok := c.sandbox.instance.(backends.EnvSetter); !ok {
			return false // its commands would lack them
		}
		err = c.setEnv(ctx, env)
	} else {
		_, err = k.Conn().Call(ctx, messaging.Control, new(messaging.KernelInfoRequest))
	}
	if dependent, ok := k.Process().(backends.Dependent); ok && dependent.Doomed() {
		return false
	}
	return err == nil
}

func (p *spares) drop(s *Sandbox) {
	if err := s.Kill(context.Background()); err != nil {
		p.engine.config.Logger.Warn("kill spare", "sandbox", s.id, "error", err)
	}
}

// grow makes spares while nobody else starts anything, one at a time, and ends those that are no longer wanted.
func (p *spares) grow(ctx context.Context) {
	defer close(p.done)
	shrink := time.NewTicker(demandWindow)
	defer shrink.Stop()
	for {
		select {
		case <-p.wake:
		case <-shrink.C:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil && p.balance(ctx) {
		}
	}
}

// calm is how long nobody may have asked for a sandbox or run code before one is made in advance: what was asked for comes first.
// patience bounds how long runs may keep one from being made: there may be no pause between them ever.
const (
	calm     = 50 * time.Millisecond
	patience = 2 * time.Second
)

// run notes that code runs in a sandbox; the returned function, that it does no more.
func (p *spares) run() (end func()) {
	p.ranNow(1)
	return func() { p.ranNow(-1) }
}

func (p *spares) ranNow(change int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running += change
	p.ran = time.Now()
}

// settle waits until it is calm.
func (p *spares) settle(ctx context.Context) {
	for begun := time.Now(); ; {
		left := p.unrest(time.Since(begun) < patience)
		if left <= 0 {
			return
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return
		}
	}
}

// unrest is how long it takes until it is calm, if nothing happens.
func (p *spares) unrest(runsCount bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var left time.Duration
	if n := len(p.asked); n > 0 {
		left = calm - time.Since(p.asked[n-1])
	}
	switch {
	case !runsCount:
	case p.running > 0:
		left = calm
	default:
		left = max(left, calm-time.Since(p.ran))
	}
	return left
}

// balance makes or ends one; it reports whether there is more to do.
func (p *spares) balance(ctx context.Context) bool {
	p.settle(ctx)
	p.mu.Lock()
	wanted := p.wanted()
	var extra *Sandbox
	if len(p.ready) > wanted {
		extra, p.ready = p.ready[0], p.ready[1:]
	}
	missing := len(p.ready) < wanted && p.starting == 0
	p.mu.Unlock()
	switch {
	case extra != nil:
		p.drop(extra)
		return true
	case !missing:
		return false
	}
	// A fork costs a tenth of a cold start; who has a fork server waits for it.
	if err := p.engine.Warm(ctx); ctx.Err() != nil {
		return false
	} else if err != nil {
		p.engine.config.Logger.Debug("spares start afresh", "reason", err)
	}
	s, err := newSandbox(ctx, p.engine, Options{ID: newID(), TimeToLive: NoTimeout, CullAfter: NoTimeout})
	if err != nil {
		if ctx.Err() == nil {
			p.engine.config.Logger.Warn("make spare", "error", err)
		}
		return false
	}
	// The first run of a fork takes twice the time: it gets pages of its own.
	if err := s.knownDefault("python").quietly(ctx, "pass"); err != nil {
		p.drop(s)
		return false
	}
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.ready = append(p.ready, s)
	}
	p.mu.Unlock()
	if closed {
		p.drop(s)
	}
	return !closed
}

// close ends all spares and waits for it.
func (p *spares) close() {
	p.stop()
	p.mu.Lock()
	p.closed = true
	ready := p.ready
	p.ready = nil
	p.mu.Unlock()
	<-p.done
	for _, s := range ready {
		p.ending.Go(func() { p.drop(s) })
	}
	p.ending.Wait()
}

// fits reports whether a spare can be what the options ask for.
func (p *spares) fits(o *Options) bool {
	c := &p.engine.config
	return o.ID == "" && !o.Lazy && normalLanguage(o.Language) == "python" && o.WorkspacePath == "" && len(o.AllowedRoots) == 0 &&
		p.engine.usualContainer(o.Container) &&
		(o.Isolation == "" || o.Isolation == p.engine.choice.Isolation) && withDefaultLimits(o.Limits, c.DefaultLimits) == c.DefaultLimits &&
		o.TimeToLive >= 0 && o.CullAfter >= 0 && !special(o.Env)
}

// readByLibraries are variables that a ready interpreter has read, besides those of backends.ReadAtStart.
var readByLibraries = map[string]bool{
	"MPLBACKEND": true, "MPLCONFIGDIR": true, "MATPLOTLIBRC": true, "TZ": true, "HOME": true, "IPYTHONDIR": true,
}

func special(env map[string]string) bool {
	for name := range env {
		if backends.ReadAtStart(name) || readByLibraries[name] {
			return true
		}
	}
	return false
}

// claim makes a spare, whose interpreter has the variables, what the options ask for.
func (s *Sandbox) claim(o *Options) {
	c := s.knownDefault("python")
	if setter, ok := s.instance.(backends.EnvSetter); ok && len(o.Env) > 0 {
		setter.SetEnv(o.Env)
	}
	s.mu.Lock()
	s.metadata, s.started, s.cull = maps.Clone(o.Metadata), time.Now(), cmp.Or(o.CullAfter, s.engine.config.CullAfter)
	s.mu.Unlock()
	c.mu.Lock()
	c.idler.after = s.cull
	c.mu.Unlock()
	c.idle()
	s.SetTimeToLive(cmp.Or(o.TimeToLive, s.engine.config.DefaultTimeToLive))
}

// setEnv sets variables of an interpreter.
func (c *Context) setEnv(ctx context.Context, env map[string]string) error {
	text, err := json.Marshal(env)
	if err != nil {
		return err
	}
	quoted, err := json.Marshal(string(text)) // a JSON string of JSON is a Python string
	if err != nil {
		return err
	}
	return c.quietly(ctx, fmt.Sprintf("__import__('os').environ.update(__import__('json').loads(%s))", quoted))
}

// quietly runs code of ours in an interpreter that nobody uses yet.
func (c *Context) quietly(ctx context.Context, code string) error {
	e, err := c.current().Conn().Execute(ctx, &messaging.ExecuteRequest{Code: code, Silent: true}, nil)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	reply, err := e.Wait(ctx)
	if err == nil && reply.Status != messaging.StatusOK {
		err = fmt.Errorf("run in spare: %s: %s", reply.EName, reply.EValue)
	}
	return err
}
