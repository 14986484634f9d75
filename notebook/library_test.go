package notebook_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// fakeFigures shows figures as dskernel does: the first of a session with its library.
const fakeFigures = `
from IPython.display import display, clear_output
def show(n, first=False):
    page = "<!--ds-sandbox library fake-1.0-->\n<script>window.fake = 1</script><!--ds-sandbox end-->\n" if first else "<!--ds-sandbox needs fake-1.0-->\n"
    display({"text/html": page + "<p>figure %d</p>" % n, "text/plain": "figure"}, raw=True)
`

// libraries counts the libraries in a notebook's outputs, cell by cell.
func libraries(nb *notebook.Notebook) []int {
	var counts []int
	for _, c := range nb.Cells {
		n := 0
		for _, o := range c.Outputs {
			html, _ := o.Data["text/html"].(string)
			n += strings.Count(html, "window.fake = 1")
		}
		counts = append(counts, n)
	}
	return counts
}

func TestANotebooksFirstFigureHasTheLibrary(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		sources := []string{fakeFigures, "show(1, first=True); clear_output()", "show(2)", "show(3)"}
		nb := makeNotebook(sources...)
		var saved [][]int
		require.NoError(t, notebook.Execute(ctx, nb, sbx.DefaultContext(), &notebook.ExecuteOptions{
			Save: func(nb *notebook.Notebook) error { saved = append(saved, libraries(nb)); return nil },
		}))
		require.Equal(t, []int{0, 0, 1, 0}, libraries(nb))
		require.Contains(t, saved, []int{0, 0, 1, 0})
		session, err := notebook.FromContext(sbx.DefaultContext())
		require.NoError(t, err)
		require.Equal(t, []int{0, 0, 1, 0}, libraries(session))

		// A notebook run where figures were shown before it.
		late := makeNotebook("show(4)", "show(5)")
		require.NoError(t, notebook.Execute(ctx, late, sbx.DefaultContext(), nil))
		require.Equal(t, []int{1, 0}, libraries(late))
	})
}
