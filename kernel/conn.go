package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Options of a Conn. Nil and zero fields are the defaults.
type Options struct {
	Session        *messaging.Session // identity on the wire; a fresh one
	QueueBytes     int64              // budget of a run's unread events in memory, bytes; 16 MiB
	Spool          *Spool             // where those beyond the budget wait; nil leaves them out
	IdleGrace      time.Duration      // iopub silence after the reply that ends a run whose idle was lost; 5 s
	ReplyGrace     time.Duration      // wait for a reply after its idle before asking again; 1 s
	InterruptGrace time.Duration      // how long an interrupted run may take to end; 5 s

	// Clock counts the graces, so that they do not run while the kernel is paused; one of its own, which always runs.
	Clock *Clock

	// Interrupt stops what the kernel runs. Nil sends interrupt_request on control.
	Interrupt func(ctx context.Context) error
	// OnProtocolError hears of messages that could not be read; the session goes on. It is called on the
	// reader's goroutine and must not block.
	OnProtocolError func(error)
	Logger          *slog.Logger // nil discards
}

// The defaults of Options.
const (
	defaultQueueBytes     = 16 << 20
	defaultIdleGrace      = 5 * time.Second
	defaultReplyGrace     = time.Second
	defaultInterruptGrace = 5 * time.Second
)

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Session == nil {
		out.Session = messaging.NewSession("")
	}
	if out.QueueBytes <= 0 {
		out.QueueBytes = defaultQueueBytes
	}
	if out.IdleGrace <= 0 {
		out.IdleGrace = defaultIdleGrace
	}
	if out.ReplyGrace <= 0 {
		out.ReplyGrace = defaultReplyGrace
	}
	if out.InterruptGrace <= 0 {
		out.InterruptGrace = defaultInterruptGrace
	}
	if out.Clock == nil {
		out.Clock = new(Clock)
	}
	if out.OnProtocolError == nil {
		out.OnProtocolError = func(error) {}
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out
}

// Conn is a conversation with one kernel. The caller ends it with Close.
type Conn struct {
	transport messaging.Transport
	opts      Options
	owned     bool      // a Kernel watches the process and calls exited
	adopting  *adoption // of runs that others began; nil for none

	mu    sync.Mutex // guards state; taken through update, never held across I/O
	state inFlight

	turn     *semaphore.Weighted // held by the run on the wire
	life     context.Context     // ends with the conversation; its cause is Err
	end      context.CancelCauseFunc
	readDone chan struct{} // closed when the demultiplexer has ended
	heard    chan struct{} // closed by the first iopub message: the subscription is active
}

// inFlight is all that a connection has under way.
type inFlight struct {
	executions    map[string]*Execution // by msg_id of the request
	calls         map[string]*call
	subscriptions map[*Subscription]struct{}
	late          lateOutput // runs that are over
	ready         bool
	closing       bool
	stuck         *abandoned // the run that did not react to its interrupt; nil while there is none
	heard         bool
	lastIOPub     time.Time
	unclaimed     int64 // messages nobody asked for
	exit          error // how the process ended, when known before the transport's end
	err           error // set once, when the conversation is over
}

// refusal says why nothing new may be asked.
func (f *inFlight) refusal() error {
	switch {
	case f.err != nil:
		return f.err
	case f.closing:
		return ErrClosed
	case f.stuck != nil:
		return ErrStuck
	}
	return nil
}

// update is the only way to touch c.state.
func (c *Conn) update(f func(*inFlight)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.state)
}

// New starts a conversation over t, which the Conn owns from then on. It sends nothing; Ready does the
// first exchange.
func New(t messaging.Transport, opts *Options) *Conn { return newConn(t, opts, false, nil) }

func newConn(t messaging.Transport, opts *Options, owned bool, adopting *adoption) *Conn {
	c := &Conn{
		transport: t,
		opts:      opts.withDefaults(),
		owned:     owned,
		adopting:  adopting,
		turn:      semaphore.NewWeighted(1),
		readDone:  make(chan struct{}),
		heard:     make(chan struct{}),
		state: inFlight{
			executions:    make(map[string]*Execution),
			calls:         make(map[string]*call),
			subscriptions: make(map[*Subscription]struct{}),
		},
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	go c.read()
	return c
}

// read is the only goroutine of a Conn. Over a transport that pushes, the demultiplexer runs on the transport's
// readers and this waits for their end.
func (c *Conn) read() {
	defer close(c.readDone)
	if p, ok := c.transport.(messaging.Pusher); ok {
		c.broken(p.Push(c.dispatch))
		return
	}
	for {
		m, err := c.transport.Recv(context.Background())
		if err != nil {
			c.broken(err)
			return
		}
		c.dispatch(m)
	}
}

// dispatch is the demultiplexer: it gives a message to the run or call it belongs to, and to subscriptions. It may
// be called for several channels at the same time.
func (c *Conn) dispatch(m *messaging.Message) {
	parent := m.ParentID()
	var e *Execution
	var answered *call
	var late func(*messaging.Message)
	var unwanted *abandoned
	c.update(func(f *inFlight) {
		if m.Channel == messaging.IOPub {
			f.lastIOPub = time.Now()
			if !f.heard {
				f.heard = true
				close(c.heard)
			}
		}
		e = f.executions[parent]
		if e == nil {
			answered = f.calls[parent]
		}
		claimed := e != nil || answered != nil
		if f.stuck != nil && f.stuck.id == parent {
			unwanted = f.deliverAbandoned(m)
		} else if !claimed {
			late = f.late.of(m)
		}
		for s := range f.subscriptions {
			s.offer(m, claimed)
		}
		if !claimed && late == nil && len(f.subscriptions) == 0 {
			f.unclaimed++
		}
	})
	if e == nil && answered == nil && c.adopting != nil {
		e = c.adopting.take(c, m)
	}
	switch {
	case e != nil:
		e.deliver(m)
	case answered != nil:
		answered.deliver(m)
	case late != nil:
		late(m)
	}
	if unwanted != nil {
		go c.interruptAbandoned(unwanted)
	}
}

// exited tells the connection how its process ended. What the kernel still sent is read first, up to
// drainGrace.
func (c *Conn) exited(status error) {
	known := false
	c.update(func(f *inFlight) {
		known = f.err != nil
		f.exit = status
	})
	if known {
		return
	}
	select {
	case <-c.readDone:
	case <-time.After(drainGrace):
	}
	c.fail(fmt.Errorf("%w: %w", ErrDead, status))
}

// drainGrace bounds how long a dead kernel's last messages are read.
const drainGrace = 50 * time.Millisecond

// exitGrace bounds how long an exit status is awaited when the connection broke first. On a busy machine it takes its time, and it says
// what happened.
const exitGrace = time.Second

// broken ends the conversation because the transport did.
func (c *Conn) broken(cause error) {
	var closing bool
	var exit error
	c.update(func(f *inFlight) { closing, exit = f.closing, f.exit })
	switch {
	case closing:
		c.fail(ErrClosed)
	case exit != nil:
		c.fail(fmt.Errorf("%w: %w", ErrDead, exit))
	case !c.owned:
		c.fail(connectionError(cause))
	default:
		// The exit status is better news than "connection closed", and normally microseconds away.
		time.AfterFunc(exitGrace, func() { c.fail(connectionError(cause)) })
	}
}

func connectionError(cause error) error {
	if errors.Is(cause, io.EOF) {
		return fmt.Errorf("%w: connection closed by the kernel", ErrDead)
	}
	return fmt.Errorf("%w: %w", ErrDead, cause)
}

// fail ends the conversation once; everything in flight ends with err.
func (c *Conn) fail(err error) {
	var executions []*Execution
	first := false
	c.update(func(f *inFlight) {
		if f.err != nil {
			return
		}
		first = true
		f.err = err
		for _, e := range f.executions {
			executions = append(executions, e)
		}
		for s := range f.subscriptions {
			s.broken(err)
		}
		clear(f.subscriptions)
	})
	if !first {
		return
	}
	c.end(err)
	for _, e := range executions {
		e.finish(err)
	}
	_ = c.transport.Close() // reading has ended or is of no use any more
}

// Done is closed when the conversation is over: closed, broken, or the kernel gone.
func (c *Conn) Done() <-chan struct{} { return c.life.Done() }

// Err says why the conversation is over; nil while it lasts. It wraps ErrClosed or ErrDead.
func (c *Conn) Err() error {
	return context.Cause(c.life)
}

// Close ends the conversation and everything in flight with ErrClosed, closes the transport and waits for
// the demultiplexer. It does not end the kernel.
func (c *Conn) Close() error {
	c.update(func(f *inFlight) { f.closing = true })
	err := c.transport.Close()
	<-c.readDone
	c.fail(ErrClosed)
	return err
}
