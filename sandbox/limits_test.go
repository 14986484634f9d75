package sandbox_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// withLimits runs a test in a sandbox with limits, and another without beside it, which must not be hurt: once with control
// groups as far as this machine gives any, and once without.
func withLimits(t *testing.T, limits sandbox.Limits, test func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox)) {
	t.Helper()
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	for name, without := range map[string]bool{"WithCgroups": false, "WithoutCgroups": true} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			engine := openEngine(t, python, func(c *sandbox.Config) { c.NoCgroup = without })
			beside, err := engine.Create(ctx, nil)
			require.NoError(t, err)
			mustRun(t, ctx, beside, "kept = 41")
			sbx, err := engine.Create(ctx, &sandbox.Options{Limits: limits})
			require.NoError(t, err)
			t.Log(sbx.Info().Enforcement)
			test(t, ctx, sbx)
			require.Equal(t, "42", mustRun(t, ctx, beside, "kept + 1").Text(), "another sandbox was hurt")
			start := time.Now()
			require.NoError(t, sbx.Kill(ctx))
			require.Less(t, time.Since(start), 5*time.Second)
		})
	}
}

// limitOf is the limit that ended a run, and with it the kernel.
func limitOf(t *testing.T, err error) *sandbox.LimitError {
	t.Helper()
	require.ErrorIs(t, err, kernel.ErrDead)
	var limit *sandbox.LimitError
	require.ErrorAs(t, err, &limit)
	require.ErrorContains(t, err, string(limit.Limit)+" limit reached")
	t.Log(limit)
	return limit
}

func TestMemoryBombIsEndedByName(t *testing.T) {
	withLimits(t, sandbox.Limits{Memory: 400 << 20}, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		// 3 GB at most, as fast as one call can fill them.
		_, err := sbx.RunCode(ctx, "held = bytearray(b'x') * (3 << 30)", nil)
		limit := limitOf(t, err)
		require.Equal(t, backends.LimitMemory, limit.Limit)
		require.EqualValues(t, 400<<20, limit.Allowed)
		require.Less(t, limit.Used, int64(1500<<20), "seen too late")
		require.Equal(t, "1", mustRun(t, ctx, sbx, "1").Text(), "the context starts afresh")
	})
}

// TestWhatIsOutOfMemoryIsOneForkAlone has kernels that share the memory of a fork server, and of each other: spares that were given
// away, spares that wait, a kernel that was forked for the sandbox, and forks of its session.
func TestWhatIsOutOfMemoryIsOneForkAlone(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	for name, without := range map[string]bool{"WithCgroups": false, "WithoutCgroups": true} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			e := openEngine(t, python, func(c *sandbox.Config) {
				c.NoForkServer, c.NoCgroup, c.MinSpares, c.MaxSpares = false, without, 1, 1
				c.DefaultLimits = sandbox.Limits{Memory: 500 << 20}
			})
			require.NoError(t, e.Warm(ctx))
			waitForSpares(t, e, 1)
			spare := create(t, ctx, e, nil)
			require.Equal(t, backends.StartSpare, spare.Info().Start.Kind)
			forked := create(t, ctx, e, &sandbox.Options{ID: "forked"}) // which no spare can become
			require.Equal(t, backends.StartFork, forked.Info().Start.Kind)
			all := map[string]*sandbox.Sandbox{"spare": spare, "forked": forked}
			mustRun(t, ctx, spare, "kept = 41")
			mustRun(t, ctx, forked, "kept = 41")
			copies, err := forked.Fork(ctx, 2, nil)
			require.NoError(t, err)
			all["copy"] = copies[0]
			waitForSpares(t, e, 1)
			for who, victim := range all {
				_, err := victim.RunCode(ctx, "held = bytearray(b'x') * (3 << 30)", nil)
				require.Equal(t, backends.LimitMemory, limitOf(t, err).Limit, who)
				for other, sbx := range all {
					if other != who {
						require.Equal(t, "42", value(t, ctx, sbx, "kept + 1"), "%s was hurt by %s", other, who)
					}
				}
				require.Equal(t, "42", value(t, ctx, copies[1], "kept + 1"), "a copy was hurt by %s", who)
				require.Equal(t, 1, e.Metrics().Spares, "the spare that waits was hurt by %s", who)
				require.Equal(t, "41", value(t, ctx, victim, "kept = 41; kept"), "it starts afresh")
				require.Equal(t, backends.StartFork, victim.DefaultContext().Start().Kind, who)
			}
			last := create(t, ctx, e, nil)
			require.Equal(t, backends.StartSpare, last.Info().Start.Kind)
			require.Equal(t, "2", value(t, ctx, last, "1 + 1"))
		})
	}
}

func TestCommandEndedByALimitSaysWhich(t *testing.T) {
	withLimits(t, sandbox.Limits{Memory: 300 << 20, FileSize: 1 << 20}, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		result, err := sbx.Commands().Run(ctx, `exec python3 -c "held = bytearray(b'x') * (3 << 30)"`, nil)
		var limit *sandbox.LimitError
		require.ErrorAs(t, err, &limit)
		require.Equal(t, backends.LimitMemory, limit.Limit)
		require.Same(t, limit, result.Limit)
		require.ErrorContains(t, err, "memory limit reached: 300 MiB allowed")
		_, err = sbx.Commands().Run(ctx, "exec head -c 3000000 /dev/zero > big", nil)
		require.ErrorAs(t, err, &limit)
		require.Equal(t, backends.LimitFileSize, limit.Limit)
		_, err = sbx.Commands().Run(ctx, "kill -9 $$", nil)
		require.Error(t, err)
		require.False(t, errors.As(err, &limit), "no limit did that")
	})
}

// hits are the names of limits.
func hits(limits []*sandbox.LimitError) []backends.LimitName {
	var names []backends.LimitName
	for _, l := range limits {
		names = append(names, l.Limit)
	}
	return names
}

func TestLimitThatEndsAChildIsTold(t *testing.T) {
	limits := sandbox.Limits{Memory: 300 << 20, Processes: 100}
	withLimits(t, limits, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		const bomb = `python3 -c "held = bytearray(b'x') * (3 << 30)"`
		memory := []backends.LimitName{backends.LimitMemory}
		quiet, err := sbx.Commands().Start(ctx, "true; sleep 1000", nil)
		require.NoError(t, err)
		for range 3 {
			result, err := sbx.Commands().Run(ctx, bomb+"; echo child $?", nil)
			require.NoError(t, err)
			require.Contains(t, result.Stdout, "child 137")
			require.Nil(t, result.Limit)
			require.Equal(t, memory, hits(result.LimitsHit))
			result, err = sbx.Commands().Run(ctx, "kill -9 $$", nil)
			require.Error(t, err)
			require.Nil(t, result.Limit, "no limit did that")
			require.Empty(t, result.LimitsHit)
		}
		slow, err := sbx.Commands().Start(ctx, bomb+"; sleep 60", nil)
		require.NoError(t, err)
		<-time.After(2 * time.Second)
		require.NoError(t, slow.Kill(ctx))
		result, err := slow.Wait(ctx)
		require.Error(t, err)
		require.Nil(t, result.Limit, "it was us")
		require.Equal(t, memory, hits(result.LimitsHit))
		result, err = sbx.Commands().Run(ctx, "exec "+bomb, nil)
		require.Error(t, err)
		require.NotNil(t, result.Limit)
		require.Equal(t, memory, hits(result.LimitsHit))

		run := mustRun(t, ctx, sbx, "import subprocess\nsubprocess.run("+strconv.Quote(bomb)+", shell=True).returncode in (-9, 137)")
		require.Equal(t, "True", run.Text())
		require.Equal(t, memory, hits(run.Usage.LimitsHit))
		require.Empty(t, mustRun(t, ctx, sbx, "1").Usage.LimitsHit)
		require.NoError(t, quiet.Kill(ctx))
	})
}

func TestMemoryOfChildrenCounts(t *testing.T) {
	withLimits(t, sandbox.Limits{Memory: 400 << 20}, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run := mustRun(t, ctx, sbx, `
import subprocess, sys
done = subprocess.run([sys.executable, "-c", "held = []\nfor _ in range(3000): held.append(b'x' * (1 << 20))"])
done.returncode`)
		require.Equal(t, "-9", run.Text(), "the largest process is the one that ends")
	})
}

func TestForkBombIsContained(t *testing.T) {
	withLimits(t, sandbox.Limits{Processes: 100}, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		// A bomb that fizzles out by itself after 20 s at the latest, should nothing stop it.
		_, err := sbx.RunCode(ctx, `
import subprocess
bomb = "end=$(($(date +%s) + 20)); b() { while [ $(date +%s) -lt $end ]; do b & sleep 0.01; done; }; b & b & wait"
subprocess.run(["bash", "-c", bomb], stderr=subprocess.DEVNULL)
while True: pass`, &sandbox.RunOptions{Timeout: 30 * time.Second})
		limit := limitOf(t, err)
		require.Equal(t, backends.LimitProcesses, limit.Limit)
		require.Less(t, limit.Used, int64(3000), "seen too late")
		require.Equal(t, "1", mustRun(t, ctx, sbx, "1").Text(), "the context starts afresh")
	})
}

func TestCPUHogIsEndedByName(t *testing.T) {
	withLimits(t, sandbox.Limits{CPUTime: 3 * time.Second}, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		_, err := sbx.RunCode(ctx, "import os\nos.fork()\nwhile True: pass", nil)
		limit := limitOf(t, err)
		require.Equal(t, backends.LimitCPUTime, limit.Limit)
		require.Less(t, limit.Used, int64(6*time.Second))
		_, err = sbx.RunCode(ctx, "1", nil)
		require.ErrorAs(t, err, &limit, "the time is used up for good")
		require.ErrorContains(t, err, "cpu time")
	})
}

func TestDiskFillerIsEndedByName(t *testing.T) {
	withLimits(t, sandbox.Limits{Disk: 40 << 20}, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		_, err := sbx.RunCode(ctx, `
import time
with open("big", "wb") as f:
    for _ in range(500):
        f.write(bytes(1 << 20))
        f.flush()
        time.sleep(0.01)`, nil)
		limit := limitOf(t, err)
		require.Equal(t, backends.LimitDisk, limit.Limit)
		require.Greater(t, limit.Used, int64(40<<20))
		run := mustRun(t, ctx, sbx, "import os\nos.remove('big')\nopen('small', 'w').write('x')")
		require.Equal(t, "1", run.Text(), "code can remove what is too much")
		_, err = sbx.RunCode(ctx, `
import os, time
f = open("gone", "wb"); os.remove("gone")
for _ in range(500):
    f.write(bytes(1 << 20)); f.flush(); time.sleep(0.01)`, nil)
		require.Equal(t, backends.LimitDisk, limitOf(t, err).Limit, "a file without a name counts")
	})
}

func TestManySmallFilesAreCounted(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	ctx := testContext(t)
	sbx, err := engineFor(t, python).Create(ctx, &sandbox.Options{Limits: sandbox.Limits{Disk: 4 << 30}})
	require.NoError(t, err)
	mustRun(t, ctx, sbx, `
import os
for d in range(100):
    os.mkdir(f"d{d}")
    for i in range(1000): open(f"d{d}/{i}", "w").close()`)
	require.Eventually(t, func() bool {
		stats, err := sbx.Stats(ctx)
		require.NoError(t, err)
		return stats.Files == 100_100
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, "1", mustRun(t, ctx, sbx, "1").Text())
}

func TestHugeFileAndTooManyFilesAreRefused(t *testing.T) {
	withLimits(t, sandbox.Limits{FileSize: 1 << 20, OpenFiles: 100}, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run, err := sbx.RunCode(ctx, "open('big', 'wb').write(bytes(2 << 20))", nil)
		require.NoError(t, err)
		require.Contains(t, run.Error.Value, "File too large")
		run, err = sbx.RunCode(ctx, "held = [open('/dev/null') for _ in range(200)]", nil)
		require.NoError(t, err)
		require.Contains(t, run.Error.Value, "Too many open files")
		require.Equal(t, "1", mustRun(t, ctx, sbx, "1").Text())
		require.Equal(t, map[backends.LimitName]backends.Enforcer{
			backends.LimitFileSize: backends.ByRlimit, backends.LimitOpenFiles: backends.ByRlimit,
		}, sbx.Info().Enforcement)
	})
}

func TestShareOfProcessorsNeedsACgroup(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	ctx := testContext(t)
	engine := openEngine(t, python, func(c *sandbox.Config) { c.NoCgroup = true })
	_, err = engine.Create(ctx, &sandbox.Options{Limits: sandbox.Limits{CPUs: 0.5}})
	require.ErrorIs(t, err, backends.ErrUnsupported)
	require.ErrorContains(t, err, "limit cpus")

	sbx, err := engineFor(t, python).Create(ctx, &sandbox.Options{Limits: sandbox.Limits{CPUs: 0.25}})
	if err != nil {
		require.ErrorIs(t, err, backends.ErrUnsupported)
		t.Skip("no control group may be written here: " + err.Error())
	}
	begin, err := sbx.Stats(ctx)
	require.NoError(t, err)
	run := mustRun(t, ctx, sbx, "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass")
	after, err := sbx.Stats(ctx)
	require.NoError(t, err)
	require.Less(t, after.CPU-begin.CPU, run.Usage.Wall/2, "a quarter of a processor was allowed")
}

func TestStatsTellOfTheWholeTree(t *testing.T) {
	withLimits(t, sandbox.Limits{Processes: 200}, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		before, err := sbx.Stats(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, before.Processes)
		require.Greater(t, before.Threads, 1)
		require.Greater(t, before.Memory, int64(20<<20))
		mustRun(t, ctx, sbx, `
import subprocess, sys
open("data", "wb").write(bytes(3 << 20))
subprocess.run([sys.executable, "-c", "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"])
child = subprocess.Popen([sys.executable, "-c", "import time; held = b'x' * (50 << 20); print('up', flush=True); time.sleep(600)"], stdout=subprocess.PIPE)
child.stdout.readline()`)
		var after sandbox.Stats
		require.Eventually(t, func() bool {
			after, err = sbx.Stats(ctx)
			require.NoError(t, err)
			return after.Disk-before.Disk >= 3<<20 // counted at most once a second
		}, 10*time.Second, 50*time.Millisecond)
		require.Equal(t, 2, after.Processes)
		require.Greater(t, after.Memory-before.Memory, int64(50<<20))
		require.Greater(t, after.CPU-before.CPU, 500*time.Millisecond)
	})
}

func TestMistakenLimitsAreRefused(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	engine := openEngine(t, python, nil)
	for _, limits := range []sandbox.Limits{{Memory: -1}, {CPUs: -1}, {Processes: -5}, {CPUTime: -1}, {Disk: -1}} {
		_, err := engine.Create(testContext(t), &sandbox.Options{Limits: limits})
		require.ErrorContains(t, err, "limit ")
	}
	left, _ := os.ReadDir(engine.Config().WorkspaceBaseDir)
	require.Empty(t, left)
}
