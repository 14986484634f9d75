package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/kernel"
)

// wake starts the interpreter of a context that has none yet. When that fails, the next use tries again.
func (c *Context) wake(ctx context.Context) error {
	if c.current() != nil {
		return nil
	}
	s := c.sandbox
	if err := s.creating.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer s.creating.Release(1)
	if c.current() != nil {
		return nil
	}
	if c.isRemoved() {
		return ErrRemoved
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := c.startKernel(ctx, c.env); err != nil {
		return err
	}
	// What ends contexts has not seen the new kernel if it came before it was there.
	err = context.Cause(s.life)
	if err == nil && c.isRemoved() {
		err = ErrRemoved
	}
	if err != nil {
		return errors.Join(err, c.current().Shutdown(context.WithoutCancel(ctx)))
	}
	s.noteContext(c)
	s.remember()
	return nil
}

func (c *Context) isRemoved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed
}

// Wake starts the interpreter of a lazy context now; it does nothing where there is one. Errors: *backends.StartError, ErrPaused,
// ErrRemoved, ErrKilled, the cause of ctx.
func (c *Context) Wake(ctx context.Context) error {
	if err := c.wake(ctx); err != nil {
		return fmt.Errorf("sandbox: start context: %w", c.sandbox.reason(err))
	}
	return nil
}

func (c *Context) restartCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarts
}

// ended says why a run ended whose kernel died, where the context's owner did it; restarts is how many there had been before it.
func (c *Context) ended(restarts int, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !errors.Is(err, kernel.ErrDead):
		return err
	case c.removed:
		return fmt.Errorf("%w: %w", ErrRemoved, err)
	case c.restarts != restarts:
		return fmt.Errorf("%w: %w", ErrRestarted, err)
	}
	return err
}
