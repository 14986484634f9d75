package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// copies is how many copies an interpreter knows of that live.
const copies = "len(get_ipython().kernel.brancher._copies) if get_ipython().kernel.brancher else 0"

func TestACopyThatNobodyWaitsForEnds(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		mustRun(t, ctx, sbx, "x = 1")
		took := time.Now()
		kept, err := c.Checkpoint(ctx, nil)
		require.NoError(t, err)
		once := time.Since(took)
		cancelled := 0
		for i := range 24 {
			hurried, cancel := context.WithTimeout(ctx, once*time.Duration(i)/20)
			p, err := c.Checkpoint(hurried, nil)
			cancel()
			if err == nil {
				require.NoError(t, p.Drop(ctx))
			} else {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				cancelled++
			}
		}
		for i := range 12 {
			hurried, cancel := context.WithTimeout(ctx, once*time.Duration(i)/6)
			if c.Rollback(hurried, kept) != nil {
				cancelled++
			}
			cancel()
			_, err := sbx.Fork(hurried, 1, nil)
			require.Error(t, err)
		}
		t.Logf("%d were cancelled", cancelled)
		require.Positive(t, cancelled)
		require.Equal(t, "1", value(t, ctx, sbx, "x"))
		require.NoError(t, kept.Drop(ctx))
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			stats, err := sbx.Stats(ctx)
			require.NoError(t, err)
			known := value(t, ctx, sbx, copies)
			if known == "0" && stats.Processes == 1 {
				return
			}
			require.True(t, time.Now().Before(deadline), "%s copies, %d processes", known, stats.Processes)
		}
	})
}

func TestTheReasonOfADeathIsToldWhileACopyLives(t *testing.T) {
	ends := map[string]backends.ExitStatus{"os._exit(3)": {Code: 3}, "os.kill(os.getpid(), 9)": {Code: -1, Signal: "SIGKILL"}}
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		kept, err := c.Checkpoint(ctx, nil)
		require.NoError(t, err)
		for range 2 { // of the original, and of a copy
			for code, want := range ends {
				_, err := sbx.RunCode(ctx, "import os; "+code, nil)
				exit := new(backends.ExitError)
				require.ErrorAs(t, err, &exit)
				require.Equal(t, want.Code, exit.Status.Code)
				require.Equal(t, want.Signal, exit.Status.Signal)
				require.NoError(t, c.Rollback(ctx, kept))
			}
		}
	})
}

func TestALimitIsNamedWhileACopyLives(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		e := engineFor(t, python)
		limited := create(t, ctx, e, &sandbox.Options{Limits: sandbox.Limits{Memory: 400 << 20}})
		other := create(t, ctx, e, nil)
		mustRun(t, ctx, other, "x = 5")
		const hoard = "hoard = [bytes([1]) * 10_000_000 for _ in range(1000)]"
		mustRun(t, ctx, limited, "x = 1")
		_, err := limited.RunCode(ctx, hoard, &sandbox.RunOptions{Undoable: true})
		limit := new(sandbox.LimitError)
		require.ErrorAs(t, err, &limit)
		require.Equal(t, "5", value(t, ctx, other, "x"), "what is out of memory is one sandbox alone")
	})
}

func TestAnUndoableContextGoesOnWithAThread(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c, err := sbx.CreateContext(ctx, &sandbox.ContextOptions{Undoable: true})
		require.NoError(t, err)
		do := func(code string, opts *sandbox.RunOptions) *sandbox.Execution {
			t.Helper()
			run, err := c.RunCode(ctx, code, opts)
			require.NoError(t, err)
			require.NoError(t, run.Err())
			return run
		}
		require.Nil(t, do("import threading; ev = threading.Event(); t = threading.Thread(target=ev.wait, name='busy'); t.start()", nil).UndoRefused)
		refused := do("x = 1", nil).UndoRefused
		require.NotNil(t, refused)
		require.Contains(t, refused.Error(), "busy")
		require.ErrorIs(t, c.Undo(ctx), sandbox.ErrNotFound, "the run before is not the last")
		_, err = c.RunCode(ctx, "x = 2", &sandbox.RunOptions{Undoable: true})
		require.ErrorAs(t, err, new(*sandbox.RefusedError), "who asks for it in so many words is told")
		do("ev.set(); t.join()", nil)
		require.Nil(t, do("x = 3", &sandbox.RunOptions{NoUndo: true}).UndoRefused)
		require.ErrorIs(t, c.Undo(ctx), sandbox.ErrNotFound)
		do("x = 4", nil)
		require.NoError(t, c.Undo(ctx))
		require.Equal(t, "3", do("x", nil).Text())
	})
}

func TestCullingDropsWhatAnUndoHolds(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		sbx := create(t, ctx, engineFor(t, python), &sandbox.Options{CullAfter: time.Second})
		_, err := sbx.RunCode(ctx, "big = bytearray(100 << 20)", &sandbox.RunOptions{Undoable: true})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			stats, err := sbx.Stats(ctx)
			return err == nil && stats.Processes == 0
		}, 20*time.Second, 50*time.Millisecond)
		_, err = sbx.RunCode(ctx, "1", nil)
		require.ErrorIs(t, err, sandbox.ErrCulled)
		require.Equal(t, "2", value(t, ctx, sbx, "2"))
	})
}

// tree is what is in a workspace: contents by name.
func tree(t *testing.T, sbx *sandbox.Sandbox) map[string]string {
	t.Helper()
	found := map[string]string{}
	top := sbx.Info().Workspace
	require.NoError(t, filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
		if err != nil || path == top {
			return err
		}
		name := strings.TrimPrefix(path, top+"/")
		switch info, err := entry.Info(); {
		case err != nil:
			return err
		case entry.IsDir():
			found[name] = info.Mode().String()
		case info.Mode()&os.ModeSymlink != 0:
			found[name], err = os.Readlink(path)
			return err
		default:
			data, err := os.ReadFile(path)
			found[name] = fmt.Sprintf("%s %s %s", info.Mode(), info.ModTime(), data)
			return err
		}
		return nil
	}))
	return found
}

func TestACheckpointWithFilesBringsThemBack(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		mustRun(t, ctx, sbx, `import os, shutil
for name in ("kept", "same-time", "gone", "replaced", "d/in", "e/in"):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    _ = open(name, "w").write("old")
os.symlink("kept", "link"); os.mkdir("empty"); os.chmod("d", 0o500)
f = open("log", "a+"); _ = f.write("1"); f.flush()`)
		kept, err := c.Checkpoint(ctx, &sandbox.CheckpointOptions{Files: true})
		require.NoError(t, err)
		before := tree(t, sbx)
		const havoc = `st = os.stat("same-time"); _ = open("same-time", "w").write("new"); os.utime("same-time", ns=(st.st_atime_ns, st.st_mtime_ns))
os.remove("gone"); os.remove("replaced"); os.mkdir("replaced"); _ = open("replaced/x", "w").write("x"); _ = open("more", "w").write("x")
os.chmod("d", 0o700); shutil.rmtree("d"); shutil.rmtree("e"); os.symlink("/etc", "e"); os.remove("link"); os.symlink("/", "link"); os.rmdir("empty")
_ = f.write("2"); f.flush(); shutil.move("log", "log.old")`
		for range 2 {
			mustRun(t, ctx, sbx, havoc)
			require.NotEqual(t, before, tree(t, sbx))
			require.NoError(t, c.Rollback(ctx, kept))
			require.Equal(t, before, tree(t, sbx))
			// A file that was open is the one that is there again.
			require.Equal(t, "('1', '13')", value(t, ctx, sbx, "a = open('log').read(); _ = f.write('3'); f.flush(); a, open('log').read()"))
		}
		require.NoError(t, kept.Drop(ctx))

		mustRun(t, ctx, sbx, "x = 1")
		undo := &sandbox.RunOptions{Undoable: true, UndoFiles: true, Timeout: time.Minute}
		_, err = sbx.RunCode(ctx, "open('made', 'w').close(); os.remove('kept'); os.abort()", undo)
		require.ErrorAs(t, err, new(*sandbox.UndoneError))
		require.Equal(t, "(1, False, True)", value(t, ctx, sbx, "x, os.path.exists('made'), os.path.exists('kept')"))
		// A run that would not end is not writing any more when the files come back.
		stubborn := "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: open('made', 'a').write('x'); time.sleep(0.001)"
		// Its time is long enough for it to have begun with ignoring interrupts.
		_, err = sbx.RunCode(ctx, stubborn, &sandbox.RunOptions{Undoable: true, UndoFiles: true, Timeout: time.Second})
		timeout := new(sandbox.TimeoutError)
		require.ErrorAs(t, err, &timeout)
		require.Equal(t, sandbox.StepRollback, timeout.Step)
		require.Equal(t, "(1, False)", value(t, ctx, sbx, "time_ = __import__('time').sleep(0.1); x, os.path.exists('made')"))
		saved, err := filepath.Glob(filepath.Join(filepath.Dir(sbx.Info().Workspace), "env-*", "saved", "*"))
		require.NoError(t, err)
		require.Empty(t, saved)
	})
}

func TestWhatWasNotWrittenYetIsInTheFilesOfCopies(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, "f = open('late', 'w'); _ = f.write('a' * 100)")
		const look = "_ = f.write('b'); f.flush(); open('late').read() == 'a' * 100 + 'b'"
		for range 3 {
			forks, err := sbx.Fork(ctx, 1, nil)
			require.NoError(t, err)
			require.Equal(t, "True", value(t, ctx, forks[0], look))
			require.NoError(t, forks[0].Kill(ctx))
		}
		mustRun(t, ctx, sbx, "_ = f.seek(0), f.truncate(), f.write('a' * 100)")
		kept, err := sbx.DefaultContext().Checkpoint(ctx, &sandbox.CheckpointOptions{Files: true})
		require.NoError(t, err)
		mustRun(t, ctx, sbx, "f.close(); import os; os.remove('late')")
		for range 2 {
			require.NoError(t, sbx.DefaultContext().Rollback(ctx, kept))
			require.Equal(t, "True", value(t, ctx, sbx, look))
		}
	})
}

func TestFilesOfYourOwnFolderAreNotRemoved(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		sbx := create(t, ctx, engineFor(t, python), &sandbox.Options{WorkspacePath: t.TempDir()})
		_, err := sbx.DefaultContext().Checkpoint(ctx, &sandbox.CheckpointOptions{Files: true})
		require.ErrorIs(t, err, backends.ErrUnsupported)
		require.Equal(t, "2", value(t, ctx, sbx, "2"))
	})
}

func TestCopiesOfCopiesSaySo(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		for deep := 0; ; deep++ {
			p, err := c.Checkpoint(ctx, nil)
			require.NoError(t, err)
			if deep == 20 {
				require.Len(t, p.Warnings, 1)
				require.Contains(t, p.Warnings[0], "20 deep")
				return
			}
			require.Empty(t, p.Warnings)
			require.NoError(t, c.Rollback(ctx, p))
			require.NoError(t, p.Drop(ctx))
		}
	})
}

func TestEveryStartSaysWhatItWas(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 1, 1 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		waitForSpares(t, e, 1)
		spare := create(t, ctx, e, nil)
		c := spare.DefaultContext()
		check := func(start sandbox.Start, kind backends.StartKind) {
			t.Helper()
			require.Equal(t, kind, start.Kind)
			require.Positive(t, start.Time)
		}
		check(spare.Info().Start, backends.StartSpare)
		check(c.Start(), backends.StartSpare)
		require.NoError(t, c.Restart(ctx))
		check(c.Start(), backends.StartFork)
		p, err := c.Checkpoint(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, c.Rollback(ctx, p))
		check(c.Start(), backends.StartFork)
		second, err := spare.CreateContext(ctx, &sandbox.ContextOptions{Env: map[string]string{"PYTHONX": "1"}})
		require.NoError(t, err)
		check(second.Start(), backends.StartCold)
		forks, err := spare.Fork(ctx, 2, nil)
		require.NoError(t, err)
		check(forks[1].Info().Start, backends.StartFork)
		check(forks[1].DefaultContext().Start(), backends.StartFork)
		lazy := create(t, ctx, e, &sandbox.Options{Lazy: true})
		require.Empty(t, lazy.Info().Start.Kind)
		mustRun(t, ctx, lazy, "1")
		check(lazy.Info().Start, backends.StartFork)
		counts := map[sandbox.Occasion]map[backends.StartKind]int{}
		for why, kinds := range e.Metrics().Occasions {
			counts[why] = map[backends.StartKind]int{}
			for kind, c := range kinds {
				require.Positive(t, c.Total)
				counts[why][kind] = c.Count
			}
		}
		require.Equal(t, map[sandbox.Occasion]map[backends.StartKind]int{
			sandbox.OnCreate: {backends.StartSpare: 1}, sandbox.OnRestart: {backends.StartFork: 1}, sandbox.OnRollback: {backends.StartFork: 1},
			sandbox.OnContext: {backends.StartCold: 1, backends.StartFork: 1}, sandbox.OnFork: {backends.StartFork: 2},
		}, counts)
	})
}

func TestDeadlinesSayWhatWasLate(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		sbx := create(t, ctx, engineFor(t, python), nil)
		p, err := sbx.DefaultContext().Checkpoint(ctx, nil)
		require.NoError(t, err)
		why := fmt.Errorf("no patience")
		impatient, cancel := context.WithTimeoutCause(ctx, time.Nanosecond, why)
		defer cancel()
		require.ErrorIs(t, sbx.DefaultContext().Rollback(impatient, p), why)
		_, err = sbx.Fork(impatient, 1, nil)
		require.ErrorIs(t, err, why)
		_, err = sbx.RunCode(ctx, "1", nil)
		require.NoError(t, err)
		require.NotErrorIs(t, err, kernel.ErrDead)
	})
}
