package sandbox_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// fakeFigures shows figures as dskernel does: the first with its library.
const fakeFigures = `
from IPython.display import display, clear_output
def show(n, first=False):
    page = "<!--ds-sandbox library fake-1.0-->\n<script>window.fake = 1</script><!--ds-sandbox end-->\n" if first else "<!--ds-sandbox needs fake-1.0-->\n"
    display({"text/html": page + "<p>figure %d</p>" % n, "text/plain": "figure"}, raw=True)
`

func TestAFiguresPageHasItsLibrary(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, fakeFigures)
		mustRun(t, ctx, sbx, "show(1, first=True); clear_output()")
		run := mustRun(t, ctx, sbx, "show(2)")
		require.NotContains(t, run.Results[0].HTML, "<script>")
		require.Contains(t, run.Results[0].Page(), "<script>window.fake = 1</script>")
		require.Contains(t, run.Results[0].Page(), "figure 2")
		name, library := sandbox.FigureLibrary(run.Results[0].HTML)
		require.Equal(t, "fake-1.0", name)
		require.Empty(t, library)
		require.Contains(t, sbx.DefaultContext().Library(name), "window.fake")
		plain := mustRun(t, ctx, sbx, `display({"text/html": "<b>1</b>"}, raw=True)`).Results[0]
		require.Equal(t, "<b>1</b>", plain.Page())
	})
}

func TestALibraryIsThereForWhoReadsTheJournal(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, fakeFigures)
		c := sbx.DefaultContext()
		run, err := c.StartCode(ctx, "show(1, first=True)", nil) // which nobody reads yet
		require.NoError(t, err)
		for journal := c.Journal().From(1); ; {
			entry, err := journal.Next(ctx)
			require.NoError(t, err)
			if _, ok := entry.Content.(*messaging.DisplayData); ok {
				break
			}
		}
		require.Contains(t, c.Library("fake-1.0"), "window.fake")
		_, err = run.Wait(ctx)
		require.NoError(t, err)
	})
}

func TestAForksFiguresHaveTheirLibrary(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		needModule(t, ctx, sbx, "plotly")
		const draw = "import plotly.graph_objects as go\ngo.Figure(go.Scatter(y=[1, 2]))"
		mustRun(t, ctx, sbx, draw)
		require.Less(t, len(mustRun(t, ctx, sbx, draw).Results[0].HTML), 50_000)
		forks, err := sbx.Fork(ctx, 1, nil)
		require.NoError(t, err)
		require.Greater(t, len(mustRun(t, ctx, forks[0], draw).Results[0].HTML), 500_000)
		again := mustRun(t, ctx, forks[0], draw).Results[0]
		require.Less(t, len(again.HTML), 50_000)
		require.Greater(t, len(again.Page()), 500_000)
	})
}

func FuzzFigureLibrary(f *testing.F) {
	f.Add("<!--ds-sandbox library a-1-->x<!--ds-sandbox end-->y")
	f.Add("<!--ds-sandbox needs a-1-->y")
	f.Fuzz(func(t *testing.T, html string) {
		name, library := sandbox.FigureLibrary(html)
		require.True(t, strings.HasPrefix(html, library))
		require.True(t, library == "" || name != "")
	})
}
