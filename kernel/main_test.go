package kernel_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test with a connection to a fake kernel, in a bubble of fake time in which a goroutine left behind
// is a failure.
func bubble(t *testing.T, opts *kernel.Options, test func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := kerneltest.New(nil)
		conn := kernel.New(kerneltest.Pipe(fake), withInterrupt(opts, fake))
		defer fake.Close()
		defer func() { _ = conn.Close() }()
		_, err := conn.Ready(t.Context())
		require.NoError(t, err)
		test(t, fake, conn)
	})
}

// withInterrupt lets interrupts reach the fake as signals do.
func withInterrupt(opts *kernel.Options, fake *kerneltest.Kernel) *kernel.Options {
	var o kernel.Options
	if opts != nil {
		o = *opts
	}
	if o.Interrupt == nil {
		o.Interrupt = func(context.Context) error {
			fake.Interrupt()
			return nil
		}
	}
	return &o
}

// execute starts code.
func execute(t *testing.T, conn *kernel.Conn, code string) *kernel.Execution {
	t.Helper()
	e, err := conn.Execute(t.Context(), &messaging.ExecuteRequest{Code: code, StoreHistory: true, AllowStdin: true}, nil)
	require.NoError(t, err)
	return e
}

// seen is what came of a run, in short.
type seen struct {
	texts []string // of streams, displays, results, errors, in order
	cut   *kernel.Truncated
	err   error // of Next at the end; nil for io.EOF
}

// collect reads a run to its end.
func collect(t *testing.T, e *kernel.Execution) seen {
	t.Helper()
	var s seen
	for {
		event, err := e.Next(t.Context())
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return s
		}
		switch c := event.Content.(type) {
		case *messaging.Stream:
			s.texts = append(s.texts, c.Text)
		case *messaging.DisplayData:
			text, _ := c.Data.Text("text/plain")
			s.texts = append(s.texts, "display "+text)
		case *messaging.UpdateDisplayData:
			text, _ := c.Data.Text("text/plain")
			s.texts = append(s.texts, "update "+text)
		case *messaging.ExecuteResult:
			text, _ := c.Data.Text("text/plain")
			s.texts = append(s.texts, "result "+text)
		case *messaging.ErrorOutput:
			s.texts = append(s.texts, "error "+c.EName)
		case *messaging.UnknownContent:
			s.texts = append(s.texts, "unknown "+c.Type)
		case *kernel.Truncated:
			s.cut = c
		}
	}
}

// block waits for an interrupt and then raises, as sleeping code does.
func block(c *kerneltest.Call) {
	if errors.Is(c.Sleep(time.Hour), kerneltest.ErrInterrupted) {
		c.KeyboardInterrupt()
	}
}

// executed lists the code that the kernel took, in order.
func executed(t *testing.T, fake *kerneltest.Kernel) []string {
	t.Helper()
	var codes []string
	for _, m := range fake.Received("execute_request") {
		content, err := m.Decode()
		require.NoError(t, err)
		codes = append(codes, content.(*messaging.ExecuteRequest).Code)
	}
	return codes
}
