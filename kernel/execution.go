package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Event is one thing a run did. Content is a wire content, or a *Truncated, the only kind the wire does not have.
type Event struct {
	Time    time.Time // of the message; of its reading when the kernel gave none
	Content messaging.Content
	Message *messaging.Message // with buffers and metadata; nil for Truncated
}

// Truncated stands where messages of a run were left out because they were not read in time.
type Truncated struct {
	Messages int
	Bytes    int64 // of their texts and, for other messages, of their encoded contents
	// IdleLost says that the kernel's idle never came, so outputs before it may be missing uncounted.
	IdleLost bool
}

// MsgType is a name of ours; no message of this type is on the wire.
func (*Truncated) MsgType() string { return "ds_sandbox_truncated" }

// ExecuteOptions of Conn.Execute.
type ExecuteOptions struct {
	Metadata messaging.MIMEBundle // of the execute_request
	// Protocol makes events of the kernel's statuses and of its reply too.
	Protocol bool
	// OnMessage sees every message of the run as it comes, in the order of its arrival, also those that no reader takes in
	// time. It is called on the connection's own goroutine: it must not block and not call the Execution.
	OnMessage func(*messaging.Message)
	// OnLate sees what the kernel publishes for the run after its end, but for statuses: what threads of its code show. It is called as
	// OnMessage is, of the last 256 runs of the connection.
	OnLate func(*messaging.Message)
	// OnStarted is called once when the kernel begins with the run, on the connection's own goroutine: it must
	// not block and not call the Execution.
	OnStarted func()
	// Unread says that nobody reads events, so that none wait: Next gives the end alone. An InputRequest is answered by Forward.
	Unread bool
}

// Execution is one execute_request under way. Its context is the one given to Execute: when that is done, the kernel is
// interrupted, and the run goes on until it has ended or Options.InterruptGrace has passed.
//
// The caller reads events with Next until io.EOF, or calls Close.
type Execution struct {
	conn    *Conn
	ctx     context.Context
	id      string
	request *messaging.ExecuteRequest
	onStart func() // may be nil
	onEach  func(*messaging.Message)
	onLate  func(*messaging.Message) // may be nil
	entire  bool                     // statuses and the reply are events too
	unread  bool                     // nothing is queued
	foreign bool                     // the request is not ours, and may be one that the kernel does not take
	unwatch func() bool              // stops watching ctx

	done chan struct{} // closed when the run is over
	wake chan struct{} // holds one token when the reader waits and something changed

	mu         sync.Mutex // guards what follows
	backlog    backlog
	waiting    bool // the reader waits on wake
	phase      phase
	reply      *messaging.ExecuteReply
	gotReply   bool
	gotIdle    bool
	asking     *messaging.Message // the input_request to answer
	err        error              // why the run ended early
	over       bool
	cancelled  bool
	wanted     int    // interrupts asked for and not sent yet
	interrupts int    // being sent
	graceTimer *Timer // for the idle or the reply that is missing
	haltTimer  *Timer // for an interrupted run to end
}

// phase is how far the kernel is with a run.
type phase int

const (
	phaseSent phase = iota
	phaseBusy       // the kernel took the request
	phaseRuns       // the code runs, so an interrupt reaches it
)

// Execute runs code when its turn comes: one run of a connection is on the wire at a time. ctx bounds the wait
// for the turn, and then the run, see Execution. Errors before the run: ErrDead, ErrClosed, ErrStuck, the cause of ctx.
func (c *Conn) Execute(ctx context.Context, req *messaging.ExecuteRequest, opts *ExecuteOptions) (*Execution, error) {
	m, err := c.opts.Session.New(messaging.Shell, req)
	if err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	if opts == nil {
		opts = new(ExecuteOptions)
	}
	if len(opts.Metadata) > 0 {
		if m.Metadata, err = json.Marshal(opts.Metadata); err != nil {
			return nil, fmt.Errorf("kernel: metadata of execute_request: %w", err)
		}
	}
	return c.execute(ctx, m, &Execution{request: req}, opts)
}

// execute sends m when its turn comes; e has what is special about the run.
func (c *Conn) execute(ctx context.Context, m *messaging.Message, e *Execution, opts *ExecuteOptions) (*Execution, error) {
	if err := c.takeTurn(ctx); err != nil {
		return nil, fmt.Errorf("kernel: execute: %w", err)
	}
	e.conn, e.ctx, e.id = c, ctx, m.Header.MsgID
	e.onStart, e.onEach, e.onLate, e.entire, e.unread = opts.OnStarted, opts.OnMessage, opts.OnLate, opts.Protocol, opts.Unread
	e.done, e.wake = make(chan struct{}), make(chan struct{}, 1)
	e.backlog = newBacklog(&c.opts)
	var err error
	c.update(func(f *inFlight) {
		switch err = f.refusal(); {
		case err != nil:
		case f.executions[e.id] != nil || f.calls[e.id] != nil:
			err = fmt.Errorf("msg_id %q is in use", e.id)
		default:
			f.executions[e.id] = e
		}
	})
	if err != nil {
		c.passTurn()
		return nil, fmt.Errorf("kernel: execute: %w", err)
	}
	if err := c.transport.Send(ctx, m); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		e.finish(fmt.Errorf("send: %w", err))
		return nil, fmt.Errorf("kernel: execute: %w", c.sendError(err))
	}
	stop := context.AfterFunc(ctx, e.cancel)
	e.mu.Lock()
	e.unwatch = stop
	over := e.over
	if e.foreign && !over && e.phase == phaseSent {
		e.awaitStart()
	}
	e.mu.Unlock()
	if over {
		stop()
	}
	return e, nil
}

// ID is the msg_id of the request.
func (e *Execution) ID() string { return e.id }

// Done is closed when the run is over; events may still wait to be read.
func (e *Execution) Done() <-chan struct{} { return e.done }

// Next returns the next event; ctx bounds this wait only. After the last event it returns io.EOF when the run
// ended as runs do, however the code fared, or why it ended otherwise: ErrDead, ErrClosed,
// ErrInterruptTimeout, ErrNoReply, or the cause of the run's context.
func (e *Execution) Next(ctx context.Context) (*Event, error) {
	for {
		e.mu.Lock()
		next, ok := e.backlog.pop()
		over, err := e.over, e.err
		e.waiting = !ok && !over
		e.mu.Unlock()
		switch {
		case ok:
			if event := e.event(next); event != nil {
				return event, nil
			}
			continue
		case over && err == nil:
			return nil, io.EOF
		case over:
			return nil, err
		}
		select {
		case <-e.wake:
		case <-e.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// event decodes an entry; nil when it can't be read, which was reported.
func (e *Execution) event(next entry) *Event {
	if next.message == nil {
		gap := next.gap
		return &Event{Time: time.Now(), Content: &gap}
	}
	content, err := next.message.Decode()
	if err != nil {
		e.conn.opts.OnProtocolError(err)
		return nil
	}
	at := next.message.Header.Time()
	if at.IsZero() {
		at = time.Now()
	}
	return &Event{Time: at, Content: content, Message: next.message}
}

// All is Next as an iterator; it ends after the last event, or with an error that Next gave.
func (e *Execution) All(ctx context.Context) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for {
			event, err := e.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Reply answers the InputRequest that came last; messaging.EndOfInput raises EOFError in the code.
// Without one it returns ErrNoInput.
func (e *Execution) Reply(ctx context.Context, value string) error {
	e.mu.Lock()
	asking := e.asking
	e.asking = nil
	e.mu.Unlock()
	if asking == nil {
		return fmt.Errorf("kernel: reply: %w", ErrNoInput)
	}
	m, err := asking.Child(messaging.Stdin, &messaging.InputReply{Value: value})
	if err != nil {
		return fmt.Errorf("kernel: reply: %w", err)
	}
	m.Header.Session = e.conn.opts.Session.ID
	m.Header.Username = e.conn.opts.Session.Username
	if err := e.conn.transport.Send(ctx, m); err != nil {
		return fmt.Errorf("kernel: reply: %w", e.conn.sendError(err))
	}
	return nil
}

// Wait waits for the end of the run and returns the kernel's reply; ctx bounds this wait only. It needs no
// reader: unread events wait within their budget. Errors are those of Next; the reply comes with them when there was one.
func (e *Execution) Wait(ctx context.Context) (*messaging.ExecuteReply, error) {
	select {
	case <-e.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reply, e.err
}

// Truncated is how many bytes of output were left out so far because they were not read in time.
func (e *Execution) Truncated() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.backlog.lost()
}

// Close interrupts the run if it is under way, drops its unread events and waits until it is over, at most
// Options.InterruptGrace. It is idempotent.
func (e *Execution) Close() error {
	e.cancel()
	<-e.done
	e.mu.Lock()
	defer e.mu.Unlock()
	e.backlog.drop()
	return nil
}
