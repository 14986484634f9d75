package kernel

import (
	"context"
	"slices"
)

// turns is a first-in, first-out lock whose waiters can leave: the queue of a connection's runs.
// It is part of inFlight and changed under its lock only.
type turns struct {
	taken   bool
	waiters []chan struct{}
}

// take gets the turn at once, or returns a channel that is closed when it comes.
func (t *turns) take() (wait chan struct{}) {
	if !t.taken {
		t.taken = true
		return nil
	}
	wait = make(chan struct{})
	t.waiters = append(t.waiters, wait)
	return wait
}

// leave gives up waiting; it reports false when the turn had come already.
func (t *turns) leave(wait chan struct{}) bool {
	i := slices.Index(t.waiters, wait)
	if i < 0 {
		return false
	}
	t.waiters = slices.Delete(t.waiters, i, i+1)
	return true
}

// pass hands the turn to the first waiter or frees it.
func (t *turns) pass() {
	if len(t.waiters) == 0 {
		t.taken = false
		return
	}
	close(t.waiters[0])
	t.waiters = t.waiters[1:]
}

// takeTurn waits for the turn. Leaving the queue sends nothing.
func (c *Conn) takeTurn(ctx context.Context) error {
	var wait chan struct{}
	var err error
	c.update(func(f *inFlight) {
		if err = f.refusal(); err == nil {
			wait = f.turns.take()
		}
	})
	if err != nil || wait == nil {
		return err
	}
	select {
	case <-wait:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-c.lost:
		err = c.Err()
	}
	if err != nil {
		c.update(func(f *inFlight) {
			if !f.turns.leave(wait) {
				f.turns.pass()
			}
		})
		return err
	}
	return nil
}
