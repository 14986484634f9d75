package notebook_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func errorName(err error) string {
	if raised := new(sandbox.ExecutionError); errors.As(err, &raised) {
		return raised.Name
	}
	return ""
}

// runCounting runs a notebook in a context of its own, whose cells count on from n.
func runCounting(ctx context.Context, t *testing.T, sbx *sandbox.Sandbox, n int) error {
	c, err := sbx.CreateContext(ctx, nil)
	if err != nil {
		return err
	}
	nb := makeNotebook(fmt.Sprintf("n = %d", n))
	for range 20 {
		nb.AddCell(notebook.Code, "n += 1; print(n)")
	}
	if err := notebook.Execute(ctx, nb, c, nil); err != nil {
		return err
	}
	for i, c := range nb.Cells[1:] {
		if want := fmt.Sprintf("%d\n", n+i+1); len(c.Outputs) != 1 || c.Outputs[0].Text != want {
			return fmt.Errorf("cell %d of notebook %d: %+v", i, n, c.Outputs)
		}
	}
	return nil
}

func TestTheEndOfAKernelEndsTheNotebookAtOnceAndIsSaved(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("print('one')", "print('last words', flush=True)\nimport os, time; time.sleep(0.5); os._exit(7)", "'never'")
		saved := ""
		err := notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{
			Progress: true, Save: func(nb *notebook.Notebook) error { saved = encode(t, nb); return nil },
		})
		require.ErrorIs(t, err, kernel.ErrDead)
		require.ErrorContains(t, err, "cell 2 (In [2]): ")
		require.ErrorContains(t, err, "exited with code 7")
		require.Contains(t, saved, `"last words\n"`)
		require.Contains(t, saved, "papermill-error-cell")
		require.Equal(t, saved, encode(t, nb))
	})
}

func TestACellWhoseTimeIsOverEndsTheNotebook(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("print('on', flush=True)\nwhile True: pass", "'never'")
		err := notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{Timeout: 300 * time.Millisecond, AllowErrors: true})
		require.ErrorIs(t, err, sandbox.ErrTimeout)
		require.Equal(t, "on\n", nb.Cells[0].Outputs[0].Text)
		require.Equal(t, "KeyboardInterrupt", nb.Cells[0].Outputs[1].EName)
		require.Empty(t, nb.Cells[1].Outputs)
	})
}

func TestAFormatterThatNeverReturnsIsEndedByTheTimeout(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("class F:\n  def _repr_html_(self):\n    while True: pass\n  def __repr__(self): return 'f'\nF()")
		err := notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{Timeout: 500 * time.Millisecond})
		require.ErrorIs(t, err, sandbox.ErrTimeout)
		require.NoError(t, notebook.Execute(ctx, makeNotebook("1"), sbx.DefaultContext(), nil))
	})
}

func TestAFormatterThatRaisesLeavesTheOtherForms(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook(raisingFormatter)
		if err := notebook.Execute(ctx, nb, sbx.DefaultContext(), nil); err != nil { // IPython 9 takes it for the cell's error
			require.ErrorContains(t, err, "ValueError: no form")
		}
		out := encode(t, nb)
		require.Contains(t, out, "no form")
		require.Contains(t, out, `"text/plain": [`)
	})
}

func TestACancelledNotebookIsInterrupted(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		stop := errors.New("enough")
		cancelled, cancel := context.WithCancelCause(ctx)
		nb := makeNotebook("x = 5", "import time\ntime.sleep(60)", "'never'")
		err := notebook.Execute(cancelled, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{
			OnCell: func(i int, _ *notebook.Cell, s notebook.Status) {
				if i == 1 && s == notebook.StatusRunning {
					cancel(stop)
				}
			},
		})
		require.ErrorIs(t, err, stop)
		run, err := sbx.RunCode(ctx, "x", nil)
		require.NoError(t, err)
		require.Equal(t, "5", run.Text())
	})
}

func TestCellsAreSavedAndToldOneByOne(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("1", "", "1/0", "'never'")
		nb.Cells[3].Outputs = []*notebook.Output{{Type: notebook.Stream, Name: "stdout", Text: "of an earlier run"}}
		var told []string
		saves := 0
		err := notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{
			OnCell: func(i int, _ *notebook.Cell, s notebook.Status) { told = append(told, fmt.Sprint(i, " ", s)) },
			Save: func(nb *notebook.Notebook) error {
				require.Empty(t, nb.Cells[3].Outputs, "what is to be run shows nothing old")
				saves++
				return nil
			},
		})
		require.Equal(t, "ZeroDivisionError", errorName(err))
		require.ErrorContains(t, err, "notebook: cell 3 (In [2]): ZeroDivisionError: division by zero")
		require.Equal(t, []string{"0 running", "0 completed", "2 running", "2 failed"}, told)
		require.Equal(t, 3, saves, "before each cell, and at the end")

		full := errors.New("disk is full")
		err = notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{Save: func(*notebook.Notebook) error { return full }})
		require.ErrorIs(t, err, full)
	})
}

func TestProgressIsThatOfPapermill(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("1", "1/0", "'never'")
		execute := func(want string) {
			err := notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{Progress: true})
			require.Equal(t, want, errorName(err))
		}
		status := func(i int) string { return nb.Cells[i].Metadata["papermill"].(map[string]any)["status"].(string) }
		execute("ZeroDivisionError")
		require.Len(t, nb.Cells, 5, "two marks")
		require.Contains(t, nb.Cells[0].Source, "In [2]")
		require.Contains(t, nb.Cells[2].Source, `id="papermill-error-cell"`)
		require.Equal(t, []string{"completed", "failed", "pending"}, []string{status(1), status(3), status(4)})
		record := nb.Metadata["papermill"].(map[string]any)
		require.Equal(t, true, record["exception"])
		require.NotEmpty(t, record["end_time"])
		require.Greater(t, record["duration"], 0.0)

		nb.Cells[3].Source = "2"
		execute("")
		require.Len(t, nb.Cells, 3, "the marks are gone")
		require.Equal(t, []string{"completed", "completed", "completed"}, []string{status(0), status(1), status(2)})
		require.Nil(t, nb.Metadata["papermill"].(map[string]any)["exception"])
	})
}

func TestOutputBeyondTheBudgetIsLeftOutAndSaid(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook(
			"for i in range(100): print('x' * 10_000)",
			"from IPython.display import display\nfor i in range(1000): display({'text/plain': 'x' * 1000}, raw=True)",
			"for i in range(50): display({'text/plain': ''}, raw=True, display_id='d')",
			"display({'text/plain': 'y' * 90_000}, raw=True, display_id='d')", "print('small')",
		)
		require.NoError(t, notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{MaxOutput: 100_000}))
		for i, c := range nb.Cells[:4] {
			last := c.Outputs[len(c.Outputs)-1]
			if i != 2 {
				require.Contains(t, last.Text, "bytes of output were left out]", i)
			}
		}
		require.Less(t, len(encode(t, nb)), 1_000_000)
		require.Equal(t, "small\n", nb.Cells[4].Outputs[0].Text)
	})
}

func TestFormsOfOurOwnAreNeverStored(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("from IPython.display import display\ndisplay({'text/plain': 'p', 'e2b/chart': {'type': 'line'}, 'e2b/data': {}}, raw=True)")
		require.NoError(t, notebook.Execute(ctx, nb, sbx.DefaultContext(), nil))
		require.Equal(t, map[string]any{"text/plain": "p"}, nb.Cells[0].Outputs[0].Data)
	})
}

func TestTheJSONOfAListIsStoredOnlyWhenTheUserShowsIt(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("{'a': [1, 2]}", "from IPython.display import JSON\nJSON({'a': [1, 2]})")
		require.NoError(t, notebook.Execute(ctx, nb, sbx.DefaultContext(), nil))
		require.Equal(t, map[string]any{"text/plain": "{'a': [1, 2]}"}, nb.Cells[0].Outputs[0].Data)
		require.Empty(t, nb.Cells[0].Outputs[0].Metadata)
		require.Contains(t, nb.Cells[1].Outputs[0].Data, "application/json")
	})
}

func TestAChartHasItsDigestAsCaption(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("import matplotlib.pyplot as plt\nplt.plot([1, 2], label='a')\nplt.title('Loss')\nplt.show()")
		require.NoError(t, notebook.Execute(ctx, nb, sbx.DefaultContext(), nil))
		require.Equal(t, "line chart 'Loss' with 1 series of 2 points: a 1 to 2", nb.Cells[0].Outputs[0].Caption)
		require.NotContains(t, encode(t, nb), "line chart")
	})
}

func TestAContextThatIsInUseCountsOn(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		_, err := sbx.RunCode(ctx, "x = 41", nil)
		require.NoError(t, err)
		nb := makeNotebook("x + 1")
		require.NoError(t, notebook.Execute(ctx, nb, sbx.DefaultContext(), nil))
		require.Equal(t, 2, *nb.Cells[0].ExecutionCount)
		require.True(t, strings.HasPrefix(nb.Cells[0].Outputs[0].Data["text/plain"].(string), "42"))
	})
}

func TestAFileTellsWhichCellRuns(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		nb := makeNotebook("print('one')", "2", "3")
		var statuses []string
		slow := false
		var late []string
		save := func(nb *notebook.Notebook) error {
			status := ""
			for _, c := range nb.Cells {
				status += c.Metadata["papermill"].(map[string]any)["status"].(string)[:1]
			}
			statuses = append(statuses, status)
			if slow {
				if o := nb.Cells[2].Outputs; len(o) > 0 {
					late = append(late, o[0].Text)
				}
				time.Sleep(110 * time.Millisecond)
			}
			return nil
		}
		require.NoError(t, notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{Progress: true, Save: save}))
		require.Equal(t, []string{"rpp", "crp", "ccr", "ccc"}, statuses)

		// A slow save is made up for while a cell runs.
		slow = true
		nb = makeNotebook("1", "2", "import time\nprint('begun', flush=True)\ntime.sleep(3)\nprint('over')")
		require.NoError(t, notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{Progress: true, Save: save}))
		require.Contains(t, late, "begun\n")
		require.Equal(t, "begun\nover\n", late[len(late)-1])
	})
}
