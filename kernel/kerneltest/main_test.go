package kerneltest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func TestMain(m *testing.M) {
	kerneltest.ServeIfChild()
	goleak.VerifyTestMain(m)
}

// client is the simplest that can run code: what package kernel does well, done just well enough to test its peer.
type client struct {
	transport messaging.Transport
	session   *messaging.Session
}

func newClient(t messaging.Transport) *client {
	return &client{transport: t, session: messaging.NewSession("test")}
}

// send sends a request and returns its header.
func (c *client) send(t testing.TB, ch messaging.Channel, body messaging.Content) *messaging.Header {
	t.Helper()
	m, err := c.session.New(ch, body)
	require.NoError(t, err)
	require.NoError(t, c.transport.Send(t.Context(), m))
	return &m.Header
}

// recv returns the next message.
func (c *client) recv(t testing.TB) *messaging.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m, err := c.transport.Recv(ctx)
	require.NoError(t, err)
	return m
}

// line is a message in a few words.
func line(m *messaging.Message) string {
	content, err := m.Decode()
	if err != nil {
		return string(m.Channel) + " " + err.Error()
	}
	detail := ""
	switch b := content.(type) {
	case *messaging.Status:
		detail = " " + string(b.ExecutionState)
	case *messaging.Stream:
		detail = " " + b.Name + " " + b.Text
	case *messaging.ExecuteInput:
		detail = fmt.Sprintf(" %d %s", b.ExecutionCount, b.Code)
	case *messaging.ExecuteReply:
		detail = fmt.Sprintf(" %s %d", b.Status, b.ExecutionCount)
	}
	return string(m.Channel) + " " + m.Header.MsgType + detail
}

// lines reads n messages, whose parent must be the request.
func (c *client) lines(t testing.TB, n int, parent *messaging.Header) []string {
	t.Helper()
	var out []string
	for range n {
		m := c.recv(t)
		require.NotNil(t, m.Parent, line(m))
		require.Equal(t, parent.MsgID, m.ParentID(), line(m))
		require.Equal(t, parent.Session, m.Parent.Session)
		require.Equal(t, parent.Date, m.Parent.Date)
		out = append(out, line(m))
	}
	return out
}

// outcome is what a run came to.
type outcome struct {
	stdout string
	reply  *messaging.ExecuteReply
	idle   bool
}

var errUnfinished = errors.New("the run has not ended")

// run executes code until reply and idle have come. When ctx or the connection ends before, the error is
// errUnfinished or the connection's.
func (c *client) run(ctx context.Context, code string) (*outcome, error) {
	m, err := c.session.New(messaging.Shell, &messaging.ExecuteRequest{Code: code, StoreHistory: true, StopOnError: true})
	if err != nil {
		return nil, err
	}
	if err := c.transport.Send(ctx, m); err != nil {
		return nil, err
	}
	out := new(outcome)
	for out.reply == nil || !out.idle {
		got, err := c.transport.Recv(ctx)
		if ctx.Err() != nil {
			return out, errUnfinished
		}
		if err != nil {
			return out, err
		}
		if got.ParentID() != m.Header.MsgID {
			continue
		}
		content, err := got.Decode()
		if err != nil {
			continue
		}
		switch b := content.(type) {
		case *messaging.ExecuteReply:
			if got.Channel == messaging.Shell && out.reply == nil {
				out.reply = b
			}
		case *messaging.Status:
			out.idle = out.idle || got.Channel == messaging.IOPub && b.ExecutionState == messaging.StateIdle
		case *messaging.Stream:
			if got.Channel == messaging.IOPub && b.Name == messaging.Stdout {
				out.stdout += b.Text
			}
		}
	}
	return out, nil
}

func execute(code string) *messaging.ExecuteRequest {
	return &messaging.ExecuteRequest{Code: code, StoreHistory: true, StopOnError: true, AllowStdin: true}
}
