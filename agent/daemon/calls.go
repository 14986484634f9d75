package daemon

import (
	"context"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
)

// calls remembers what was answered to calls that change something. A host whose connection broke meanwhile repeats them under the same
// name, and gets the same answer.
type calls struct {
	mu    sync.Mutex // guards what follows
	known map[string]*call
	ended []string // the oldest first
}

// call is one of them.
type call struct {
	done   chan struct{} // closed when answer and err are set
	answer connect.AnyResponse
	err    error

	cancel context.CancelCauseFunc

	mu    sync.Mutex // guards what follows
	undo  func()     // ends what it has started
	given bool       // it was given up
}

// Bounds of calls.
const (
	maxCalls    = 1024 // remembered; more are refused while so many are under way
	maxCallName = 64
	// callPatience bounds a call that nobody waits for any more.
	callPatience = 5 * time.Minute
)

func newCalls() *calls { return &calls{known: make(map[string]*call)} }

type callKey struct{}

// begin returns the call of a name, and whether it is new.
func (c *calls) begin(name string) (*call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[name]; known != nil {
		return known, false
	}
	if len(c.known) >= maxCalls {
		if len(c.ended) == 0 {
			return nil, false
		}
		delete(c.known, c.ended[0])
		c.ended = c.ended[1:]
	}
	started := &call{done: make(chan struct{})}
	c.known[name] = started
	return started, true
}

func (c *calls) end(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, name)
}

// once answers a call, which goes on when the connection breaks.
func (c *calls) once(
	ctx context.Context, name string, do func(context.Context) (connect.AnyResponse, error),
) (connect.AnyResponse, error) {
	if len(name) > maxCallName {
		return nil, connect.NewError(connect.CodeInvalidArgument, nil)
	}
	one, first := c.begin(name)
	if one == nil {
		return nil, connect.NewError(connect.CodeResourceExhausted, nil)
	}
	if first {
		own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		one.mu.Lock()
		one.cancel = cancel
		if one.given {
			cancel(context.Canceled)
		}
		one.mu.Unlock()
		own, stop := context.WithTimeout(own, callPatience)
		defer stop()
		one.answer, one.err = do(context.WithValue(own, callKey{}, one))
		close(one.done)
		c.end(name)
	}
	select {
	case <-one.done:
		return one.answer, one.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// abandon gives a call up.
func (c *calls) abandon(name string) {
	if len(name) > maxCallName {
		return
	}
	one, first := c.begin(name)
	if one == nil {
		return
	}
	if first { // it comes later, or never
		one.given, one.err = true, connect.NewError(connect.CodeCanceled, context.Canceled)
		close(one.done)
		c.end(name)
		return
	}
	one.mu.Lock()
	one.given = true
	undo := one.undo
	if one.cancel != nil {
		one.cancel(context.Canceled)
	}
	one.mu.Unlock()
	if undo != nil {
		undo()
	}
}

// undoable notes how what a call has started is ended should it be given up, and does so if it was already.
func undoable(ctx context.Context, undo func()) {
	one, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return
	}
	one.mu.Lock()
	one.undo = undo
	given := one.given
	one.mu.Unlock()
	if given {
		undo()
	}
}

// interceptor turns errors into those of Connect, and makes named calls happen once.
type interceptor struct{ d *Daemon }

func (i *interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		do := func(ctx context.Context) (connect.AnyResponse, error) {
			answer, err := next(ctx, request)
			if err != nil {
				return nil, agentpb.ConnectError(err)
			}
			return answer, nil
		}
		if name := request.Header().Get(agentpb.CallHeader); name != "" {
			return i.d.calls.once(ctx, name, do)
		}
		return do(ctx)
	}
}

func (i *interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (i *interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := next(ctx, conn); err != nil {
			return agentpb.ConnectError(err)
		}
		return nil
	}
}
