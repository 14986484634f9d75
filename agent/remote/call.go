package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// kind says how a call is made.
type kind struct {
	limit time.Duration // for an answer; none when 0
	named bool          // it changes something, so it has a name, and happens once however often it is sent
}

// The kinds of calls.
var (
	quick  = kind{limit: 30 * time.Second}
	change = kind{limit: 30 * time.Second, named: true}
	start  = kind{limit: 3 * time.Minute, named: true}
	// bulk is what takes as long as there are files.
	bulk     = kind{limit: 15 * time.Minute, named: true}
	bulkRead = kind{limit: 15 * time.Minute}
	// forever waits for what may never happen; the heartbeat tells that the agent is there.
	forever = kind{}
)

// Bounds of repeating.
const (
	maxTries    = 8
	lossDelay   = 100 * time.Millisecond // by which a call may notice a lost connection before the session does
	abandonTime = 5 * time.Second
)

// call makes a call, again on another connection when one breaks.
func call[Q, A any](
	ctx context.Context, c *Client, k kind, do func(context.Context, *connect.Request[Q]) (*connect.Response[A], error), message *Q,
) (*A, error) {
	name := ""
	if k.named {
		name = rand.Text()
	}
	begin := time.Now()
	for try := 1; ; try++ {
		if err := c.ready(ctx); err != nil {
			return nil, err
		}
		s, err := c.current(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := once(ctx, c, s, k, name, do, message)
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			c.abandon(name)
			return nil, context.Cause(ctx)
		}
		if err = c.verdict(s, err); !errors.Is(err, errBroken) {
			return nil, err
		}
		if err := c.again(ctx, try, begin); err != nil {
			return nil, err
		}
	}
}

// again waits a little before what failed for a broken connection is tried again, and gives up when that has gone on for too long.
func (c *Client) again(ctx context.Context, try int, begin time.Time) error {
	if try >= maxTries && time.Since(begin) > c.opts.Patience {
		return fmt.Errorf("%w: it broke %d times", ErrLost, try)
	}
	timer := time.NewTimer(min(time.Duration(try)*firstBackoff, lastBackoff/4))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.life.Done():
		return ErrClosed
	}
}

// ready refuses calls while the agent is frozen.
func (c *Client) ready(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.isFrozen() {
		return backends.ErrPaused
	}
	return nil
}

// once makes a call on one session. The deadline of ctx is kept here and not told: the other side would keep it a little earlier, and
// in other words.
func once[Q, A any](
	ctx context.Context, c *Client, s *session, k kind, name string,
	do func(context.Context, *connect.Request[Q]) (*connect.Response[A], error), message *Q,
) (*A, error) {
	own, cancel := context.WithCancelCause(context.WithValue(context.WithoutCancel(ctx), sessionKey{}, s))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	defer context.AfterFunc(c.life, func() { cancel(ErrClosed) })()
	if k.limit > 0 {
		timer := time.AfterFunc(k.limit, func() { cancel(fmt.Errorf("%w within %v", ErrNoAnswer, k.limit)) })
		defer timer.Stop()
	}
	request := connect.NewRequest(message)
	if name != "" {
		request.Header().Set(agentpb.CallHeader, name)
	}
	answer, err := do(own, request)
	if err != nil {
		if own.Err() != nil {
			return nil, context.Cause(own)
		}
		return nil, err
	}
	return answer.Msg, nil
}

// errBroken says that a call failed because its connection did.
var errBroken = errors.New("connection broke")

// verdict is what an error of a call means.
func (c *Client) verdict(s *session, err error) error {
	var told *connect.Error
	if !errors.As(err, &told) {
		if c.life.Err() != nil {
			return ErrClosed
		}
		return err // ours
	}
	if connect.IsWireError(told) {
		if told.Code() == connect.CodeCanceled && s.lostWithin(lossDelay) {
			return errBroken // the agent, which ends
		}
		return plainError(told)
	}
	if s.lostWithin(lossDelay) {
		return errBroken
	}
	if told.Code() == connect.CodeUnimplemented { // there is no such path
		return fmt.Errorf("remote: %w: the agent in the sandbox is older than this program: make the sandbox again", backends.ErrUnsupported)
	}
	return fmt.Errorf("%w: %w", ErrProtocol, short2(told))
}

// plainError is the error that the agent told.
func plainError(err error) error {
	var told *connect.Error
	if !errors.As(err, &told) {
		return err
	}
	if f := agentpb.FaultOf(told); f != nil {
		return f.Err()
	}
	return short2(told)
}

// short2 keeps the beginning of an error that the agent may have written.
func short2(err error) error { return errors.New(short(err.Error())) }

// short is the beginning of a text of the agent's.
func short(text string) string {
	const most = 1024
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// abandon tells the agent that nobody waits for a call any more.
func (c *Client) abandon(name string) {
	if name == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.session
	if s == nil || c.fatal != nil {
		return
	}
	c.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithValue(c.life, sessionKey{}, s), abandonTime)
		defer cancel()
		_, _ = c.host.Abandon(ctx, connect.NewRequest(&agentpb.AbandonRequest{Call: name})) // else it ends with the sandbox
	})
}

// closeWait is how long a Close, which has no context, waits for the agent to hear of it.
const closeWait = time.Second

// afterwards tells the agent what nobody needs an answer to, in the order of calls while it answers. One that does not
// holds nobody up: it is
// told later, if it comes back.
func (c *Client) afterwards(tell func(ctx context.Context)) {
	c.mu.Lock()
	if c.fatal != nil {
		c.mu.Unlock()
		return
	}
	told := make(chan struct{})
	c.work.Go(func() {
		defer close(told)
		tell(c.life)
	})
	c.mu.Unlock()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-told:
	case <-timer.C:
	}
}
