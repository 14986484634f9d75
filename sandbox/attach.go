package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Attachment is a front end of Jupyter's at a context: it sees all that the kernel sends, whoever asked for it. While a context has
// one it is not culled. The caller ends it with Close.
type Attachment struct {
	context *Context
	tap     *kernel.Subscription
}

// Attach lets a front end of Jupyter's listen to the context from now on, also after a restart. What it asks goes through StartMessage
// and Forward. opts is as in package kernel. Errors: ErrRemoved, ErrKilled.
func (c *Context) Attach(opts *kernel.SubscribeOptions) (*Attachment, error) {
	a := &Attachment{context: c, tap: c.current().Subscribe(opts)}
	c.mu.Lock()
	err := context.Cause(c.sandbox.life)
	if c.removed {
		err = ErrRemoved
	}
	if err == nil {
		if c.attached == nil {
			c.attached = make(map[*Attachment]struct{})
		}
		c.attached[a] = struct{}{}
		c.idler.stop()
	}
	c.mu.Unlock()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox: attach: %w", err), a.tap.Close())
	}
	return a, nil
}

// Next returns the next message; ctx bounds the wait. After a *kernel.BreakError, the end of the kernel's process, it may be called
// again: it waits for the next process, see Context.Revive. Other errors: kernel.ErrSlowSubscriber, kernel.ErrClosed after Close,
// ErrRemoved, ErrKilled.
func (a *Attachment) Next(ctx context.Context) (*messaging.Message, error) {
	m, err := a.tap.Next(ctx)
	if errors.Is(err, kernel.ErrClosed) && !isBreak(err) {
		err = a.context.gone(err)
	}
	return m, err
}

func isBreak(err error) bool {
	var broken *kernel.BreakError
	return errors.As(err, &broken)
}

// gone prefers the end of the context as the reason of an error.
func (c *Context) gone(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if over := context.Cause(c.sandbox.life); over != nil {
		return over
	}
	if c.removed {
		return ErrRemoved
	}
	return err
}

// Put lets a message of the caller's own wait behind those that have come.
func (a *Attachment) Put(m *messaging.Message) { a.tap.Put(m) }

// Close ends the view; a waiting Next returns kernel.ErrClosed.
func (a *Attachment) Close() error {
	c := a.context
	c.mu.Lock()
	delete(c.attached, a)
	last := len(c.attached) == 0
	c.mu.Unlock()
	if last {
		c.idle()
	}
	return a.tap.Close()
}

// detachAll ends what listens to a context that is gone.
func (c *Context) detachAll() {
	c.mu.Lock()
	attached := slices.Collect(maps.Keys(c.attached))
	c.mu.Unlock()
	for _, a := range attached {
		_ = a.tap.Close() // it never fails
	}
}

// StartMessage is StartCode for an execute_request that a front end made: it takes the same turn and stands in the journal. The kernel
// sees its own id, see kernel.Conn.ExecuteMessage. It has no time limit, and what it shows is read with Attach: Run.Next gives the end
// alone. The caller calls Wait; InputRequests are answered with Run.Answer. Errors: kernel.ErrNotExecute and StartCode's.
func (c *Context) StartMessage(ctx context.Context, m *messaging.Message) (*Run, error) {
	content, err := m.Decode()
	request, ok := content.(*messaging.ExecuteRequest)
	if err != nil || !ok {
		return nil, fmt.Errorf("sandbox: run: %w", kernel.ErrNotExecute)
	}
	if err := checkCode(request.Code); err != nil {
		return nil, fmt.Errorf("sandbox: run: %w", err)
	}
	run, err := c.start(ctx, request.Code, RunOptions{Timeout: NoTimeout, Silent: request.Silent, message: m})
	if err != nil {
		return nil, fmt.Errorf("sandbox: run: %w", c.sandbox.reason(err))
	}
	return run, nil
}

// Answer passes on the input_reply with which a front end answers an InputRequest of a run of StartMessage's. The journal does not have the
// line: it may be a password. Errors: ErrPaused, ErrKilled, kernel.ErrDead.
func (r *Run) Answer(ctx context.Context, m *messaging.Message) error {
	r.context.journal.answered(r.record, "") // before it is sent, for the kernel is fast
	return r.context.Forward(ctx, m)
}

// Forward sends any other message of a front end's to the kernel at once, also past a run under way. Errors: ErrPaused, ErrKilled,
// ErrCulled, kernel.ErrDead.
func (c *Context) Forward(ctx context.Context, m *messaging.Message) error {
	return c.ask("forward", func(conn *kernel.Conn) error { return conn.Forward(ctx, m) })
}

// Revive starts the interpreter afresh if it has died, behind the runs before it; to one that lives it does nothing. The next
// StartCode or RunCode says all the same that the variables are lost, unless that has been said.
func (c *Context) Revive(ctx context.Context) error {
	err := c.takeTurn(ctx)
	if err == nil {
		defer c.passTurn()
		err = c.revive(ctx)
	}
	if err != nil {
		return fmt.Errorf("sandbox: revive context: %w", c.sandbox.reason(err))
	}
	return nil
}

// revive is called with the turn.
func (c *Context) revive(ctx context.Context) error {
	c.mu.Lock()
	k, reported := c.kernel, c.reported
	c.mu.Unlock()
	dead := k.Conn().Err()
	if dead == nil {
		return nil
	}
	dead = c.reason(dead)
	ctx, cancel := c.sandbox.startDeadline(ctx, "the new interpreter is")
	defer cancel()
	if err := c.reviveKernel(ctx); err != nil {
		return err
	}
	if !reported {
		c.mu.Lock()
		c.untold = dead
		c.mu.Unlock()
	}
	return nil
}
