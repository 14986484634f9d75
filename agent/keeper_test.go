package agent

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// stopKeeper stops a keeper, as hostile code can, until the returned function is called; and the supervisor, which would
// let it go on.
func stopKeeper(t *testing.T, in *Instance) (resume func()) {
	t.Helper()
	k, err := in.currentKeeper(t.Context())
	require.NoError(t, err)
	supervisor := in.agent.supervisor.cmd.Process.Pid
	require.NoError(t, syscall.Kill(supervisor, syscall.SIGSTOP))
	require.NoError(t, syscall.Kill(k.pid, syscall.SIGSTOP))
	return func() {
		require.NoError(t, syscall.Kill(k.pid, syscall.SIGCONT))
		require.NoError(t, syscall.Kill(supervisor, syscall.SIGCONT))
	}
}

func TestStartThatIsGivenUpLeavesNothing(t *testing.T) {
	in := openPlace(t, newAgent(t))
	require.NoError(t, start(t, in, "exit 0").Signal(t.Context(), backends.Kill))
	resume := stopKeeper(t, in)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { _ = null.Close() }()
	ran := filepath.Join(in.Workspace(), "ran")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = in.keeper.start(ctx, program{argv: []string{"/bin/sh", "-c", "echo $$ > " + ran + "; exec sleep 600"}, dir: "/"}, null, null, null)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = in.keeper.start(ctx, program{argv: []string{"/bin/true"}, dir: "/"}, null, null, null)
	require.ErrorIs(t, err, context.DeadlineExceeded, "a context that is over already sends nothing")
	resume()
	require.Eventually(t, func() bool {
		r, err := in.keeper.wire.call(t.Context(), request{Op: "descendants"})
		return err == nil && len(r.PIDs) == 0
	}, 10*time.Second, time.Millisecond, "the sleeper is ended once its start is answered")
	status, err := start(t, in, "exit 3").Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, status.Code, "a deadline that passed while the keeper did not read hurts nobody else")
}

func TestKernelsThatEndedLeaveNoDescriptorsAndNoFolders(t *testing.T) {
	in := openPlace(t, newAgent(t))
	round := func() {
		started, err := in.StartKernel(t.Context(), backends.KernelConfig{})
		require.NoError(t, err)
		require.NoError(t, started.Signal(t.Context(), backends.Kill))
		_, err = started.Wait(t.Context())
		require.NoError(t, err)
		k := started.(*kernelProcess)
		in.finishing.Wait()
		require.NoDirExists(t, k.dir)
	}
	round()
	before := openFileCount(t)
	for range 5 {
		round()
	}
	require.LessOrEqual(t, openFileCount(t), before)
	in.mu.Lock()
	defer in.mu.Unlock()
	require.Empty(t, in.tails)
}

func openFileCount(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestProcessesAreFoundByTheirMarkAlone(t *testing.T) {
	a := newAgent(t)
	one, other := openPlaceNamed(t, a, "same"), openPlaceNamed(t, a, "same2")
	one.place.Mark, other.place.Mark = "mark-"+strconv.Itoa(os.Getpid()), "mark-"+strconv.Itoa(os.Getpid())+"0"
	victim, bystander := start(t, one, "sleep 600"), start(t, other, "sleep 600")
	require.NoError(t, KillMarked("", one.place.Mark))
	status, err := victim.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, "SIGKILL", status.Signal)
	require.NoError(t, syscall.Kill(bystander.pid, 0))
	select {
	case <-bystander.done:
		t.Fatal("a longer mark was hit by a shorter one")
	default:
	}
}

func TestKernelOfAnotherPythonHasAnEnvironmentOfItsOwn(t *testing.T) {
	in := openPlace(t, newAgent(t))
	script := filepath.Join(t.TempDir(), "python3")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\nexec "+in.agent.config.Python.Executable+" \"$@\"\n"), 0o700))
	python, err := Probe(t.Context(), script)
	require.NoError(t, err)
	python.Executable = script
	o, err := in.overlayOf(python)
	require.NoError(t, err)
	again, err := in.overlayOf(python)
	require.NoError(t, err)
	require.Same(t, o, again)
	require.NotEqual(t, in.env.dir, o.dir)
	minor := strings.Join(strings.SplitN(python.Version, ".", 3)[:2], ".")
	for _, name := range []string{"pip", "pip3", "pip" + minor, "python", "python" + minor} {
		_, err := os.Lstat(filepath.Join(o.bin, name))
		require.NoError(t, err, name)
	}
}
