package notebook_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestContextAsNotebook(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		empty, err := notebook.FromContext(c)
		require.NoError(t, err)
		require.Empty(t, empty.Cells)

		sources := []string{
			"from IPython.display import display, clear_output, HTML\nprint('out')\nimport sys; print('err', file=sys.stderr)",
			"h = display(HTML('<b>1</b>'), display_id='d')\nprint('gone'); clear_output()\ndisplay(HTML('<b>2</b>'), display_id='e')",
			"from IPython.display import update_display\nupdate_display(HTML('<b>3</b>'), display_id='e')\n6 * 7",
			"1 / 0",
		}
		for _, source := range append(sources, "", "  ") {
			_, err := c.RunCode(ctx, source, nil)
			require.NoError(t, err)
		}
		_, err = c.RunCode(ctx, "hidden = 1", &sandbox.RunOptions{Silent: true})
		require.NoError(t, err)
		nb, err := notebook.FromContext(c)
		require.NoError(t, err)

		// The same notebook, executed: what it stores is what the journal gives.
		executed := makeNotebook(sources...)
		fresh, err := sbx.CreateContext(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, notebook.Execute(ctx, executed, fresh, &notebook.ExecuteOptions{AllowErrors: true}))
		require.Len(t, nb.Cells, len(sources))
		for i, cell := range nb.Cells {
			require.Equal(t, sources[i], cell.Source)
			require.Equal(t, executed.Cells[i].ExecutionCount, cell.ExecutionCount)
			require.Contains(t, cell.Metadata, "execution")
			require.Len(t, cell.Outputs, len(executed.Cells[i].Outputs))
			for k, o := range cell.Outputs {
				want := executed.Cells[i].Outputs[k]
				require.Equal(t, want.Type, o.Type)
				require.Equal(t, want.Text, o.Text)
				require.Equal(t, want.Data, o.Data)
				require.Equal(t, want.EName, o.EName)
			}
		}
		require.Equal(t, "python", nb.Language())
		require.Equal(t, c.Kernel(), nb.Kernel())
		require.Equal(t, executed.Metadata["language_info"], nb.Metadata["language_info"])
	})
}

func TestContextAsNotebookIsValid(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx, sbx := testContext(t), newSandbox(t, python)
		c := sbx.DefaultContext()
		for _, code := range []string{"print('ü')", "{'a': 1}", "x"} {
			_, err := c.RunCode(ctx, code, nil)
			require.NoError(t, err)
		}
		nb, err := notebook.FromContext(c)
		require.NoError(t, err)
		oracle(t, python, "validate", write(t, nb, "session.ipynb"))
	})
}

func TestContextAsNotebookTellsTheEnd(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		_, err := c.RunCode(ctx, "print('before', flush=True)\nimport os; os._exit(3)", nil)
		require.Error(t, err)
		nb, err := notebook.FromContext(c)
		require.NoError(t, err)
		require.Len(t, nb.Cells, 1)
		var text strings.Builder
		for _, o := range nb.Cells[0].Outputs {
			text.WriteString(o.Text)
		}
		require.Contains(t, text.String(), "exit")
	})
}
