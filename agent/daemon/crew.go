package daemon

import (
	"context"
	"fmt"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// crew does things to files as a user, on a few threads that have that user's rights. They are made when they are first needed and
// stay: a thread that can't be made, where code has used up the container's processes, would be the end of the agent.
type crew struct {
	root bool
	most int // threads
	jobs chan func(refused error)
	over chan struct{} // closed when no more is to be done

	mu   sync.Mutex // guards live
	live int        // threads
}

// How many threads a user has: for calls, which may be long ones, and for what goes on beside them, which may be a part of a call and
// is short, or waits for the call alone.
const (
	callThreads   = 8
	besideThreads = 4
)

func newCrew(root bool, most int) *crew {
	return &crew{root: root, most: most, jobs: make(chan func(error)), over: make(chan struct{})}
}

// do does something as the user, and returns when it is done; ctx bounds the wait for a thread only.
func (c *crew) do(ctx context.Context, act func()) (err error) {
	done := make(chan struct{})
	job := func(refused error) {
		defer close(done)
		defer func() {
			if broken := recover(); broken != nil { // it is one request's misfortune
				err = fmt.Errorf("daemon: panic: %v", broken)
			}
		}()
		if err = refused; err == nil {
			act()
		}
	}
	select {
	case c.jobs <- job:
	default:
		c.grow()
		select {
		case c.jobs <- job:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.over:
			return backends.ErrDestroyed
		}
	}
	<-done
	return err
}

// grow adds a thread if there may be more.
func (c *crew) grow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == c.most {
		return
	}
	c.live++
	go func() {
		refused := become(c.root)
		for {
			select {
			case job := <-c.jobs:
				job(refused)
			case <-c.over:
				return
			}
		}
	}()
}

// end ends the threads, each when it is done with what it does.
func (c *crew) end() { close(c.over) }
