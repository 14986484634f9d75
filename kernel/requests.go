package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// call is a request other than execute that waits for its reply.
type call struct {
	conn   *Conn
	id     string
	ch     messaging.Channel
	answer chan<- answer // buffered; takes the first answer, further ones are dropped
	idle   sync.Once     // starts the wait for a reply that is later than its idle
}

// answer is what came of a call.
type answer struct {
	reply *messaging.Message
	err   error
}

// deliver takes a message of this call from the demultiplexer.
func (k *call) deliver(m *messaging.Message) {
	switch {
	case m.Channel == k.ch && strings.HasSuffix(m.Header.MsgType, "_reply"):
		k.give(answer{reply: m})
	case m.Channel == messaging.IOPub && m.Header.MsgType == "status":
		content, err := m.Decode()
		if err != nil || content.(*messaging.Status).ExecutionState != messaging.StateIdle {
			return
		}
		// Unknown requests get busy and idle but no reply; a reply may be a little later than its idle.
		k.idle.Do(func() {
			k.conn.opts.Clock.AfterFunc(k.conn.opts.ReplyGrace, func() { k.give(answer{err: ErrNoReply}) })
		})
	}
}

func (k *call) give(a answer) {
	select {
	case k.answer <- a:
	default:
	}
}

// forget takes the call off the connection.
func (k *call) forget() {
	k.conn.update(func(f *inFlight) { delete(f.calls, k.id) })
}

// startCall sends a request whose answer goes to the buffered channel. The caller calls forget.
func (c *Conn) startCall(ctx context.Context, ch messaging.Channel, body messaging.Content, to chan<- answer) (*call, error) {
	m, err := c.opts.Session.New(ch, body)
	if err != nil {
		return nil, err
	}
	k := &call{conn: c, id: m.Header.MsgID, ch: ch, answer: to}
	c.update(func(f *inFlight) {
		// A stuck kernel may still answer on control; only the end of the connection refuses a call there.
		if err = f.refusal(); errors.Is(err, ErrStuck) && ch == messaging.Control {
			err = nil
		}
		if err == nil {
			f.calls[k.id] = k
		}
	})
	if err != nil {
		return nil, err
	}
	if err := c.transport.Send(ctx, m); err != nil {
		k.forget()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, c.sendError(err)
	}
	return k, nil
}

// sendError prefers the connection's own end as the reason why nothing could be sent. A socket that can't be written to is
// about to be noticed by its reader too.
func (c *Conn) sendError(err error) error {
	select {
	case <-c.life.Done():
		return c.Err()
	case <-time.After(4 * drainGrace):
		return err
	}
}

// Call sends a request on shell or control and waits for its reply. A request on shell waits behind the run under
// way. Errors: ErrNoReply when the kernel does not know the request, ErrDead, ErrClosed, ErrStuck, the cause of ctx.
// A reply with status "error" is no error here; see the typed calls.
func (c *Conn) Call(ctx context.Context, ch messaging.Channel, body messaging.Content) (*messaging.Message, error) {
	answers := make(chan answer, 1)
	k, err := c.startCall(ctx, ch, body, answers)
	if err != nil {
		return nil, fmt.Errorf("kernel: %s: %w", body.MsgType(), err)
	}
	defer k.forget()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		a.err = context.Cause(ctx)
	case <-c.life.Done():
		a.err = c.Err()
	}
	if a.err != nil {
		return nil, fmt.Errorf("kernel: %s: %w", body.MsgType(), a.err)
	}
	return a.reply, nil
}

// Notify sends a message that gets no reply, such as comm_msg, with its buffers.
func (c *Conn) Notify(ctx context.Context, ch messaging.Channel, body messaging.Content, buffers ...[]byte) error {
	m, err := c.opts.Session.New(ch, body)
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	m.Buffers = buffers
	if err := c.transport.Send(ctx, m); err != nil {
		return fmt.Errorf("kernel: %s: %w", body.MsgType(), c.sendError(err))
	}
	return nil
}

// ReplyError is a reply with status "error" or "aborted".
type ReplyError struct {
	Request string // message type of the request
	messaging.ReplyError
}

func (e *ReplyError) Error() string {
	if e.EName == "" {
		return "kernel: " + e.Request + ": refused by the kernel"
	}
	return "kernel: " + e.Request + ": " + e.EName + ": " + e.EValue
}

// ask is Call with a typed reply.
func ask[R messaging.Content](ctx context.Context, c *Conn, ch messaging.Channel, req messaging.Content) (R, error) {
	var none R
	m, err := c.Call(ctx, ch, req)
	if err != nil {
		return none, err
	}
	content, err := m.Decode()
	if err != nil {
		return none, fmt.Errorf("kernel: %s: %w", req.MsgType(), err)
	}
	reply, ok := content.(R)
	if !ok {
		return none, fmt.Errorf("kernel: %s: answered by %s", req.MsgType(), content.MsgType())
	}
	var status struct {
		Status messaging.ReplyStatus `json:"status"`
		messaging.ReplyError
	}
	if json.Unmarshal(m.Content, &status) == nil &&
		(status.Status == messaging.StatusError || status.Status == messaging.StatusAborted) {
		return none, &ReplyError{Request: req.MsgType(), ReplyError: status.ReplyError}
	}
	return reply, nil
}

// KernelInfo asks what the kernel is.
func (c *Conn) KernelInfo(ctx context.Context) (*messaging.KernelInfoReply, error) {
	return ask[*messaging.KernelInfoReply](ctx, c, messaging.Shell, &messaging.KernelInfoRequest{})
}

// Complete asks how code may go on at cursor, a position in unicode code points.
func (c *Conn) Complete(ctx context.Context, code string, cursor int) (*messaging.CompleteReply, error) {
	return ask[*messaging.CompleteReply](ctx, c, messaging.Shell, &messaging.CompleteRequest{Code: code, CursorPos: cursor})
}

// Inspect asks about the name at cursor, a position in unicode code points; detail 1 asks for its source too.
func (c *Conn) Inspect(ctx context.Context, code string, cursor, detail int) (*messaging.InspectReply, error) {
	return ask[*messaging.InspectReply](ctx, c, messaging.Shell,
		&messaging.InspectRequest{Code: code, CursorPos: cursor, DetailLevel: detail})
}

// IsComplete asks whether code may be run as it stands.
func (c *Conn) IsComplete(ctx context.Context, code string) (*messaging.IsCompleteReply, error) {
	return ask[*messaging.IsCompleteReply](ctx, c, messaging.Shell, &messaging.IsCompleteRequest{Code: code})
}

// History asks for earlier inputs.
func (c *Conn) History(ctx context.Context, req *messaging.HistoryRequest) (*messaging.HistoryReply, error) {
	return ask[*messaging.HistoryReply](ctx, c, messaging.Shell, req)
}

// interrupt stops what the kernel runs, by the option or by message.
func (c *Conn) interrupt(ctx context.Context) error {
	if c.opts.Interrupt != nil {
		return c.opts.Interrupt(ctx)
	}
	_, err := c.Call(ctx, messaging.Control, &messaging.InterruptRequest{})
	if errors.Is(err, ErrNoReply) {
		return nil
	}
	return err
}
