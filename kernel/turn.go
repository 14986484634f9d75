package kernel

import "context"

// takeTurn waits for the turn of a run; runs come in the order of their calls. Leaving the queue sends nothing.
// The turn is passed on by passTurn.
func (c *Conn) takeTurn(ctx context.Context) error {
	if err := c.refusal(); err != nil {
		return err
	}
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(c.Err()) })()
	if err := c.turn.Acquire(waiting, 1); err != nil {
		return context.Cause(waiting)
	}
	return nil
}

func (c *Conn) passTurn() { c.turn.Release(1) }

// refusal says why nothing new may be asked; nil when it may.
func (c *Conn) refusal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.refusal()
}
