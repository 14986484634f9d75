package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

var _ backends.Pauser = (*Instance)(nil)

// power is whether an instance's processes may run. Starts share it, pausing and resuming take all of it, so that no
// start is caught half-way.
type power struct {
	gate *semaphore.Weighted

	mu     sync.Mutex // guards paused, which changes with the whole gate held
	paused bool
}

const wholeGate = math.MaxInt64

func newPower() power { return power{gate: semaphore.NewWeighted(wholeGate)} }

// starts begins a start; the caller calls done after it. Errors: ErrPaused, a limit that lets nothing start any more.
func (in *Instance) starts(ctx context.Context) (done func(), err error) {
	if err := in.power.gate.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	done = func() { in.power.gate.Release(1) }
	if in.isPaused() {
		done()
		return nil, backends.ErrPaused
	}
	var refused error
	in.watch(func(w *watchdog) {
		refused = w.refusal()
		w.rouse()
	})
	if refused != nil {
		done()
		return nil, refused
	}
	return done, nil
}

func (in *Instance) isPaused() bool {
	in.power.mu.Lock()
	defer in.power.mu.Unlock()
	return in.power.paused
}

// pausePatience bounds how long stopping or continuing all processes may take.
const pausePatience = 10 * time.Second

// Pause stops every process of the instance, but not the one above them. It waits for starts under way.
func (in *Instance) Pause(ctx context.Context) error {
	return in.switchPower(ctx, "pause", true, func(ctx context.Context, k *keeper) error {
		freezer := ""
		if in.limiter.group != nil {
			freezer = in.limiter.group.freezer()
		}
		if err := k.pause(ctx, freezer); err != nil || freezer != "" {
			return err // the guests are in the group too
		}
		return in.eachGuest(func(p *process) error { return p.keeper.pauseGuest(ctx, p.pid) })
	})
}

// Resume lets the processes go on.
func (in *Instance) Resume(ctx context.Context) error {
	return in.switchPower(ctx, "resume", false, func(ctx context.Context, k *keeper) error {
		return errors.Join(k.resume(ctx), in.eachGuest(func(p *process) error { return p.keeper.resumeGuest(ctx, p.pid) }))
	})
}

func (in *Instance) switchPower(ctx context.Context, what string, paused bool, act func(context.Context, *keeper) error) error {
	if err := in.power.gate.Acquire(ctx, wholeGate); err != nil {
		return context.Cause(ctx)
	}
	defer in.power.gate.Release(wholeGate)
	k, err := in.knownKeeper()
	if err != nil {
		return err
	}
	if in.isPaused() == paused {
		return nil
	}
	if k != nil {
		ctx, cancel := context.WithTimeoutCause(ctx, pausePatience, errors.New("keeper does not answer"))
		defer cancel()
		if err := act(ctx, k); err != nil {
			if paused {
				_ = k.both(func(k *keeper) error {
					k.wire.post(request{Op: "resume"}) // it may have stopped some, or do so yet
					return nil
				})
			}
			return fmt.Errorf("agent: %s: %w", what, err)
		}
	}
	in.power.mu.Lock()
	defer in.power.mu.Unlock()
	in.power.paused = paused
	return nil
}
