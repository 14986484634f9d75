package sandbox

import (
	"context"
	"errors"
	"time"

	"github.com/ds-sandbox/ds-sandbox/kernel"
)

// idler ends a context's interpreter when nothing has run in it for a time. The Context's mu guards it.
type idler struct {
	after  time.Duration // NoTimeout is never
	timer  *kernel.Timer // on the sandbox's clock
	number int           // of the timer that counts
	culled bool          // and not started afresh since
	active time.Time     // when the context was last busy
}

// busy keeps the context from being culled; a timer that has run out already counts no more.
func (c *Context) busy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idler.stop()
}

func (i *idler) stop() {
	i.active = time.Now()
	i.number++
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
}

// idle lets the context be culled when it stays so.
func (c *Context) idle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idler.stop()
	if c.idler.after == NoTimeout || c.removed || len(c.attached) > 0 || c.sandbox.life.Err() != nil {
		return
	}
	number := c.idler.number
	c.idler.timer = c.sandbox.clock.AfterFunc(c.idler.after, func() { c.cull(number) })
}

// cull ends the interpreter, unless a run is under way or was since the timer began.
func (c *Context) cull(number int) {
	if !c.turn.TryAcquire(1) {
		return
	}
	defer c.turn.Release(1)
	leave, err := c.sandbox.enter(c.sandbox.life)
	if errors.Is(err, ErrPaused) { // at this very moment: the time begins again, with the clock
		c.idle()
	}
	if err != nil {
		return
	}
	defer leave()
	k := c.current()
	if k == nil {
		return
	}
	switch conn := k.Conn(); {
	case conn.Err() != nil: // it died, which is to be told instead
		return
	case conn.State() == kernel.Busy: // with the run of an earlier program
		c.idle()
		return
	}
	c.mu.Lock()
	due := c.idler.number == number
	if due {
		c.idler.culled, c.reported = true, false
	}
	c.mu.Unlock()
	if !due {
		return
	}
	logger := c.sandbox.engine.config.Logger
	logger.Info("cull idle context", "sandbox", c.sandbox.id, "context", c.id)
	c.dropUndo(c.undo.replace(nil)) // it holds the same memory
	if err := k.Shutdown(context.Background()); err != nil {
		logger.Warn("cull idle context", "sandbox", c.sandbox.id, "context", c.id, "error", err)
	}
}

// reason prefers the end of the sandbox, and then that of the idle context, as the reason of an error.
func (c *Context) reason(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.idler.culled && c.sandbox.life.Err() == nil {
		return ErrCulled
	}
	return c.sandbox.reason(err)
}
