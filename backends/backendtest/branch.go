package backendtest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// park has the client's kernel make a copy, or skips the test where that can't be.
func (c *client) park() backends.Parked {
	c.t.Helper()
	brancher, ok := c.process.(backends.Brancher)
	if !ok {
		c.t.Skip("the backend makes no copies of kernels")
	}
	parked, err := brancher.Park(c.ctx, func(_ context.Context, socket string) (int, error) {
		return c.checkpoint(socket)
	})
	if errors.Is(err, backends.ErrUnsupported) {
		c.t.Skip("the system makes no copies of kernels")
	}
	require.NoError(c.t, err)
	return parked
}

func (c *client) checkpoint(socket string) (int, error) {
	c.send(&messaging.CheckpointRequest{Socket: socket})
	for {
		m, err := c.wire.Recv(c.ctx)
		if err != nil {
			return 0, err
		}
		if m.Header.MsgType != "checkpoint_reply" {
			continue
		}
		var reply messaging.CheckpointReply
		if err := json.Unmarshal(m.Content, &reply); err != nil {
			return 0, err
		}
		require.Equal(c.t, messaging.StatusOK, reply.Status, "%+v", reply)
		return reply.PID, nil
	}
}

// wake makes the copy a kernel and waits for its first answer.
func wake(t *testing.T, ctx context.Context, p backends.Parked, cfg backends.WakeConfig) *client {
	t.Helper()
	process, err := p.Wake(ctx, cfg)
	require.NoError(t, err)
	return talkTo(t, ctx, process)
}

func testBranches(t *testing.T, open Open) {
	with(t, open, "CopiesAreWokenAnyNumberOfTimes", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{Dir: "sub", Env: map[string]string{"BOTH": "kernel"}})
		c.run("import os; x = 1")
		parked := c.park()
		c.run("x = 2")
		first, second := wake(t, ctx, parked, backends.WakeConfig{}), wake(t, ctx, parked, backends.WakeConfig{})
		first.run("x += 10")
		require.Equal(t, "11 kernel "+in.Workspace()+"/sub\n", first.run("print(x, os.environ['BOTH'], os.getcwd())"))
		require.Equal(t, "1\n", second.run("print(x)"))
		require.Equal(t, "2\n", c.run("print(x)"))
		last := wake(t, ctx, parked, backends.WakeConfig{Last: true})
		require.Equal(t, "1\n", last.run("print(x)"))
		_, err := parked.Wake(ctx, backends.WakeConfig{})
		require.Error(t, err, "it is used up")
		require.NoError(t, parked.Close(ctx))
		require.Equal(t, "1\n", last.run("print(x)"), "what it became lives on")
	})
	with(t, open, "CopiesOutliveTheirKernel", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		c.run("x = 1")
		parked := c.park()
		require.NoError(t, c.process.Signal(ctx, backends.Kill))
		status, err := c.process.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, "SIGKILL", status.Signal)
		woken := wake(t, ctx, parked, backends.WakeConfig{})
		require.Equal(t, "1\n", woken.run("print(x)"))
		woken.send(&messaging.ExecuteRequest{Code: "import time; print('on', flush=True); time.sleep(60)"})
		woken.until("stream")
		require.NoError(t, woken.process.Signal(ctx, backends.Interrupt))
		woken.until("error")
		woken.send(&messaging.ExecuteRequest{Code: "import os; os._exit(5)"})
		status, err = woken.process.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, 5, status.Code)
		require.NoError(t, parked.Close(ctx))
		require.NoError(t, parked.Close(ctx), "a second time")
		_, err = parked.Wake(ctx, backends.WakeConfig{})
		require.Error(t, err)
	})
	with(t, open, "ACopyThatNobodyTookEnds", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		parked := c.park() // or skips
		require.NoError(t, parked.Close(ctx))
		brancher, ok := c.process.(backends.Brancher)
		require.True(t, ok)
		_, err := brancher.Park(ctx, func(_ context.Context, socket string) (int, error) {
			if _, err := c.checkpoint(socket); err != nil {
				return 0, err
			}
			return 0, errors.New("the answer was lost")
		})
		require.ErrorContains(t, err, "the answer was lost")
		for c.run("print(len(get_ipython().kernel.brancher._copies))") != "0\n" { // else the test's time is over
			time.Sleep(20 * time.Millisecond)
		}
	})
	with(t, open, "DestroyEndsCopies", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		parked := c.park()
		woken := wake(t, ctx, parked, backends.WakeConfig{})
		require.NoError(t, in.Destroy(ctx))
		_, err := woken.process.Wait(ctx)
		require.NoError(t, err)
		_, err = parked.Wake(ctx, backends.WakeConfig{})
		require.Error(t, err)
		require.NoError(t, parked.Close(ctx))
	})
	with(t, open, "ForksHaveTheirOwnFilesAndEnd", func(t *testing.T, ctx context.Context, in backends.Instance) {
		forker, ok := in.(backends.Forker)
		if !ok {
			t.Skip("the backend makes no copies of instances")
		}
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		write(t, ctx, in.Files(), "d/data", "base")
		c.run("import os; x = 1; f = open('d/data')")
		parked := c.park()
		flushed := make(chan struct{})
		close(flushed)
		fork, err := forker.Fork(ctx, backends.Spec{ID: "fork", Env: map[string]string{"BOTH": "fork"}}, flushed)
		require.NoError(t, err)
		woken := wake(t, ctx, parked, backends.WakeConfig{Into: fork, Last: true, Fresh: true})
		require.NoError(t, parked.Close(ctx))
		require.Equal(t, "1 base spec fork\n", woken.run("print(x, f.read(), os.environ['FROM_SPEC'], os.environ['BOTH'])"))
		woken.run("open('d/data', 'w').write('fork')")
		require.Equal(t, "base\n", c.run("print(f.read())"), "it is another file, read from its own place")
		require.NoError(t, in.Destroy(ctx))
		require.Equal(t, "fork "+fork.Workspace()+"\n", woken.run("print(open('d/data').read(), os.getcwd())"))
		require.NoError(t, fork.Destroy(ctx))
		_, err = woken.process.Wait(ctx)
		require.NoError(t, err)
	})
}
