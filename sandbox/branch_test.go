package sandbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// value is what an expression is in a sandbox.
func value(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox, code string) string {
	t.Helper()
	run := mustRun(t, ctx, sbx, code)
	return run.Text()
}

func TestForksGoOnApart(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, "import os, random; x = [1]; open('data', 'w').write('base'); f = open('log', 'a+'); f.write('0'); f.flush()")
		forks, err := sbx.Fork(ctx, 3, nil)
		require.NoError(t, err)
		drawn := map[string]bool{}
		for i, fork := range forks {
			require.Equal(t, sbx.ID(), fork.Info().Fork.From)
			require.Equal(t, fmt.Sprintf("'[1] %s base %s'", fork.Info().Workspace, fork.ID()),
				value(t, ctx, fork, "f'{x} {os.getcwd()} {open(\"data\").read()} {os.environ[\"DS_SANDBOX_ID\"]}'"))
			mustRun(t, ctx, fork, fmt.Sprintf("x.append(%d); open('data', 'w').write('fork %d'); f.write('1'); f.flush()", i, i))
			drawn[value(t, ctx, fork, "random.random()")] = true
		}
		require.Len(t, drawn, 3)
		require.Equal(t, "([1], 'base', '0')", value(t, ctx, sbx, "x, open('data').read(), open('log').read()"))
		for i, fork := range forks {
			require.Equal(t, fmt.Sprintf("([1, %d], 'fork %d', '01')", i, i), value(t, ctx, fork, "x, open('data').read(), open('log').read()"))
			text, err := fork.Files().ReadString(ctx, "data")
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("fork %d", i), text)
		}
		// The origin may go first, and a fork's commands, contexts and forks are its own.
		require.NoError(t, sbx.Kill(ctx))
		deeper, err := forks[0].Fork(ctx, 1, nil)
		require.NoError(t, err)
		require.Equal(t, 2, deeper[0].Info().Fork.Generation)
		require.NoError(t, forks[0].Kill(ctx))
		require.Equal(t, "[1, 0]", value(t, ctx, deeper[0], "x"))
		done, err := forks[1].Commands().Run(ctx, "cat data", nil)
		require.NoError(t, err)
		require.Equal(t, "fork 1", done.Stdout)
		require.NoError(t, forks[1].DefaultContext().Restart(ctx))
		require.Equal(t, "'fork 1'", value(t, ctx, forks[1], "open('data').read()"))
	})
}

func TestCheckpointsAreGoneBackToAnyNumberOfTimes(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		mustRun(t, ctx, sbx, "import random; x = 1")
		first, err := c.Checkpoint(ctx, nil)
		require.NoError(t, err)
		drawn := value(t, ctx, sbx, "x = 2; random.random()")
		second, err := c.Checkpoint(ctx, nil)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t, c.Rollback(ctx, first))
			require.Equal(t, "1", value(t, ctx, sbx, "x"))
			require.Equal(t, drawn, value(t, ctx, sbx, "random.random()"))
			require.NoError(t, c.Rollback(ctx, second))
			require.Equal(t, "2", value(t, ctx, sbx, "x"))
		}
		_, err = sbx.RunCode(ctx, "import os; os._exit(3)", nil)
		require.ErrorIs(t, err, kernel.ErrDead)
		require.NoError(t, c.Rollback(ctx, first))
		require.Equal(t, "1", value(t, ctx, sbx, "x"))
		require.NoError(t, first.Drop(ctx))
		require.ErrorIs(t, c.Rollback(ctx, first), sandbox.ErrNotFound)
		require.Equal(t, "1", value(t, ctx, sbx, "x"))
	})
}

func TestUndoableRuns(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		undoable := &sandbox.RunOptions{Undoable: true, Timeout: time.Minute}
		mustRun(t, ctx, sbx, "x = 1")
		_, err := sbx.RunCode(ctx, "x = 2", undoable)
		require.NoError(t, err)
		require.NoError(t, c.Undo(ctx))
		require.Equal(t, "1", value(t, ctx, sbx, "x"))
		require.ErrorIs(t, c.Undo(ctx), sandbox.ErrNotFound)

		_, err = sbx.RunCode(ctx, "x = 3; import os; os.kill(os.getpid(), 11)", undoable)
		require.ErrorIs(t, err, kernel.ErrDead)
		require.ErrorAs(t, err, new(*sandbox.UndoneError))
		require.Equal(t, "1", value(t, ctx, sbx, "x"))

		stubborn := "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nx = 4\nwhile True: time.sleep(1)"
		_, err = sbx.RunCode(ctx, stubborn, &sandbox.RunOptions{Undoable: true, Timeout: 200 * time.Millisecond})
		timeout := new(sandbox.TimeoutError)
		require.ErrorAs(t, err, &timeout)
		require.Equal(t, sandbox.StepRollback, timeout.Step)
		require.False(t, timeout.VariablesLost)
		require.Equal(t, "1", value(t, ctx, sbx, "x"))
	})
}

func TestWhatCannotBeCopiedIsRefused(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, "import threading; x = 1; stop = threading.Event(); t = threading.Thread(target=stop.wait, name='worker'); t.start()")
		refused := new(sandbox.RefusedError)
		_, err := sbx.Fork(ctx, 2, nil)
		require.ErrorAs(t, err, &refused)
		require.Contains(t, refused.Reasons[0], "worker")
		_, err = sbx.RunCode(ctx, "x = 2", &sandbox.RunOptions{Undoable: true})
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "1", value(t, ctx, sbx, "stop.set(); t.join(); x"))
		forks, err := sbx.Fork(ctx, 1, nil)
		require.NoError(t, err)
		require.Equal(t, "1", value(t, ctx, forks[0], "x"))
	})
}

func TestTwentyForksAtOnce(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, "x = 7")
		forks, err := sbx.Fork(ctx, 20, nil)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i, fork := range forks {
			wg.Go(func() {
				run, err := fork.RunCode(ctx, fmt.Sprintf("x += %d; x", i), nil)
				if err != nil || run.Text() != fmt.Sprint(7+i) {
					t.Errorf("fork %d: %v %q", i, err, run.Text())
				}
			})
		}
		wg.Wait()
		require.Equal(t, "7", value(t, ctx, sbx, "x"))
	})
}

func TestForksArePausedAndMeasuredByThemselves(t *testing.T) {
	withPause(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, "x = 1")
		forks, err := sbx.Fork(ctx, 2, nil)
		require.NoError(t, err)
		require.NoError(t, sbx.Pause(ctx))
		require.Equal(t, "1", value(t, ctx, forks[0], "x"))
		require.NoError(t, forks[0].Pause(ctx))
		require.Equal(t, "1", value(t, ctx, forks[1], "x"))
		_, err = forks[0].RunCode(ctx, "x", nil)
		require.ErrorIs(t, err, sandbox.ErrPaused)
		require.NoError(t, sbx.Resume(ctx))
		require.Equal(t, "1", value(t, ctx, sbx, "x"))
		require.NoError(t, forks[0].Resume(ctx))
		require.Equal(t, "1", value(t, ctx, forks[0], "x"))
	})
}

// model is a session as it ought to be.
type model struct {
	sbx         *sandbox.Sandbox
	x           int // a variable
	file        int // what is in the file x; -1 without one
	checkpoints []checkpoint
}

type checkpoint struct {
	at      *sandbox.Checkpoint
	x, file int // file: -2 when it is no part of it
}

// look is the variable and the file of a session.
const look = "x, int(open('x').read()) if __import__('os').path.exists('x') else -1"

func TestSessionsAreWhatAModelPredicts(t *testing.T) {
	withBranches(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		mustRun(t, ctx, sbx, "x = 0")
		sessions := []*model{{sbx: sbx, file: -1}}
		for step := range 60 {
			m := sessions[random.IntN(len(sessions))]
			switch action := random.IntN(10); {
			case action < 4:
				m.x, m.file = step, step
				mustRun(t, ctx, m.sbx, fmt.Sprintf("x = %d; _ = open('x', 'w').write(str(x))", step))
				if random.IntN(4) == 0 {
					m.file = -1
					mustRun(t, ctx, m.sbx, "import os; os.remove('x')")
				}
			case action < 6:
				kept := checkpoint{x: m.x, file: -2}
				files := random.IntN(2) == 0
				if files {
					kept.file = m.file
				}
				var err error
				kept.at, err = m.sbx.DefaultContext().Checkpoint(ctx, &sandbox.CheckpointOptions{Files: files})
				require.NoError(t, err)
				m.checkpoints = append(m.checkpoints, kept)
			case action < 8 && len(m.checkpoints) > 0:
				p := m.checkpoints[random.IntN(len(m.checkpoints))]
				require.NoError(t, m.sbx.DefaultContext().Rollback(ctx, p.at))
				if m.x = p.x; p.file != -2 {
					m.file = p.file
				}
			case len(sessions) < 8:
				forks, err := m.sbx.Fork(ctx, 1+random.IntN(2), nil)
				require.NoError(t, err)
				for _, f := range forks {
					sessions = append(sessions, &model{sbx: f, x: m.x, file: m.file})
				}
			default:
				i := random.IntN(len(sessions))
				require.NoError(t, sessions[i].sbx.Kill(ctx))
				sessions = append(sessions[:i], sessions[i+1:]...)
				if len(sessions) == 0 {
					return
				}
			}
			for _, m := range sessions {
				require.Equal(t, fmt.Sprintf("(%d, %d)", m.x, m.file), value(t, ctx, m.sbx, look), "step %d", step)
			}
		}
	})
}

func TestForksOfSandboxesLeaveNothing(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		before := sbx.Info().Workspace
		forks, err := sbx.Fork(ctx, 1, nil)
		require.NoError(t, err)
		place := forks[0].Info().Workspace
		require.DirExists(t, place)
		require.NoError(t, sbx.Kill(ctx))
		require.NoDirExists(t, before)
		require.DirExists(t, place)
		require.NoError(t, forks[0].Kill(ctx))
		left, err := os.ReadDir(filepath.Dir(before))
		require.NoError(t, err)
		require.Empty(t, left)
	})
}
