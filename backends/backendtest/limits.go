package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// withLimits runs a test on an instance with limits.
func withLimits(
	t *testing.T, open Open, name string, limits backends.Limits, test func(t *testing.T, ctx context.Context, in backends.Instance),
) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		in, err := b.Create(ctx, backends.Spec{ID: "bounded", Limits: limits})
		require.NoError(t, err)
		test(t, ctx, in)
		require.NoError(t, in.Destroy(ctx))
	})
}

// endedBy sends code that a limit is to end, and waits for that.
func endedBy(t *testing.T, ctx context.Context, in backends.Instance, code string) *backends.LimitError {
	t.Helper()
	c := startKernel(t, ctx, in, backends.KernelConfig{})
	c.send(&messaging.ExecuteRequest{Code: code})
	status, err := c.process.Wait(ctx)
	require.NoError(t, err)
	require.NotNil(t, status.Limit, "ended by %s, code %d", status.Signal, status.Code)
	var found *backends.LimitError
	require.ErrorAs(t, &backends.ExitError{Status: status}, &found)
	require.Same(t, status.Limit, found)
	require.ErrorContains(t, found, string(found.Limit)+" limit reached")
	return found
}

func testLimits(t *testing.T, open Open) {
	t.Run("MistakesAreRefused", func(t *testing.T) {
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		for _, l := range []backends.Limits{
			{Memory: -1}, {CPUs: -0.5}, {CPUTime: -1}, {Processes: -1}, {FileSize: -1}, {OpenFiles: -1}, {Disk: -1},
		} {
			_, err := b.Create(t.Context(), backends.Spec{ID: "one", Limits: l})
			require.ErrorContains(t, err, "limit ")
		}
		_, err := b.Create(t.Context(), backends.Spec{ID: "one"})
		require.NoError(t, err, "what was refused leaves nothing")
	})
	t.Run("EachIsAppliedOrRefused", func(t *testing.T) {
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		for name, l := range map[backends.LimitName]backends.Limits{
			backends.LimitMemory: {Memory: 1 << 30}, backends.LimitCPUs: {CPUs: 1}, backends.LimitCPUTime: {CPUTime: time.Hour},
			backends.LimitProcesses: {Processes: 500}, backends.LimitFileSize: {FileSize: 1 << 30},
			backends.LimitOpenFiles: {OpenFiles: 900}, backends.LimitDisk: {Disk: 1 << 30},
		} {
			in, err := b.Create(t.Context(), backends.Spec{ID: "one", Limits: l})
			if err != nil {
				require.ErrorIs(t, err, backends.ErrUnsupported)
				require.ErrorContains(t, err, "limit "+string(name))
				continue
			}
			require.Len(t, in.Enforcement(), 1)
			require.NotEmpty(t, in.Enforcement()[name])
			require.NoError(t, in.Destroy(t.Context()))
		}
	})
	withLimits(t, open, "Memory", backends.Limits{Memory: 300 << 20}, func(t *testing.T, ctx context.Context, in backends.Instance) {
		found := endedBy(t, ctx, in, "held = []\nfor _ in range(3000): held.append(b'x' * (1 << 20))")
		require.Equal(t, backends.LimitMemory, found.Limit)
		require.EqualValues(t, 300<<20, found.Allowed)
		require.Equal(t, "again", startKernel(t, ctx, in, backends.KernelConfig{}).run("print('again', end='')"))
	})
	withLimits(t, open, "CPUTime", backends.Limits{CPUTime: 2 * time.Second}, func(t *testing.T, ctx context.Context, in backends.Instance) {
		found := endedBy(t, ctx, in, "while True: pass")
		require.Equal(t, backends.LimitCPUTime, found.Limit)
		require.EqualValues(t, 2*time.Second, found.Allowed)
		_, err := in.StartKernel(ctx, backends.KernelConfig{})
		require.ErrorAs(t, err, &found, "the time is used up")
	})
	short := backends.Limits{CPUTime: 2 * time.Second}
	withLimits(t, open, "CPUTimeOfChildrenNobodyWaitsFor", short, func(t *testing.T, ctx context.Context, in backends.Instance) {
		found := endedBy(t, ctx, in, `
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
end = time.monotonic() + 40
while time.monotonic() < end:
    if os.fork() == 0:
        while time.process_time() < .4: pass
        os._exit(0)
    try: os.wait()
    except ChildProcessError: pass`)
		require.Equal(t, backends.LimitCPUTime, found.Limit)
	})
	longer := backends.Limits{CPUTime: 6 * time.Second}
	withLimits(t, open, "CPUTimeCountsOnce", longer, func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.Equal(t, "alive", c.run(`
import os, subprocess, sys
for i in range(12):  # 2.4 s in all, of children, grandchildren and orphans
    line = "import os\nif %d % 3 == 0: os.fork()\nif %d % 3 == 1 and os.fork(): os._exit(0)\n"
    line += "while __import__('time').process_time() < .2 / (2 - bool(%d % 3)): pass"
    subprocess.run(["sh", "-c", sys.executable + ' -c "$0"; true', line.replace("%d", str(i))])
print("alive", end="")`))
		stats, err := in.Stats(ctx)
		require.NoError(t, err)
		require.Less(t, stats.CPU, 6*time.Second)
		require.Greater(t, stats.CPU, 2*time.Second)
	})
	withLimits(t, open, "Processes", backends.Limits{Processes: 60}, func(t *testing.T, ctx context.Context, in backends.Instance) {
		found := endedBy(t, ctx, in, `
import subprocess, time
held = []
while True:
    try:
        held.append(subprocess.Popen(["sleep", "60"]))
    except OSError:
        time.sleep(.05)`)
		require.Equal(t, backends.LimitProcesses, found.Limit)
	})
	withLimits(t, open, "Disk", backends.Limits{Disk: 20 << 20}, func(t *testing.T, ctx context.Context, in backends.Instance) {
		found := endedBy(t, ctx, in, `
import time
f = open("big", "wb")
for _ in range(1000):
    f.write(bytes(1 << 20)); f.flush(); time.sleep(.01)`)
		require.Equal(t, backends.LimitDisk, found.Limit)
		require.Greater(t, found.Used, found.Allowed)
		require.NoError(t, in.Files().Remove(ctx, "big"))
		require.Equal(t, "again", startKernel(t, ctx, in, backends.KernelConfig{}).run("print('again', end='')"))
	})
	files := backends.Limits{FileSize: 1 << 20, OpenFiles: 100}
	withLimits(t, open, "FileSizeAndOpenFiles", files, func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.Equal(t, "OSError", c.run("f = open('big', 'wb', 0)\nwhile True: f.write(bytes(1 << 16))"))
		info, err := in.Files().Stat(ctx, "big")
		require.NoError(t, err)
		require.EqualValues(t, 1<<20, info.Size)
		require.Equal(t, "OSError", c.run("held = []\nwhile True: held.append(open('/dev/null'))"))
		require.Equal(t, "on", c.run("held = None; print('on', end='')"))
	})
}

func testStats(t *testing.T, open Open) {
	with(t, open, "OfTheWholeInstance", func(t *testing.T, ctx context.Context, in backends.Instance) {
		empty, err := in.Stats(ctx)
		require.NoError(t, err)
		require.Zero(t, empty.Processes)
		require.False(t, empty.DiskPartial)
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		c.run("import os, time\nif os.fork() == 0:\n    held = b'x' * (40 << 20)\n    open('up', 'w').close()\n    time.sleep(600)\n" +
			"while not os.path.exists('up'): time.sleep(.01)\nend = time.process_time() + .3\nwhile time.process_time() < end: pass")
		write(t, ctx, in.Files(), "data", string(make([]byte, 1<<20)))
		var stats backends.Stats
		require.Eventually(t, func() bool {
			stats, err = in.Stats(ctx)
			require.NoError(t, err)
			return stats.Disk >= empty.Disk+1<<20 && stats.Files >= 2
		}, time.Minute, 50*time.Millisecond)
		require.GreaterOrEqual(t, stats.Processes, 2)
		require.Greater(t, stats.Threads, stats.Processes)
		require.Greater(t, stats.Memory, int64(60<<20))
		require.Greater(t, stats.CPU, 300*time.Millisecond)
		require.NoError(t, in.Destroy(ctx))
		_, err = in.Stats(ctx)
		require.ErrorIs(t, err, backends.ErrDestroyed)
	})
}

// beating writes the time to a file, in a child too, for as long as it runs.
const beating = `
import os, time
name = "child" if os.fork() == 0 else "parent"
while True:
    with open(name + ".new", "w") as f: f.write(str(time.monotonic()))
    os.rename(name + ".new", name)
    if name == "parent" and not os.path.exists("told") and os.path.exists("child"): print("on", flush=True); open("told", "w").close()
    time.sleep(.01)
`

func testPause(t *testing.T, open Open) {
	for name, limits := range map[string]backends.Limits{"Free": {}, "Bounded": {Processes: 500}} {
		withLimits(t, open, name, limits, func(t *testing.T, ctx context.Context, in backends.Instance) {
			pauser, ok := in.(backends.Pauser)
			if !ok {
				t.Skip("this backend can't pause")
			}
			require.NoError(t, pauser.Pause(ctx), "before anything was started")
			_, err := in.StartKernel(ctx, backends.KernelConfig{})
			require.ErrorIs(t, err, backends.ErrPaused)
			require.NoError(t, pauser.Resume(ctx))

			c := startKernel(t, ctx, in, backends.KernelConfig{})
			c.send(&messaging.ExecuteRequest{Code: beating})
			c.until("stream")
			require.NoError(t, pauser.Pause(ctx))
			require.NoError(t, pauser.Pause(ctx), "idempotent")
			parent, child := read(t, ctx, in.Files(), "parent"), read(t, ctx, in.Files(), "child")
			_, err = in.StartKernel(ctx, backends.KernelConfig{})
			require.ErrorIs(t, err, backends.ErrPaused)
			stats, err := in.Stats(ctx)
			require.NoError(t, err)
			require.Equal(t, 2, stats.Processes)
			<-time.After(300 * time.Millisecond) // in which nothing may run
			require.Equal(t, parent, read(t, ctx, in.Files(), "parent"))
			require.Equal(t, child, read(t, ctx, in.Files(), "child"))

			require.NoError(t, pauser.Resume(ctx))
			require.NoError(t, pauser.Resume(ctx), "idempotent")
			require.Eventually(t, func() bool {
				return read(t, ctx, in.Files(), "parent") != parent && read(t, ctx, in.Files(), "child") != child
			}, time.Minute, 10*time.Millisecond)

			require.NoError(t, pauser.Pause(ctx))
			start := time.Now()
			require.NoError(t, in.Destroy(ctx))
			require.Less(t, time.Since(start), 2*time.Second)
			require.ErrorIs(t, pauser.Resume(ctx), backends.ErrDestroyed)
		})
	}
}
