package docker_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// slowest is how long a neighbour's answer may take meanwhile; on an idle machine it is some 20 ms.
const slowest = 4 * time.Second

// well does something while another sandbox is asked over and over and this program's memory is looked at: the first must go on
// answering, and the second may not grow by more than most bytes.
func well(t *testing.T, neighbour backends.Instance, most uint64, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	var watching sync.WaitGroup
	var peak uint64
	var worst time.Duration
	var failed error
	runtime.GC()
	before := heap()
	watching.Go(func() {
		for ctx.Err() == nil {
			peak = max(peak, heap())
			time.Sleep(20 * time.Millisecond)
		}
	})
	watching.Go(func() {
		for ctx.Err() == nil {
			begun := time.Now()
			out, err := try(context.WithoutCancel(ctx), neighbour, "echo on")
			if err == nil && out != "on\n" {
				err = errors.New(out)
			}
			failed = errors.Join(failed, err)
			worst = max(worst, time.Since(begun))
			time.Sleep(100 * time.Millisecond)
		}
	})
	do()
	cancel()
	watching.Wait()
	t.Logf("neighbour's slowest answer %v, memory here %+d MiB", worst.Round(time.Millisecond), (int64(peak)-int64(before))>>20)
	require.NoError(t, failed)
	require.Less(t, worst, slowest, "the neighbour notices")
	require.Less(t, int64(peak)-int64(before), int64(most))
}

// heap is what the last collection found in use: what waits for the next one, which a busy machine puts off, is no growth.
func heap() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return live[0].Value.Uint64()
}

// pair is a sandbox with limits and another one, of one backend.
func pair(t *testing.T, profile backends.Profile, limits backends.Limits) (in, neighbour backends.Instance) {
	t.Helper()
	b := open(t, nil)
	ctx := testContext(t)
	neighbour, err := b.Create(ctx, backends.Spec{ID: "neighbour"})
	require.NoError(t, err)
	in, err = b.Create(ctx, backends.Spec{ID: "one", Limits: limits, Container: backends.Container{Profile: profile}})
	require.NoError(t, err)
	return in, neighbour
}

// TestProofBombs has code use up what a limit bounds, as the user and as root: it ends with the limit's name, and the sandbox lives.
func TestProofBombs(t *testing.T) {
	const (
		fork   = "bomb() { bomb | bomb & }; bomb & exec sleep 600"
		detach = "bomb() { setsid bash -c \"$(declare -f bomb); bomb\" & setsid bash -c \"$(declare -f bomb); bomb\" & }; bomb & exec sleep 600"
		memory = "exec python3 -c 'x = [bytearray(1 << 20) for _ in range(3000)]'"
		memfd  = `exec python3 -c 'import os
f = os.memfd_create("x")
while True: os.write(f, bytes(1 << 20))'`
		unlinked = "exec 3> gone; rm gone; exec dd if=/dev/zero bs=1M count=100000 >&3"
	)
	fill := func(path string) string { return "exec dd if=/dev/zero of=" + path + " bs=1M count=100000" }
	type bomb struct {
		line  string
		limit backends.LimitName
	}
	limits := backends.Limits{Memory: 256 << 20, Processes: 80, Disk: 64 << 20}
	run := func(t *testing.T, profile backends.Profile, bombs []bomb) {
		in, neighbour := pair(t, profile, limits)
		ctx := testContext(t)
		well(t, neighbour, 64<<20, func() {
			for _, bomb := range bombs {
				begun := time.Now()
				c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"/bin/bash", "-c", bomb.line}})
				require.NoError(t, err)
				status, err := c.Wait(ctx)
				require.NoError(t, err)
				hits := status.LimitsHit // of what the command started, as sudo does
				if status.Limit != nil {
					hits = append(hits, status.Limit)
				}
				require.True(t, slices.ContainsFunc(hits, func(l *backends.LimitError) bool { return l.Limit == bomb.limit }), "%s: %+v", bomb.line, status)
				require.NoError(t, errors.Join(c.Stdout().Close(), c.Stderr().Close()))
				require.EventuallyWithT(t, func(t *assert.CollectT) {
					out, err := try(ctx, in, "rm -rf /tmp/big /var/tmp/big /run/lock/big /run/ds-sandbox/big /var/lib/ds-sandbox/big big; echo on")
					require.NoError(t, err)
					require.Equal(t, "on\n", out)
				}, 10*time.Second, 100*time.Millisecond, "the sandbox lives after %s", bomb.line)
				t.Logf("%v: %.60s", time.Since(begun).Round(time.Millisecond), bomb.line)
			}
		})
	}
	t.Run("hardened", func(t *testing.T) {
		run(t, backends.ProfileHardened, []bomb{
			{fork, backends.LimitProcesses},
			{detach, backends.LimitProcesses},
			{memory, backends.LimitMemory},
			{memfd, backends.LimitMemory},
			{fill("big"), backends.LimitDisk},
			{fill("/tmp/big"), backends.LimitDisk},
			{fill("/run/lock/big"), backends.LimitDisk},
			{fill("/run/ds-sandbox/big"), backends.LimitDisk},
			{fill("/var/lib/ds-sandbox/big"), backends.LimitDisk},
			{unlinked, backends.LimitDisk},
		})
	})
	t.Run("compatible as root", func(t *testing.T) {
		// Root's processes are not the agent's to end: what it set off goes on within the container's bounds, until the sandbox is killed.
		run(t, backends.ProfileCompatible, []bomb{{"exec sudo bash -c '" + fork + "'", backends.LimitProcesses}})
		run(t, backends.ProfileCompatible, []bomb{{"exec sudo " + strings.TrimPrefix(memory, "exec "), backends.LimitMemory}})
	})
}

// TestProofBombsWithoutLimits: what nobody set a limit for is bounded for the machine's sake.
func TestProofBombsWithoutLimits(t *testing.T) {
	in, neighbour := pair(t, backends.ProfileCompatible, backends.Limits{})
	well(t, neighbour, 64<<20, func() {
		out := sh(t, in, `sudo python3 -c '
import threading, time
threading.stack_size(65536)
n = 0
try:
    while n < 20000:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        n += 1
except RuntimeError: pass
print(n < 4096, n > 1000, flush=True)
import os; os._exit(0)'`)
		require.Equal(t, "True True\n", out)
		require.Equal(t, "500 1000\n", sh(t, in, `rank=/proc/$$/oom_score_adj
for i in $(seq 500); do [ $(cat $rank) = 1000 ] && break; sleep .01; done
echo $(cat /proc/1/oom_score_adj $rank)`), "the code goes before the agent")
		require.Contains(t, sh(t, in, "sudo sh -c 'echo -900 > /proc/self/oom_score_adj'; echo code $?"), "code 1")
		require.Equal(t, "0\n", sh(t, in, "ulimit -c"), "no images of memory on the machine")
	})
}

// TestProofFloodOfACommand: who prints without end and is not read is held up; who is read is not kept.
func TestProofFloodOfACommand(t *testing.T) {
	in, neighbour := pair(t, "", backends.Limits{})
	ctx := testContext(t)
	well(t, neighbour, 64<<20, func() {
		c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"sh", "-c", "yes out & yes err >&2"}})
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		n, err := io.CopyN(io.Discard, c.Stdout(), 200<<20)
		require.NoError(t, err)
		require.EqualValues(t, 200<<20, n)
		require.NoError(t, c.Signal(ctx, backends.Kill))
		_, err = c.Wait(ctx)
		require.NoError(t, err)
		require.NoError(t, errors.Join(c.Stdout().Close(), c.Stderr().Close()))
		require.Equal(t, "on\n", sh(t, in, "echo on"))
	})
}

// TestProofManyFiles: open ones, and a hundred thousand of them.
func TestProofManyFiles(t *testing.T) {
	in, neighbour := pair(t, "", backends.Limits{OpenFiles: 300})
	ctx := testContext(t)
	well(t, neighbour, 256<<20, func() {
		require.Contains(t, sh(t, in, `python3 -c '
import os
held = []
try:
    while True: held.append(os.open("/dev/null", 0))
except OSError as e: print(e.strerror, len(held) < 300)'`), "Too many open files True")
		begun := time.Now()
		require.Equal(t, "100000\n", sh(t, in, `python3 -c '
import os
for d in range(100):
    os.mkdir("d%d" % d)
    for f in range(1000): open("d%d/%d" % (d, f), "w").close()
print(d * 1000 + f + 1)'`))
		t.Logf("made: %v", time.Since(begun).Round(time.Millisecond))
		begun = time.Now()
		list, err := in.Files().List(ctx, "d5", 1)
		require.NoError(t, err)
		require.Len(t, list, 1000)
		_, err = in.Files().List(ctx, "", 3)
		require.Error(t, err, "more than a listing holds")
		require.NoError(t, in.Files().Export(ctx, "", io.Discard))
		_, err = in.Stats(ctx)
		require.NoError(t, err)
		t.Logf("listed, exported, counted: %v", time.Since(begun).Round(time.Millisecond))
		begun = time.Now()
		require.NoError(t, in.Destroy(ctx))
		t.Logf("destroyed: %v", time.Since(begun).Round(time.Millisecond))
		require.Less(t, time.Since(begun), 20*time.Second)
	})
}
