package kernel

import (
	"context"
	"fmt"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Adopt goes on with a kernel that lives already, whose earlier program has ended: it connects and waits until the kernel has
// answered. The backend gives again what the kernel sent since the last run whose end that program had heard of; if that tells of a
// run, it is returned with all its outputs so far: it may be under way, and has the turn then, or over. Without one the Execution
// is nil. opts and run are as in Start and Execute. Errors as Start's.
func Adopt(
	ctx context.Context, in backends.Instance, cfg backends.KernelConfig, process backends.KernelProcess, opts *Options, run *ExecuteOptions,
) (*Kernel, *Execution, error) {
	k := &Kernel{in: in, cfg: cfg, opts: opts.withDefaults()}
	if run == nil {
		run = new(ExecuteOptions)
	}
	transport, err := process.Connect(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("kernel: adopt: %w", err)
	}
	found := &adoption{opts: run}
	l := k.converse(transport, process, found)
	// Control, because shell waits for the run under way. What is given again comes before the answer.
	if l.info, err = l.conn.readyBy(ctx, messaging.Control); err != nil {
		l.stop()
		return nil, nil, fmt.Errorf("kernel: adopt: %w", k.handshakeError(ctx, &l, err))
	}
	k.live = l
	return k, found.finish(), nil
}

// adoption finds runs of an earlier program in what their kernel sends.
type adoption struct {
	opts *ExecuteOptions

	mu   sync.Mutex // guards what follows; held across nothing that waits
	run  *Execution // the latest
	over bool
}

// take is the run that m belongs to, if an earlier program began it; nil for anything else.
func (a *adoption) take(c *Conn, m *messaging.Message) *Execution {
	if !a.begins(m) {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return nil
	}
	if a.run != nil {
		a.run.finish(ErrNoReply) // a kernel runs one at a time
	}
	if !c.turn.TryAcquire(1) {
		return nil // never: nobody else has the connection yet
	}
	e := &Execution{
		conn: c, ctx: context.Background(), id: m.Parent.MsgID, request: &messaging.ExecuteRequest{AllowStdin: true},
		onStart: a.opts.OnStarted, onEach: a.opts.OnMessage, entire: a.opts.Protocol,
		done: make(chan struct{}), wake: make(chan struct{}, 1), backlog: newBacklog(&c.opts),
	}
	c.update(func(f *inFlight) { f.executions[e.id] = e })
	a.run = e
	return e
}

// begins reports whether m is the kernel's word that it has begun with a run. Of a run that is over only its end may be left.
func (a *adoption) begins(m *messaging.Message) bool {
	if m.Channel != messaging.IOPub || m.Header.MsgType != "status" || m.ParentID() == "" || m.Parent.MsgType != "execute_request" {
		return false
	}
	content, err := m.Decode()
	status, ok := content.(*messaging.Status)
	return err == nil && ok && status.ExecutionState == messaging.StateBusy
}

// finish ends the search and returns the run that was found last.
func (a *adoption) finish() *Execution {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	return a.run
}

// Bind makes ctx the context of a run that Adopt returned, as if it had been given to Execute. It is called once at most.
func (e *Execution) Bind(ctx context.Context) {
	stop := context.AfterFunc(ctx, e.cancel)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx, e.unwatch = ctx, stop
	if e.over {
		stop()
	}
}
