package sandbox

import (
	"context"
	"sync"
	"time"
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
	ending sync.WaitGroup // of dead ones, and of those who watch for their death

	mu       sync.Mutex
	shelves  []*shelf  // the usual one first, the one asked for last at the end
	asked    time.Time // when somebody asked for a sandbox last
	starting int       // Creates under way, which come first
	running  int       // runs under way
	ran      time.Time // when a run began or ended last
	closed   bool
}

func (e *Engine) newSpares() *spares {
	ctx, stop := context.WithCancel(context.Background())
	p := &spares{
		engine: e, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{}), shelves: []*shelf{{least: e.config.MinSpares}},
	}
	if e.config.MinSpares > 0 {
		p.nudge()
	}
	go p.grow(ctx)
	return p
}

func (p *spares) depth() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range p.shelves {
		n += len(s.ready)
	}
	return n
}

func (p *spares) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// begin notes that somebody creates a sandbox; the returned function, that it is there or could not be made.
func (p *spares) begin(o *Options) (end func(made bool)) {
	p.mu.Lock()
	p.starting++
	p.asked = time.Now()
	p.mu.Unlock()
	return func(made bool) {
		k, fits := p.kindOf(o)
		p.mu.Lock()
		p.starting--
		if made && fits { // what can't be made need not be there in advance
			p.want(k)
		}
		p.mu.Unlock()
		p.nudge()
	}
}

// take is a spare of a kind that is what the options ask for; nil when there is none.
func (p *spares) take(ctx context.Context, k kind, o *Options) *Sandbox {
	for {
		p.mu.Lock()
		found := p.shelfOf(k)
		if found == nil || len(found.ready) == 0 {
			p.mu.Unlock()
			return nil
		}
		s := found.pop()
		p.mu.Unlock()
		err := s.claim(ctx, o)
		if err == nil {
			return s
		}
		p.engine.config.Logger.Debug("spare is of no use", "sandbox", s.id, "reason", err)
		p.ending.Go(func() { p.drop(s) })
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (p *spares) drop(s *Sandbox) {
	if err := s.Kill(context.Background()); err != nil {
		p.engine.config.Logger.Warn("kill spare", "sandbox", s.id, "error", err)
	}
}

// put makes a sandbox a spare, unless all end. One that dies makes room for another.
func (p *spares) put(shelf *shelf, s *Sandbox) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	one := &spare{Sandbox: s, left: make(chan struct{})}
	shelf.ready = append(shelf.ready, one)
	dead := s.knownDefault("python").current().Conn().Done()
	p.ending.Go(func() {
		select {
		case <-one.left:
			return
		case <-dead:
		}
		p.mu.Lock()
		there := shelf.remove(one)
		p.mu.Unlock()
		if there { // else somebody takes it, and finds out
			p.engine.config.Logger.Debug("spare has died", "sandbox", s.id)
			p.drop(s)
			p.nudge()
		}
	})
	return true
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
	if !p.asked.IsZero() {
		left = calm - time.Since(p.asked)
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
	short, extra := p.next()
	busy := p.starting > 0
	p.mu.Unlock()
	switch {
	case extra != nil:
		p.drop(extra)
		return true
	case short == nil || busy:
		return false
	}
	// A fork costs a tenth of a cold start; who has a fork server waits for it.
	if err := p.engine.Warm(ctx); ctx.Err() != nil {
		return false
	} else if err != nil {
		p.engine.config.Logger.Debug("spares start afresh", "reason", err)
	}
	s, err := p.make(ctx, short)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		p.engine.config.Logger.Warn("make spare", "error", err)
		p.mu.Lock()
		short.asked = nil // until somebody asks for one again
		p.mu.Unlock()
		return short.key != ""
	}
	if err != nil || !p.put(short, s) {
		if s != nil {
			p.drop(s)
		}
		return false
	}
	return true
}

// make makes a sandbox that can be a spare.
func (p *spares) make(ctx context.Context, of *shelf) (*Sandbox, error) {
	p.mu.Lock()
	o := of.like
	p.mu.Unlock()
	o.ID, o.TimeToLive, o.CullAfter = newID(), NoTimeout, NoTimeout
	s, err := newSandboxFor(ctx, p.engine, o, true)
	if err != nil {
		return nil, err
	}
	// The first run of a fork takes twice the time: it gets pages of its own.
	if err := s.knownDefault("python").quietly(ctx, "pass"); err != nil {
		p.drop(s)
		return nil, err
	}
	return s, nil
}

// close ends all spares and waits for it.
func (p *spares) close() {
	p.stop()
	p.mu.Lock()
	p.closed = true
	var left []*Sandbox
	for _, s := range p.shelves {
		for len(s.ready) > 0 {
			left = append(left, s.pop())
		}
	}
	p.mu.Unlock()
	<-p.done
	for _, s := range left {
		p.ending.Go(func() { p.drop(s) })
	}
	p.ending.Wait()
}
