package backendtest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// client is the least that can talk to a kernel: the suite stands below package kernel.
type client struct {
	t       *testing.T
	ctx     context.Context
	process backends.KernelProcess
	wire    messaging.Transport
	session *messaging.Session
}

// startKernel starts a kernel and waits for its first answer.
func startKernel(t *testing.T, ctx context.Context, in backends.Instance, cfg backends.KernelConfig) *client {
	t.Helper()
	process, err := in.StartKernel(ctx, cfg)
	require.NoError(t, err)
	return talkTo(t, ctx, process)
}

// talkTo connects to a kernel and waits for its first answer.
func talkTo(t *testing.T, ctx context.Context, process backends.KernelProcess) *client {
	t.Helper()
	wire, err := process.Connect(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = wire.Close() })
	c := &client{t: t, ctx: ctx, process: process, wire: wire, session: messaging.NewSession("suite")}
	c.send(&messaging.KernelInfoRequest{})
	c.until("kernel_info_reply")
	return c
}

func (c *client) send(body messaging.Content) {
	c.t.Helper()
	m, err := c.session.New(messaging.Shell, body)
	require.NoError(c.t, err)
	require.NoError(c.t, c.wire.Send(c.ctx, m))
}

// until reads to a message of a type.
func (c *client) until(kind string) {
	c.t.Helper()
	for {
		m, err := c.wire.Recv(c.ctx)
		require.NoError(c.t, err)
		if m.Header.MsgType == kind {
			return
		}
	}
}

// run runs code and returns what it printed.
func (c *client) run(code string) string {
	c.t.Helper()
	c.send(&messaging.ExecuteRequest{Code: code})
	printed := ""
	for replied, idle := false, false; !replied || !idle; {
		m, err := c.wire.Recv(c.ctx)
		require.NoError(c.t, err)
		if m.Parent == nil || m.Parent.MsgType != "execute_request" {
			continue
		}
		content, err := m.Decode()
		require.NoError(c.t, err)
		switch body := content.(type) {
		case *messaging.Stream:
			printed += body.Text
		case *messaging.ErrorOutput:
			printed += body.EName
		case *messaging.ExecuteReply:
			replied = true
		case *messaging.Status:
			idle = idle || body.ExecutionState == messaging.StateIdle
		}
	}
	return printed
}

func testKernels(t *testing.T, open Open) {
	t.Run("SecretsOfTheHostStayThere", func(t *testing.T) {
		t.Setenv("HOST_SECRET", "hunter2")
		with(t, open, "env", func(t *testing.T, ctx context.Context, in backends.Instance) {
			c := startKernel(t, ctx, in, backends.KernelConfig{Dir: "sub/dir", Env: map[string]string{"BOTH": "kernel"}})
			require.Equal(t, "python3", c.process.Spec().Name)
			out := c.run("from os import environ, getcwd\n" +
				"print('HOST_SECRET' in environ, environ['FROM_SPEC'], environ['BOTH'], environ['HOME'], getcwd())")
			require.Equal(t, "False spec kernel "+in.Workspace()+" "+in.Workspace()+"/sub/dir\n", out)
		})
	})
	with(t, open, "InterruptsAndEnds", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		c.send(&messaging.ExecuteRequest{Code: "import time; print('on', flush=True); time.sleep(60)"})
		c.until("stream")
		require.NoError(t, c.process.Signal(ctx, backends.Interrupt))
		c.until("error")
		require.NoError(t, c.process.Signal(ctx, backends.Kill))
		status, err := c.process.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, "SIGKILL", status.Signal)
		require.NoError(t, c.process.Signal(ctx, backends.Kill), "a finished process is no error")
		again, err := c.process.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, status, again)
		_, err = c.wire.Recv(ctx)
		for err == nil {
			_, err = c.wire.Recv(ctx)
		}
	})
	with(t, open, "SaysHowItEnded", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		c.send(&messaging.ExecuteRequest{Code: "import os; os.write(2, b'dying words'); import time; time.sleep(.1); os._exit(5)"})
		start := time.Now()
		status, err := c.process.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, 5, status.Code)
		require.Empty(t, status.Signal)
		require.Less(t, time.Since(start), 5*time.Second)
		waiting, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err = startKernel(t, ctx, in, backends.KernelConfig{}).process.Wait(waiting)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	with(t, open, "UnknownKernelListsTheKnown", func(t *testing.T, ctx context.Context, in backends.Instance) {
		_, err := in.StartKernel(ctx, backends.KernelConfig{Name: "algol60"})
		var missing *backends.SpecNotFoundError
		require.ErrorAs(t, err, &missing)
		require.ErrorIs(t, err, backends.ErrNotFound)
		require.Contains(t, missing.Found, "python3")
		require.NotEmpty(t, missing.Searched)
		require.Contains(t, err.Error(), "algol60")
	})
	with(t, open, "StartThatFailsSaysWhy", func(t *testing.T, ctx context.Context, in backends.Instance) {
		// A broken sitecustomize stands for everything that ends a kernel while it starts.
		write(t, ctx, in.Files(), "broken/sitecustomize.py",
			"import os, sys\nsys.stderr.write('cannot go on: disk on fire\\n')\nsys.stderr.flush()\nos._exit(3)\n")
		broken := map[string]string{"PYTHONPATH": in.Workspace() + "/broken"}
		process, err := in.StartKernel(ctx, backends.KernelConfig{Env: broken})
		require.NoError(t, err)
		_, err = process.Connect(ctx)
		var start *backends.StartError
		require.ErrorAs(t, err, &start)
		var exit *backends.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 3, exit.Status.Code)
		require.Contains(t, start.Diagnosis, "disk on fire")
		require.Contains(t, process.Diagnose(ctx), "disk on fire")

		_, err = in.StartKernel(ctx, backends.KernelConfig{Dir: "../out"})
		require.ErrorIs(t, err, backends.ErrOutside)
	})
	with(t, open, "OutputFloodOfTheProcessIsBounded", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		c.run("import os, sys\nfor _ in range(3000): os.write(2, b'x' * 1000)")
		require.LessOrEqual(t, len(c.process.Diagnose(ctx)), 16<<10+8)
	})
	with(t, open, "DestroyEndsDaemons", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		// The daemon writes to a file for as long as it lives; after Destroy nothing may write.
		out := c.run(`
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        open("daemon.pid", "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists("daemon.pid") or not open("daemon.pid").read(): time.sleep(0.01)
print("up")
`)
		require.Equal(t, "up\n", out)
		start := time.Now()
		require.NoError(t, in.Destroy(ctx))
		require.Less(t, time.Since(start), 2*time.Second)
		_, err := c.process.Wait(ctx)
		require.NoError(t, err)
	})
	with(t, open, "MeterTellsWhatASpanDid", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		write(t, ctx, in.Files(), "gone", "x")
		write(t, ctx, in.Files(), "old", "x")
		meter, err := c.process.Meter(ctx)
		require.NoError(t, err)
		c.run("import os\nos.remove('gone')\nopen('old', 'a').write('y')\nos.mkdir('d')\nopen('d/new', 'w').write('abc')\n" +
			"big = bytearray(b'x') * (150 << 20)\nimport time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass")
		usage, err := meter.Stop(ctx)
		require.NoError(t, err)
		require.False(t, usage.FilesPartial)
		require.Greater(t, usage.CPU, 150*time.Millisecond)
		require.Greater(t, usage.PeakMemory, int64(150<<20))
		require.Equal(t, []backends.FileChange{
			{Path: "d/new", Op: backends.FileCreated, Size: 3},
			{Path: "gone", Op: backends.FileRemoved},
			{Path: "old", Op: backends.FileChanged, Size: 2},
		}, usage.Files)
	})
	t.Run("ManyAtOnce", func(t *testing.T) {
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		var wg sync.WaitGroup
		for _, id := range strings.Fields("a b c d e f") {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				in, err := b.Create(ctx, backends.Spec{ID: id})
				if err != nil {
					t.Error(err)
					return
				}
				process, err := in.StartKernel(ctx, backends.KernelConfig{})
				if err != nil {
					t.Error(err)
					return
				}
				wire, err := process.Connect(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				_ = wire.Close()
				if err := in.Destroy(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}
