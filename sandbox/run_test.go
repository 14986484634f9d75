package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestStateStaysBetweenRuns(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		require.Equal(t, 1, mustRun(t, ctx, sbx, "x = 20").ExecutionCount)
		run := mustRun(t, ctx, sbx, "x + 1")
		require.Equal(t, "21", run.Text())
		require.Equal(t, 2, run.ExecutionCount)
		require.True(t, run.Success())
		require.Len(t, run.Results, 1)
		require.True(t, run.Results[0].IsMainResult)
		require.Positive(t, run.Usage.Wall)
		require.Positive(t, run.Usage.PeakMemory)
	})
}

func TestEmptyCodeDoesNothing(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		for _, code := range []string{"", "\n", "   ", "# nothing"} {
			run := mustRun(t, ctx, sbx, code)
			require.Empty(t, run.Results)
			require.Empty(t, run.Stdout())
		}
	})
}

func TestRaisedExceptionIsData(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		var seen []string
		run, err := sbx.RunCode(ctx, "print('before')\nraise ValueError('no good')", &sandbox.RunOptions{
			OnError: func(e *sandbox.ExecutionError) { seen = append(seen, e.Name) },
		})
		require.NoError(t, err)
		require.Equal(t, "before\n", run.Stdout())
		require.Equal(t, "ValueError", run.Error.Name)
		require.Equal(t, "no good", run.Error.Value)
		require.Contains(t, run.Error.PlainTraceback(), "raise ValueError('no good')")
		require.NotContains(t, run.Error.PlainTraceback(), "\x1b")
		require.Equal(t, []string{"ValueError"}, seen, "an error is told once")
		require.EqualError(t, run.Err(), "ValueError: no good")
	})
}

func TestStreamsComeLiveAndWhole(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		var at []time.Time
		var texts []string
		run, err := sbx.RunCode(ctx, "import time, sys\nprint('a')\ntime.sleep(0.6)\nprint('b')\nprint('c', file=sys.stderr)", &sandbox.RunOptions{
			OnStdout: func(m sandbox.OutputMessage) { at, texts = append(at, time.Now()), append(texts, m.Text) },
			OnStderr: func(m sandbox.OutputMessage) { require.True(t, m.Stderr); texts = append(texts, "err:"+m.Text) },
		})
		require.NoError(t, err)
		require.Equal(t, []string{"a\n", "b\n", "err:c\n"}, texts)
		require.Greater(t, at[1].Sub(at[0]), 300*time.Millisecond, "the first line waited for the second")
		require.Equal(t, "a\nb\n", run.Stdout())
		require.Equal(t, "c\n", run.Stderr())
	})
}

func TestOnePrintIsOneMessage(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run := mustRun(t, ctx, sbx, "import time, random\nfor i in range(300):\n    print('line', i)\n    time.sleep(random.random() * 0.008)")
		for _, text := range run.Logs.Stdout {
			require.True(t, strings.HasSuffix(text, "\n"), "cut: %q", text)
		}
		require.Equal(t, 300, strings.Count(run.Stdout(), "\n"))
	})
}

func TestResultsHoldAllForms(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run := mustRun(t, ctx, sbx, `
class Rich:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": "t", "text/html": "<b>h</b>", "text/markdown": "*m*", "image/svg+xml": "<svg/>",
                "text/latex": "$l$", "application/json": {"a": [1, 2]}, "application/javascript": "j()",
                "e2b/data": {"x": [1]}, "e2b/chart": {"type": "line"}, "application/vnd.mine+json": {"k": 1}}, {"text/html": {"isolated": True}}
Rich()`)
		require.Len(t, run.Results, 1)
		r := run.Results[0]
		require.Equal(t, []string{"t", "<b>h</b>", "*m*", "<svg/>", "$l$", "j()"}, []string{r.Text, r.HTML, r.Markdown, r.SVG, r.LaTeX, r.JavaScript})
		require.JSONEq(t, `{"a": [1, 2]}`, string(r.JSON))
		require.JSONEq(t, `{"x": [1]}`, string(r.Data))
		require.JSONEq(t, `{"type": "line"}`, string(r.Chart))
		require.JSONEq(t, `{"k": 1}`, string(r.Extra["application/vnd.mine+json"]))
		require.Len(t, r.Formats(), 10)
		require.JSONEq(t, `{"isolated": true}`, string(r.Metadata["text/html"]))
	})
}

func TestFigureArrivesWhileTheCodeRuns(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		var at time.Time
		run, err := sbx.RunCode(ctx, "import matplotlib.pyplot as plt, time\nplt.plot([1, 2])\nplt.show()\ntime.sleep(0.5)\n'end'", &sandbox.RunOptions{
			OnResult: func(r *sandbox.Result) {
				if r.PNG != "" {
					at = time.Now()
				}
			},
		})
		require.NoError(t, err)
		require.Greater(t, time.Since(at), 300*time.Millisecond)
		require.Len(t, run.Results, 2)
		require.False(t, run.Results[0].IsMainResult)
		data, ext, ok := run.Results[0].Image()
		require.True(t, ok)
		require.Equal(t, ".png", ext)
		picture, err := png.Decode(strings.NewReader(string(data)))
		require.NoError(t, err)
		require.Greater(t, picture.Bounds().Dx(), 100)
		require.Equal(t, "'end'", run.Text())

		bare := mustRun(t, ctx, sbx, "plt.plot([3, 4]);")
		require.NotEmpty(t, bare.Results)
		require.NotEmpty(t, bare.Results[len(bare.Results)-1].PNG, "a bare plot gives a picture")
	})
}

func TestDisplayUpdatesFoldIntoTheFirst(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		var shown []string
		see := func(r *sandbox.Result) { shown = append(shown, r.DisplayID+"="+r.Text) }
		run, err := sbx.RunCode(ctx, "from IPython.display import display\nh = display('one', display_id='d')\nh.update('two')", &sandbox.RunOptions{OnResult: see})
		require.NoError(t, err)
		require.Equal(t, []string{"d='one'", "d='two'"}, shown)
		require.Len(t, run.Results, 1)
		require.Equal(t, "'two'", run.Results[0].Text)

		shown = nil
		later, err := sbx.RunCode(ctx, "h.update('three')", &sandbox.RunOptions{OnResult: see})
		require.NoError(t, err)
		require.Equal(t, []string{"d='three'"}, shown, "a later run's update is told")
		require.Empty(t, later.Results, "and is no result of its own")
	})
}

func TestClearOutputFoldsAsANotebookDoes(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		cleared := 0
		run, err := sbx.RunCode(ctx, `
from IPython.display import clear_output
for i in range(3):
    clear_output(wait=True)
    print("step", i, flush=True)
`, &sandbox.RunOptions{OnClear: func() { cleared++ }})
		require.NoError(t, err)
		require.Equal(t, "step 2\n", run.Stdout())
		require.Equal(t, 3, cleared)
	})
}

func TestHelpPageIsAResult(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run := mustRun(t, ctx, sbx, "len?")
		require.Len(t, run.Results, 1)
		require.True(t, run.Results[0].IsPage)
		require.Contains(t, run.Results[0].Text, "Return the number of items in a container")
	})
}

func TestInputIsAnsweredOrRaisesAtOnce(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		var asked []string
		run, err := sbx.RunCode(ctx, "import getpass\nn = input('name? ')\np = getpass.getpass('word? ')\nn + p", &sandbox.RunOptions{
			OnInput: func(_ context.Context, prompt string, password bool) (string, error) {
				asked = append(asked, fmt.Sprint(prompt, password))
				return map[bool]string{false: "ada", true: "secret"}[password], nil
			},
		})
		require.NoError(t, err)
		require.NoError(t, run.Err())
		require.Equal(t, "'adasecret'", run.Text())
		require.Equal(t, []string{"name? false", "word? true"}, asked)

		run, err = sbx.RunCode(ctx, "input()", nil)
		require.NoError(t, err)
		require.Equal(t, "StdinNotImplementedError", run.Error.Name)

		run, err = sbx.RunCode(ctx, "input()", &sandbox.RunOptions{OnInput: func(context.Context, string, bool) (string, error) { return "", io.EOF }})
		require.NoError(t, err)
		require.Equal(t, "EOFError", run.Error.Name)

		untilOver := func(ctx context.Context, _ string, _ bool) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		_, err = sbx.RunCode(ctx, "input()", &sandbox.RunOptions{OnInput: untilOver, Timeout: 300 * time.Millisecond})
		var timeout *sandbox.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.False(t, timeout.VariablesLost)
		_, err = sbx.RunCode(ctx, "import os, threading; threading.Timer(0.3, os._exit, [3]).start(); input()", &sandbox.RunOptions{OnInput: untilOver})
		require.ErrorIs(t, err, kernel.ErrDead)
	})
}

func TestEnvForOneRunIsUndone(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		value := "a 'quoted' \"value\" \\n ünï 🎉"
		run, err := sbx.RunCode(ctx, "import os; os.environ['ONCE']", &sandbox.RunOptions{Env: map[string]string{"ONCE": value}})
		require.NoError(t, err)
		require.NoError(t, run.Err())
		require.Contains(t, run.Text(), "🎉")
		require.Equal(t, "True", mustRun(t, ctx, sbx, "'ONCE' not in os.environ").Text())
		// Also when the code raises.
		run, err = sbx.RunCode(ctx, "1/0", &sandbox.RunOptions{Env: map[string]string{"ONCE": "x"}})
		require.NoError(t, err)
		require.NotNil(t, run.Error)
		require.Equal(t, "True", mustRun(t, ctx, sbx, "'ONCE' not in os.environ").Text())
	})
}

func TestTimeoutInterruptsAndKeepsVariables(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, "kept = 42")
		run, err := sbx.RunCode(ctx, "print('so far')\nwhile True: pass", &sandbox.RunOptions{Timeout: 300 * time.Millisecond})
		var timeout *sandbox.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.ErrorIs(t, err, sandbox.ErrTimeout)
		require.Equal(t, sandbox.StepInterrupt, timeout.Step)
		require.False(t, timeout.VariablesLost)
		require.Equal(t, "so far\n", run.Stdout())
		require.Equal(t, "42", mustRun(t, ctx, sbx, "kept").Text(), "the next run gets its own result")
	})
}

func TestTimeoutOfDeafCodeRestartsTheKernel(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		id := sbx.DefaultContext().ID()
		deaf := "import time\nprint('deaf', flush=True)\nwhile True:\n    try:\n        time.sleep(10)\n    except KeyboardInterrupt:\n        pass"
		next := make(chan error, 1)
		go func() {
			time.Sleep(50 * time.Millisecond) // the first is under way; were it not, the order would differ and nothing else
			run, err := sbx.RunCode(ctx, "'after'", nil)
			if err == nil && run.Text() != "'after'" {
				err = errors.New("another run's result: " + run.Text())
			}
			next <- err
		}()
		start := time.Now()
		run, err := sbx.RunCode(ctx, deaf, &sandbox.RunOptions{Timeout: 500 * time.Millisecond})
		var timeout *sandbox.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.Equal(t, sandbox.StepRestart, timeout.Step)
		require.True(t, timeout.VariablesLost)
		require.NoError(t, timeout.Err)
		require.Less(t, time.Since(start), 20*time.Second)
		require.Equal(t, "deaf\n", run.Stdout())
		require.NoError(t, <-next, "a run that waited runs on the new kernel")
		require.Equal(t, id, sbx.DefaultContext().ID())
	})
}

func TestTimeoutCountsFromTheStartOfTheRun(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		first := make(chan error, 1)
		started := make(chan struct{})
		go func() {
			_, err := sbx.RunCode(ctx, "import time; print('go', flush=True); time.sleep(1)", &sandbox.RunOptions{
				OnStdout: func(sandbox.OutputMessage) { close(started) },
			})
			first <- err
		}()
		<-started
		_, err := sbx.RunCode(ctx, "1", &sandbox.RunOptions{Timeout: 600 * time.Millisecond})
		require.NoError(t, err, "waiting for its turn is no part of a run's time")
		require.NoError(t, <-first)
	})
}

func TestCancelInterruptsAndReturnsItsCause(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		why := errors.New("changed my mind")
		mustRun(t, ctx, sbx, "kept = 1")
		running, cancel := context.WithCancelCause(ctx)
		run, err := sbx.RunCode(running, "import time; print('on', flush=True); time.sleep(60)", &sandbox.RunOptions{
			OnStdout: func(sandbox.OutputMessage) { cancel(why) },
		})
		require.ErrorIs(t, err, why)
		require.Equal(t, "on\n", run.Stdout())
		require.Equal(t, "1", mustRun(t, ctx, sbx, "kept").Text())
	})
}

func TestCancelWhileWaitingSendsNothing(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		long, err := sbx.StartCode(ctx, "import time; time.sleep(1)", nil)
		require.NoError(t, err)
		waiting, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err = sbx.RunCode(waiting, "ghost = 1", nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = long.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, "False", mustRun(t, ctx, sbx, "'ghost' in globals()").Text())
	})
}

func TestRunFromItsOwnCallbackFailsAtOnce(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		other, err := sbx.CreateContext(ctx, nil)
		require.NoError(t, err)
		var inside, elsewhere error
		_, err = sbx.RunCode(ctx, "print(1)", &sandbox.RunOptions{OnStdout: func(sandbox.OutputMessage) {
			_, inside = sbx.RunCode(ctx, "2", nil)
			_, elsewhere = other.RunCode(ctx, "3", nil)
		}})
		require.NoError(t, err)
		require.ErrorIs(t, inside, sandbox.ErrReentrant)
		require.NoError(t, elsewhere)
		mustRun(t, ctx, sbx, "4")
	})
}

func TestGoroutinesQueueInOrderAndContextsRunInParallel(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, "seen = []")
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				run, err := sbx.RunCode(ctx, fmt.Sprintf("seen.append(%d); %d", i, i), nil)
				if err != nil || run.Text() != fmt.Sprint(i) {
					t.Errorf("run %d: %v %q", i, err, run.Text())
				}
			})
		}
		wg.Wait()
		require.Equal(t, "20", mustRun(t, ctx, sbx, "len(set(seen))").Text())

		other, err := sbx.CreateContext(ctx, &sandbox.ContextOptions{Dir: "sub", Env: map[string]string{"WHO": "other"}})
		require.NoError(t, err)
		busy, err := sbx.StartCode(ctx, "import time; time.sleep(30)", nil)
		require.NoError(t, err)
		run, err := other.RunCode(ctx, "import os; os.environ['WHO'] + os.path.basename(os.getcwd())", nil)
		require.NoError(t, err)
		require.Equal(t, "'othersub'", run.Text())
		require.NoError(t, busy.Close())
	})
}

func TestPullFormGivesEverythingInOrder(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run, err := sbx.StartCode(ctx, "print('p')\ndisplay('d')\n'v'", nil)
		require.NoError(t, err)
		var got []string
		for {
			out, err := run.Next(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			switch o := out.(type) {
			case *sandbox.Started:
				got = append(got, "started")
			case *sandbox.OutputMessage:
				got = append(got, o.Text)
			case *sandbox.Result:
				got = append(got, o.Text)
			}
		}
		require.Equal(t, []string{"started", "p\n", "'d'", "'v'"}, got)
		full, err := run.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, "'v'", full.Text())
	})
}

func TestDeathOfTheKernelIsToldOnceThenItStartsAfresh(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run, err := sbx.RunCode(ctx, "import os, sys\nprint('last words', flush=True)\nimport time; time.sleep(0.2)\nos._exit(9)", nil)
		require.ErrorIs(t, err, kernel.ErrDead)
		var exit *backends.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, 9, exit.Status.Code)
		require.Contains(t, run.Stdout(), "last words")
		mustRun(t, ctx, sbx, "'fresh'")

		start := time.Now()
		_, err = sbx.RunCode(ctx, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", nil)
		require.Less(t, time.Since(start), 5*time.Second)
		require.ErrorAs(t, err, &exit)
		require.Equal(t, "SIGKILL", exit.Status.Signal)

		// Between two runs: the next one says so, and the one after runs.
		mustRun(t, ctx, sbx, "import threading, os; threading.Timer(0.05, lambda: os._exit(3)).start()")
		require.Eventually(t, func() bool { return sbx.DefaultContext().State() == kernel.Dead }, 10*time.Second, 5*time.Millisecond)
		_, err = sbx.RunCode(ctx, "1", nil)
		require.ErrorIs(t, err, kernel.ErrDead)
		mustRun(t, ctx, sbx, "2")
	})
}

func TestFloodOfTextIsCutAndCountedButEndsRight(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run, err := sbx.RunCode(ctx, "for i in range(2000):\n    print('x' * 10_000)\ndisplay('kept')\nraise KeyError('end')", &sandbox.RunOptions{MaxOutput: 1 << 20})
		require.NoError(t, err)
		require.LessOrEqual(t, len(run.Stdout()), 1<<20)
		require.Equal(t, int64(2000*10_001), int64(len(run.Stdout()))+run.Truncated)
		require.Len(t, run.Results, 1)
		require.Equal(t, "KeyError", run.Error.Name)
	})
}

func TestOddTextSurvives(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run, err := sbx.RunCode(ctx, "print('nul:\\0 bad:\\udcff ok:é')", nil)
		require.NoError(t, err)
		require.Contains(t, run.Stdout()+run.Stderr(), "ok:é")
		_, err = sbx.RunCode(ctx, "s = 'a\x00b'\nlen(s)", nil)
		require.ErrorContains(t, err, "NUL byte at offset 6")
		_, err = sbx.RunCode(ctx, "'\uFFFD\xff\xfe'", nil)
		require.ErrorContains(t, err, "not valid UTF-8 at offset 4")
		run = mustRun(t, ctx, sbx, "from IPython.display import JSON\nJSON({'a': float('nan'), 'b': [float('inf')]})")
		// Kernels differ: NaN itself, which becomes null, or a string.
		require.True(t, json.Valid(run.Results[0].JSON), "%s", run.Results[0].JSON)
	})
}

func TestCodeOfFiftyMegabytesRuns(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run := mustRun(t, ctx, sbx, "s = '"+strings.Repeat("y", 50_000_000)+"'\nlen(s)")
		require.Equal(t, "50000000", run.Text())
	})
}

func TestRunReportsWhatItUsed(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		require.NoError(t, sbx.Files().WriteString(ctx, "old.txt", "old"))
		require.NoError(t, sbx.Files().WriteString(ctx, "gone.txt", "gone"))
		run := mustRun(t, ctx, sbx, `
import os, time
open("new.txt", "w").write("hello")
open("old.txt", "a").write("er")
os.remove("gone.txt")
block = bytearray(80_000_000)
end = time.process_time() + 0.3
while time.process_time() < end: pass
`)
		require.Equal(t, []backends.FileChange{
			{Path: "gone.txt", Op: backends.FileRemoved},
			{Path: "new.txt", Op: backends.FileCreated, Size: 5},
			{Path: "old.txt", Op: backends.FileChanged, Size: 5},
		}, run.Usage.Files)
		require.GreaterOrEqual(t, run.Usage.CPU, 200*time.Millisecond)
		require.Greater(t, run.Usage.PeakMemory, int64(100_000_000))
		quiet := mustRun(t, ctx, sbx, "del block")
		require.Empty(t, quiet.Usage.Files)
	})
}

func TestTaggedMistakesOfTheCallerAreNamed(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		_, err := sbx.RunCode(ctx, "1", &sandbox.RunOptions{Timeout: -1})
		require.ErrorContains(t, err, "timeout is -1ns")
		_, err = sbx.RunCode(ctx, "1", &sandbox.RunOptions{Env: map[string]string{"A=B": "x"}})
		require.ErrorContains(t, err, `"A=B"`)
		_, err = sbx.RunCode(ctx, "1", &sandbox.RunOptions{Env: map[string]string{"A": "x\x00"}})
		require.ErrorContains(t, err, "NUL")
		_, err = sbx.RunCode(ctx, "1", &sandbox.RunOptions{Language: "python", Context: sbx.DefaultContext()})
		require.Error(t, err)
		_, err = sbx.CreateContext(ctx, &sandbox.ContextOptions{Language: "cobol"})
		var missing *backends.SpecNotFoundError
		require.ErrorAs(t, err, &missing)
		require.ErrorIs(t, err, sandbox.ErrNotFound)
		require.Contains(t, missing.Found, "python3")
		require.NotEmpty(t, missing.Searched)
	})
}

func TestCompleteInspectAndIsComplete(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		mustRun(t, ctx, sbx, "wörterbuch = {'a': 1}")
		reply, err := c.Complete(ctx, "wörterb", 7)
		require.NoError(t, err)
		require.Contains(t, reply.Matches, "wörterbuch")
		inspect, err := c.Inspect(ctx, "len", 3, 0)
		require.NoError(t, err)
		require.True(t, inspect.Found)
		whole, err := c.IsComplete(ctx, "for i in x:")
		require.NoError(t, err)
		require.Equal(t, "incomplete", whole.Status)
		history, err := c.History(ctx, &messaging.HistoryRequest{HistAccessType: "tail", N: 1, Raw: true})
		require.NoError(t, err)
		require.Equal(t, "wörterbuch = {'a': 1}", history.History[0].Input)
	})
}

func TestEventsOfARunComeAsTheKernelSentThem(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		var seen []string
		run, err := sbx.RunCode(ctx, "print('a')\n1", &sandbox.RunOptions{
			OnEvent: func(e *kernel.Event) {
				_, err := sbx.RunCode(ctx, "1", nil)
				require.ErrorIs(t, err, sandbox.ErrReentrant)
				seen = append(seen, e.Content.MsgType())
			},
			OnStdout: func(sandbox.OutputMessage) { seen = append(seen, "OnStdout") },
		})
		require.NoError(t, err)
		require.Equal(t, "1", run.Text())
		require.Subset(t, seen, []string{"status", "execute_input", "stream", "execute_result", "execute_reply"})
		require.Less(t, slices.Index(seen, "stream"), slices.Index(seen, "OnStdout"))
	})
}
