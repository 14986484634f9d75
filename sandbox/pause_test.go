package sandbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// withPause runs a test in a sandbox that is paused by signals, and in one that is paused by a control group's freezer
// where this machine has one: a sandbox with a limit has a group.
func withPause(t *testing.T, test func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox)) {
	t.Helper()
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	for name, limits := range map[string]sandbox.Limits{"BySignals": {}, "ByFreezer": {Processes: 500}} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			sbx, err := engineFor(t, python).Create(ctx, &sandbox.Options{Limits: limits})
			require.NoError(t, err)
			test(t, ctx, sbx)
		})
	}
}

// countCode prints numbers as fast as it may, a child beside it too, and tells the longest gap between two.
const countCode = `
import os, time
child = os.fork()
if child == 0:
    while True:
        open("beat", "w").write(str(time.monotonic()))
        time.sleep(0.01)
while not os.path.exists("beat"):
    time.sleep(0.005)
last, gap, end = time.monotonic(), 0, time.monotonic() + 2.5
print("on", flush=True)
while last < end:
    time.sleep(0.005)
    now = time.monotonic()
    gap, last = max(gap, now - last), now
os.kill(child, 9)
os.waitpid(child, 0)
gap`

func TestRunSurvivesAPauseThatItsTimeoutDoesNotCount(t *testing.T) {
	withPause(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run, err := sbx.StartCode(ctx, countCode, &sandbox.RunOptions{Timeout: 4 * time.Second})
		require.NoError(t, err)
		for out := sandbox.Output(nil); ; {
			out, err = run.Next(ctx)
			require.NoError(t, err)
			if _, ok := out.(*sandbox.OutputMessage); ok {
				break
			}
		}
		require.NoError(t, sbx.Pause(ctx))
		require.NoError(t, sbx.Pause(ctx), "idempotent")
		require.True(t, sbx.Info().Paused)
		require.Zero(t, sbx.Info().ExpiresAt)
		begin, err := sbx.Stats(ctx)
		require.NoError(t, err)
		beat, err := sbx.Files().Read(ctx, "beat")
		require.NoError(t, err)
		for _, f := range []func() error{
			func() error { _, err := sbx.RunCode(ctx, "1", nil); return err },
			func() error { _, err := sbx.CreateContext(ctx, nil); return err },
			func() error { _, err := sbx.DefaultContext().Complete(ctx, "im", 2); return err },
			func() error { return sbx.DefaultContext().Restart(ctx) },
			func() error { return sbx.DefaultContext().Interrupt(ctx) },
			func() error { return sbx.DefaultContext().Remove(ctx) },
		} {
			require.ErrorIs(t, f(), sandbox.ErrPaused)
		}
		<-time.After(5 * time.Second) // what is asserted is that nothing happens in this time, longer than the timeout
		now, err := sbx.Files().Read(ctx, "beat")
		require.NoError(t, err)
		require.Equal(t, string(beat), string(now), "a child ran on")
		end, err := sbx.Stats(ctx)
		require.NoError(t, err)
		require.Equal(t, begin.Processes, end.Processes)
		require.InDelta(t, begin.CPU, end.CPU, float64(20*time.Millisecond))
		require.Equal(t, kernel.Busy, sbx.DefaultContext().State(), "a paused kernel is neither dead nor stuck")

		require.NoError(t, sbx.Resume(ctx))
		require.NoError(t, sbx.Resume(ctx), "idempotent")
		require.False(t, sbx.Info().Paused)
		require.WithinDuration(t, time.Now().Add(sandbox.DefaultTimeToLive), sbx.Info().ExpiresAt, 10*time.Second)
		execution, err := run.Wait(ctx)
		require.NoError(t, err)
		require.NoError(t, execution.Err())
		require.Less(t, execution.Usage.Wall, 4*time.Second, "the pause does not count")
		require.Greater(t, execution.Text(), "5", "the code was stopped")
		require.Equal(t, "1", mustRun(t, ctx, sbx, "1").Text())
	})
}

func TestPausedSandboxIsKilledAtOnce(t *testing.T) {
	withPause(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		daemon := pidOf(t, mustRun(t, ctx, sbx, daemonCode))
		run, err := sbx.StartCode(ctx, "while True: pass", nil)
		require.NoError(t, err)
		require.NoError(t, sbx.Pause(ctx))
		start := time.Now()
		require.NoError(t, sbx.Kill(ctx))
		require.Less(t, time.Since(start), 2*time.Second)
		require.False(t, alive(daemon))
		_, err = run.Wait(ctx)
		require.ErrorIs(t, err, sandbox.ErrKilled)
		require.ErrorIs(t, sbx.Pause(ctx), sandbox.ErrKilled)
		require.ErrorIs(t, sbx.Resume(ctx), sandbox.ErrKilled)
	})
}

func TestRunCancelledWhilePausedEndsAfterResume(t *testing.T) {
	withPause(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		running, cancel := context.WithCancel(ctx)
		run, err := sbx.StartCode(running, "import time\nprint('on', flush=True)\ntime.sleep(60)", nil)
		require.NoError(t, err)
		for out := sandbox.Output(nil); ; {
			out, err = run.Next(ctx)
			require.NoError(t, err)
			if _, ok := out.(*sandbox.OutputMessage); ok {
				break
			}
		}
		require.NoError(t, sbx.Pause(ctx))
		cancel()
		waiting, stop := context.WithTimeout(ctx, 6*time.Second) // longer than an interrupted kernel is given
		_, err = run.Wait(waiting)
		stop()
		require.ErrorIs(t, err, context.DeadlineExceeded, "the kernel is not taken for stuck")
		require.NoError(t, sbx.Resume(ctx))
		_, err = run.Wait(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, "1", mustRun(t, ctx, sbx, "1").Text(), "the kernel lives")
	})
}

func TestCommandCancelledWhilePausedIsNotWaitedFor(t *testing.T) {
	withPause(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		running, cancel := context.WithCancel(ctx)
		defer cancel()
		up, done := make(chan bool, 1), make(chan error, 1)
		var result *sandbox.CommandResult
		go func() {
			var err error
			result, err = sbx.Commands().Run(running, "echo up; sleep 600", &sandbox.CommandOptions{OnStdout: func([]byte) { up <- true }})
			done <- err
		}()
		<-up
		require.NoError(t, sbx.Pause(ctx))
		cancel()
		select {
		case err := <-done:
			require.ErrorIs(t, err, context.Canceled)
		case <-time.After(5 * time.Second):
			t.Fatal("it waits for the end of the pause")
		}
		require.Equal(t, "up\n", result.Stdout)
		require.NoError(t, sbx.Resume(ctx))
		require.Eventually(t, func() bool { return len(sbx.Commands().List()) == 0 }, 10*time.Second, 10*time.Millisecond, "it was killed")
	})
}

func TestTimeToLiveStandsStillWhilePaused(t *testing.T) {
	withPause(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		require.NoError(t, sbx.Pause(ctx))
		sbx.SetTimeToLive(500 * time.Millisecond)
		<-time.After(time.Second) // in which it must not end
		require.True(t, sbx.Info().Paused)
		_, err := sbx.Stats(ctx)
		require.NoError(t, err)
		require.NoError(t, sbx.Resume(ctx))
		require.Eventually(t, func() bool { _, err := sbx.Stats(ctx); return err != nil }, 5*time.Second, 10*time.Millisecond)
		require.NoError(t, sbx.Kill(ctx))
	})
}

func TestCommandSurvivesAPauseThatItsTimeoutDoesNotCount(t *testing.T) {
	withPause(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		command, err := sbx.Commands().Start(ctx, "read line; echo got $line", &sandbox.CommandOptions{Stdin: true, Timeout: 3 * time.Second})
		require.NoError(t, err)
		require.NoError(t, sbx.Pause(ctx))
		_, err = sbx.Commands().Run(ctx, "true", nil)
		require.ErrorIs(t, err, sandbox.ErrPaused)
		<-time.After(4 * time.Second) // longer than the timeout
		require.NoError(t, sbx.Resume(ctx))
		err = command.Write(ctx, []byte("this\n"))
		require.NoError(t, err)
		result, err := command.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, "got this\n", result.Stdout)
		require.Less(t, result.Wall, 3*time.Second, "the pause does not count")
	})
}
