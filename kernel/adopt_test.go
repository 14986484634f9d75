package kernel_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// relayed is a kernel's process whose connection stays while its clients come and go, and whose messages come again to the next.
type relayed struct {
	wire messaging.Transport
	fake *kerneltest.Kernel

	mu    sync.Mutex
	kept  []*messaging.Message
	more  chan struct{} // closed at the next message
	ended bool
}

func newRelayed(fake *kerneltest.Kernel) *relayed {
	r := &relayed{wire: kerneltest.Pipe(fake), fake: fake, more: make(chan struct{})}
	go func() {
		for {
			m, err := r.wire.Recv(context.Background())
			r.mu.Lock()
			r.ended = err != nil
			if err == nil {
				r.kept = append(r.kept, m)
			}
			close(r.more)
			r.more = make(chan struct{})
			r.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return r
}

// forget drops what a host has acknowledged.
func (r *relayed) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = nil
}

func (r *relayed) ID() string                                    { return "1" }
func (r *relayed) Spec() messaging.KernelSpec                    { return messaging.KernelSpec{Name: "fake"} }
func (r *relayed) Diagnose(context.Context) string               { return "" }
func (r *relayed) Meter(context.Context) (backends.Meter, error) { return nil, backends.ErrUnsupported }

func (r *relayed) Connect(context.Context) (messaging.Transport, error) {
	return &view{relayed: r, closed: make(chan struct{})}, nil
}

func (r *relayed) Signal(context.Context, backends.Signal) error {
	r.fake.Interrupt()
	return nil
}

func (r *relayed) Wait(ctx context.Context) (backends.ExitStatus, error) {
	<-ctx.Done()
	return backends.ExitStatus{}, ctx.Err()
}

// view is one client's connection.
type view struct {
	*relayed
	at     int
	closed chan struct{}
	once   sync.Once
}

func (v *view) Send(ctx context.Context, m *messaging.Message) error { return v.wire.Send(ctx, m) }

func (v *view) Recv(ctx context.Context) (*messaging.Message, error) {
	for {
		v.mu.Lock()
		var m *messaging.Message
		if v.at < len(v.kept) {
			m = v.kept[v.at]
			v.at++
		}
		more, ended := v.more, v.ended
		v.mu.Unlock()
		switch {
		case m != nil:
			return m, nil
		case ended:
			return nil, io.EOF
		}
		select {
		case <-more:
		case <-v.closed:
			return nil, io.EOF
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (v *view) Close() error {
	v.once.Do(func() { close(v.closed) })
	return nil
}

// adopting runs a test on a kernel whose first program has begun a run of "work" and is gone.
func adopting(t *testing.T, work func(*kerneltest.Call), test func(t *testing.T, fake *kerneltest.Kernel, process *relayed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := kerneltest.New(nil)
		defer fake.Close()
		fake.On("work", work)
		process := newRelayed(fake)
		defer func() { _ = process.wire.Close() }()
		transport, err := process.Connect(t.Context())
		require.NoError(t, err)
		first := kernel.New(transport, nil)
		_, err = first.Ready(t.Context())
		require.NoError(t, err)
		synctest.Wait()
		process.forget()
		_, err = first.Execute(t.Context(), &messaging.ExecuteRequest{Code: "work"}, nil)
		require.NoError(t, err)
		time.Sleep(time.Second) // of the bubble
		require.NoError(t, first.Close())
		test(t, fake, process)
	})
}

func adopt(t *testing.T, process *relayed, opts *kernel.ExecuteOptions) (*kernel.Kernel, *kernel.Execution) {
	t.Helper()
	k, e, err := kernel.Adopt(t.Context(), nil, backends.KernelConfig{}, process, nil, opts)
	require.NoError(t, err)
	t.Cleanup(k.Abandon)
	return k, e
}

func TestAdoptedKernelGivesTheWholeRunUnderWay(t *testing.T) {
	adopting(t, func(c *kerneltest.Call) {
		c.Stream("stdout", "before")
		_ = c.Sleep(10 * time.Second)
		c.Stream("stdout", "after")
		c.Result(kerneltest.Text("value"))
	}, func(t *testing.T, _ *kerneltest.Kernel, process *relayed) {
		started := false
		k, e := adopt(t, process, &kernel.ExecuteOptions{OnStarted: func() { started = true }})
		defer k.Abandon()
		require.NotNil(t, e)
		require.True(t, started)
		require.Equal(t, kernel.Busy, k.Conn().State())
		// What is asked for meanwhile waits for it.
		next := make(chan error, 1)
		go func() {
			e, err := k.Conn().Execute(t.Context(), &messaging.ExecuteRequest{Code: "1"}, nil)
			if err == nil {
				_, err = e.Wait(t.Context())
			}
			next <- err
		}()
		s := collect(t, e)
		require.NoError(t, s.err)
		require.Equal(t, []string{"before", "after", "result value"}, s.texts)
		reply, err := e.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, messaging.StatusOK, reply.Status)
		require.NoError(t, <-next)
	})
}

func TestAdoptedKernelGivesARunThatEndedMeanwhile(t *testing.T) {
	adopting(t, func(c *kerneltest.Call) { c.Stream("stdout", "done") }, func(t *testing.T, _ *kerneltest.Kernel, process *relayed) {
		k, e := adopt(t, process, nil)
		defer k.Abandon()
		require.Equal(t, []string{"done"}, collect(t, e).texts)
		require.Equal(t, kernel.Idle, k.Conn().State())
	})
}

func TestAdoptedKernelThatWasIdleHasNoRun(t *testing.T) {
	adopting(t, func(c *kerneltest.Call) { c.Stream("stdout", "done") }, func(t *testing.T, _ *kerneltest.Kernel, process *relayed) {
		process.forget()
		k, e := adopt(t, process, nil)
		defer k.Abandon()
		require.Nil(t, e)
		again, err := k.Conn().Execute(t.Context(), &messaging.ExecuteRequest{Code: "work"}, nil)
		require.NoError(t, err)
		require.Equal(t, []string{"done"}, collect(t, again).texts)
	})
}

func TestAdoptedRunCanBeInterrupted(t *testing.T) {
	adopting(t, func(c *kerneltest.Call) {
		if c.Sleep(24*time.Hour) != nil {
			c.KeyboardInterrupt()
		}
	}, func(t *testing.T, _ *kerneltest.Kernel, process *relayed) {
		k, e := adopt(t, process, nil)
		defer k.Abandon()
		require.NotNil(t, e)
		e.Interrupt()
		reply, err := e.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, messaging.StatusError, reply.Status)
		require.Equal(t, kernel.Idle, k.Conn().State())
	})
}
