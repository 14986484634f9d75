package sandbox

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// gate is whether a sandbox is paused. What must not be caught half-way by a pause, a kernel's start above all, shares it;
// pausing and resuming take all of it.
type gate struct {
	passing *semaphore.Weighted

	mu     sync.Mutex // guards paused, which changes with the whole gate held
	paused bool
}

const wholeGate = math.MaxInt64

func newGate() gate { return gate{passing: semaphore.NewWeighted(wholeGate)} }

func (g *gate) isPaused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.paused
}

func (g *gate) setPaused(paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = paused
}

// enter begins what a pause has to wait for; the caller calls leave after it. Errors: ErrPaused, ErrKilled, the cause of ctx.
func (s *Sandbox) enter(ctx context.Context) (leave func(), err error) {
	if s.gate.isPaused() { // before the queue: nobody waits for a pause to end
		return nil, ErrPaused
	}
	if err := s.gate.passing.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	leave = func() { s.gate.passing.Release(1) }
	if err = s.awake(); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// awake tells why nothing can be run or asked now; nil when it can.
func (s *Sandbox) awake() error {
	if err := context.Cause(s.life); err != nil {
		return err
	}
	if s.gate.isPaused() {
		return ErrPaused
	}
	return nil
}

// Pause stops every process in the sandbox where it is; a run under way goes on after Resume. Time-outs of runs and the
// time to live stand still meanwhile. Files, Info, Stats and Kill work; what needs the code to go on is ErrPaused. It waits for
// kernels that are being started, and is idempotent. A run that is cancelled while paused ends after Resume.
// Errors: ErrKilled, backends.ErrUnsupported, the cause of ctx.
func (s *Sandbox) Pause(ctx context.Context) error {
	err := s.switchPower(ctx, true, func(p backends.Pauser) error {
		s.clock.Pause() // first, so that no time runs out in between
		err := p.Pause(ctx)
		if err != nil {
			s.clock.Resume()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("sandbox: pause: %w", s.reason(err))
	}
	return nil
}

// Resume lets a paused sandbox go on, and its times run on. It is idempotent. Errors: ErrKilled, the cause of ctx.
func (s *Sandbox) Resume(ctx context.Context) error {
	err := s.switchPower(ctx, false, func(p backends.Pauser) error {
		if err := p.Resume(ctx); err != nil {
			return err
		}
		s.clock.Resume()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.expiry != nil {
			s.expires = time.Now().Add(s.due - s.clock.Now())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sandbox: resume: %w", s.reason(err))
	}
	return nil
}

func (s *Sandbox) switchPower(ctx context.Context, paused bool, act func(backends.Pauser) error) error {
	pauser, ok := s.instance.(backends.Pauser)
	if !ok {
		return backends.ErrUnsupported
	}
	if err := s.gate.passing.Acquire(ctx, wholeGate); err != nil {
		return context.Cause(ctx)
	}
	defer s.gate.passing.Release(wholeGate)
	if err := context.Cause(s.life); err != nil {
		return err
	}
	if s.gate.isPaused() == paused {
		return nil
	}
	if err := act(pauser); err != nil {
		return err
	}
	s.gate.setPaused(paused)
	return nil
}
