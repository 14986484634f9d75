package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Messages that somebody else made, a front end of Jupyter's for one, go to the kernel with their own header, so that what comes of
// them carries the ids that their sender waits for. It reads that from a Subscription.

// ExecuteMessage is Execute for an execute_request that somebody else made. It is sent as it is but for stop_on_error, which is
// false: the requests behind it wait here and not in the kernel, and ipykernel would also abort one of another's that comes a moment
// after the error. Who passes on several requests of one sender drops those behind a run that failed. A request that the kernel
// does not take, because it can't read it or has seen it before, ends with ErrNoReply. Further errors: ErrNotExecute and Execute's.
func (c *Conn) ExecuteMessage(ctx context.Context, m *messaging.Message, opts *ExecuteOptions) (*Execution, error) {
	req, content, err := readExecute(m)
	if err != nil {
		return nil, fmt.Errorf("kernel: execute: %w", err)
	}
	if opts == nil {
		opts = new(ExecuteOptions)
	}
	sent := *m
	sent.Identities, sent.Content = nil, content
	return c.execute(ctx, &sent, &Execution{request: req, foreign: true}, opts)
}

// readExecute reads a request, and writes its content anew as it is sent.
func readExecute(m *messaging.Message) (*messaging.ExecuteRequest, json.RawMessage, error) {
	if m.Channel != messaging.Shell || m.Header.MsgID == "" {
		return nil, nil, ErrNotExecute
	}
	content, err := m.Decode()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNotExecute, err)
	}
	req, ok := content.(*messaging.ExecuteRequest)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotExecute, m.Header.MsgType)
	}
	members := make(map[string]json.RawMessage)
	if err := json.Unmarshal(messaging.ValidJSON(m.Content), &members); err != nil || members["code"] == nil {
		return nil, nil, fmt.Errorf("%w: it has no code", ErrNotExecute)
	}
	members["stop_on_error"] = json.RawMessage("false")
	if members["silent"] == nil { // which ipykernel 6 can't do without
		members["silent"] = json.RawMessage("false")
	}
	written, err := json.Marshal(members)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNotExecute, err)
	}
	return req, written, nil
}

// Forward sends any other message that somebody else made, as it is, without waiting for a turn. Errors: ErrDead, ErrClosed, ErrStuck
// but on control, the cause of ctx.
func (c *Conn) Forward(ctx context.Context, m *messaging.Message) error {
	err := c.refusal()
	if err == nil || errors.Is(err, ErrStuck) && m.Channel == messaging.Control {
		sent := *m
		sent.Identities = nil
		if err = c.transport.Send(ctx, &sent); err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if err != nil {
			err = c.sendError(err)
		}
	}
	if err != nil {
		return fmt.Errorf("kernel: forward %s: %w", m.Header.MsgType, err)
	}
	return nil
}
