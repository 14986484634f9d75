package agent

import (
	"context"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// outcome is what a call returned.
type outcome[T any] struct {
	value T
	err   error
}

// whole has something done to its end although ctx ends before: a process that is being copied does not hear that nobody
// wants the copy any more. What comes of it then is undone. The instance's Close waits for that.
func whole[T any](ctx context.Context, in *Instance, do func(context.Context) (T, error), undo func(context.Context, T)) (T, error) {
	var none T
	taken := make(chan outcome[T]) // not buffered: what was sent was received
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return none, backends.ErrDestroyed
	}
	in.finishing.Go(func() {
		apart := context.WithoutCancel(ctx)
		value, err := do(apart)
		select {
		case taken <- outcome[T]{value, err}:
		case <-ctx.Done():
			if err == nil {
				undo(apart, value)
			}
		}
	})
	in.mu.Unlock()
	select {
	case o := <-taken:
		return o.value, o.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
