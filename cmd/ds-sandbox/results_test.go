package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/report/reporttest"
)

// manyForms shows one thing of each kind, then raises.
const manyForms = `
import sys
from IPython.display import display, HTML, Markdown, SVG
print("\x1b[31mred\x1b[0m")
print("oh", file=sys.stderr)
display({"image/png": "` + tinyPNG + `", "text/plain": "<a picture>"}, raw=True)
display(SVG("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><circle r='4'/></svg>"))
display(HTML("<b>bold</b>"))
display({"text/markdown": "*em*", "text/latex": "$x$", "application/json": {"a": 1}, "text/plain": "t"}, raw=True)
display("words")
1 / 0
`

func fileNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestOutHasEachResultAndAReport(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		dir := filepath.Join(t.TempDir(), "new", "out")
		script := filepath.Join(t.TempDir(), "my script.py")
		require.NoError(t, os.WriteFile(script, []byte(manyForms), 0o644))
		c := start(t, nil, "run", "--python", python, script, "--out", dir)
		require.Equal(t, exitRaised, c.wait(), c.err.String())
		require.Equal(t, []string{
			"report.html", "result-1.png", "result-2.svg", "result-3.html", "result-4.json", "result-4.md", "result-4.tex", "result-5.txt",
		}, fileNames(t, dir))
		require.Contains(t, c.err.String(), "<a picture>: "+filepath.Join(dir, "result-1.png"))
		page, err := os.ReadFile(filepath.Join(dir, "report.html"))
		require.NoError(t, err)
		for _, want := range []string{"<h1>my script.py</h1>", `<span class="c1">red</span>`, "oh", "ZeroDivisionError", "<em>em</em>", "words"} {
			require.True(t, strings.Contains(string(page), want), want)
		}
		found := reporttest.Load(t, page)
		require.Equal(t, 2, found.Images)
		require.Empty(t, found.Broken)
		require.Equal(t, 1, found.Frames)
		require.Empty(t, found.Silent)
	})
}

func TestOutHasChartsAndTablesAsData(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		dir := t.TempDir()
		code := `
import matplotlib.pyplot as plt, pandas as pd
plt.plot([1, 2], [3, 4]); plt.title("Loss"); plt.show()
pd.DataFrame({"name": ['a, "b"', None], "n": [1, 2.5]}, index=["x", "y"])`
		c := start(t, nil, "run", "--python", python, "--out", dir, "-c", code)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Equal(t, []string{"chart-1.json", "report.html", "result-1.png", "result-2.html", "table-2.csv"}, fileNames(t, dir))
		require.Contains(t, string(mustRead(t, filepath.Join(dir, "chart-1.json"))), `"title": "Loss"`)
		require.Regexp(t, `^\w*,name,n\nx,"a, ""b""",1(\.0)?\ny,,2.5\n$`, string(mustRead(t, filepath.Join(dir, "table-2.csv"))))
	})
}

func TestAReportTellsOfARunThatDied(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		dir := t.TempDir()
		c := start(t, nil, "run", "--python", python, "--out", dir, "-c", "print('before', flush=True)\nimport os; os._exit(3)")
		require.Equal(t, exitFailed, c.wait())
		page, err := os.ReadFile(filepath.Join(dir, "report.html"))
		require.NoError(t, err)
		require.True(t, strings.Contains(string(page), "before"))
		require.True(t, strings.Contains(string(page), "exited with code 3"))
	})
}

func TestAFolderThatCantBeWrittenIsToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "locked"), 0o555))
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	locked := filepath.Join(dir, "locked")
	if os.Getuid() == 0 { // who may write anywhere but in the system's own
		locked = "/proc"
	}
	for name, args := range map[string][]string{
		"run":                  {"run", "-c", "1", "--out", locked},
		"run in a file":        {"run", "-c", "1", "--out", file},
		"notebook":             {"notebook", "run", notebookFile(t, "1"), "--out", filepath.Join(locked, "out.ipynb")},
		"repl":                 {"repl", "--out", locked},
		"repl's notebook":      {"repl", "--save", filepath.Join(locked, "s.ipynb")},
		"repl's folder":        {"repl", "--save", dir},
		"repl's missing place": {"repl", "--save", filepath.Join(dir, "missing", "s.ipynb")},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, nil, args...)
			require.Equal(t, exitUsage, c.wait())
			require.Contains(t, c.err.String(), args[len(args)-2]+": ")
			require.NotContains(t, c.err.String(), "probe")
		})
	}
}

func TestREPLSavesItsSession(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		path, dir := filepath.Join(t.TempDir(), "session.ipynb"), t.TempDir()
		c := start(t, &streams{in: strings.NewReader("x = 3\nprint(x)\n1 / 0\nx + 1\n")}, "repl", "--python", python, "--save", path, "--out", dir)
		require.Equal(t, 0, c.wait(), c.err.String())
		nb := readFile(t, path)
		require.Len(t, nb.Cells, 4)
		require.Equal(t, "print(x)", nb.Cells[1].Source)
		require.Equal(t, "3\n", nb.Cells[1].Outputs[0].Text)
		require.Equal(t, "ZeroDivisionError", nb.Cells[2].Outputs[0].EName)
		require.Equal(t, "4", nb.Cells[3].Outputs[0].Data["text/plain"])
		require.Equal(t, []string{"session.ipynb"}, fileNames(t, filepath.Dir(path)), "nothing is left beside it")
		require.Contains(t, fileNames(t, dir), "report.html")
	})
}

func TestREPLSavesWhileItGoesOn(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		path := filepath.Join(t.TempDir(), "session.ipynb")
		r, w, err := os.Pipe()
		require.NoError(t, err)
		c := start(t, &streams{in: r}, "repl", "--python", python, "--save", path)
		_, err = w.WriteString("print('one')\nprint('two')\n")
		require.NoError(t, err)
		c.out.waitFor(t, "two\n", 1)
		require.Contains(t, string(mustRead(t, path)), "print('one')", "the first cell was saved before the second ran")
		require.NoError(t, w.Close())
		require.Equal(t, 0, c.wait())
	})
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

func TestNotebookBecomesAPage(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "a.ipynb")
	require.NoError(t, os.WriteFile(in, []byte(`{"cells": [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Title"},
{"cell_type": "code", "id": "b", "metadata": {}, "execution_count": 7, "source": "1", "outputs": [
{"output_type": "display_data", "metadata": {}, "data": {"image/png": "`+tinyPNG+`"}}]}],
"metadata": {}, "nbformat": 4, "nbformat_minor": 5}`), 0o644))
	c := start(t, nil, "notebook", "to-html", in)
	require.Equal(t, 0, c.wait(), c.err.String())
	found := reporttest.Load(t, mustRead(t, filepath.Join(dir, "a.html")))
	require.Equal(t, "a.ipynb", found.Title)
	require.Equal(t, 1, found.Images)
	require.Empty(t, found.Broken)
	c = start(t, nil, "notebook", "to-html", in)
	require.Equal(t, exitUsage, c.wait())
	require.Contains(t, c.err.String(), "a.html exists")
	c = start(t, nil, "notebook", "to-html", in, "-o", "-", "--title", "Mine")
	require.Equal(t, 0, c.wait())
	require.True(t, strings.Contains(c.out.String(), "<title>Mine</title>"))
}

func TestEachFilesFigureStandsAlone(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		dir := t.TempDir()
		c := start(t, nil, "run", "--python", python, "--out", dir, "-c", `
from IPython.display import display, clear_output
def show(n, head): display({"text/html": head + "\n<p id='figure'></p><script>fake(%d)</script>" % n, "text/plain": "figure"}, raw=True)
show(1, "<!--ds-sandbox library fake-1.0--><script>window.fake = (n) => document.getElementById('figure').innerHTML = '<svg width=99 height=99><circle r=50 /><text y=20>' + n + '</text></svg>'</script><!--ds-sandbox end-->")
clear_output()
show(2, "<!--ds-sandbox needs fake-1.0-->")`)
		require.Equal(t, 0, c.wait(), c.err.String())
		page := string(mustRead(t, filepath.Join(dir, "result-2.html")))
		require.True(t, strings.HasPrefix(page, `<!doctype html><meta charset="utf-8">`))
		require.Contains(t, page, "window.fake = ")
		found := reporttest.Look(t, mustRead(t, filepath.Join(dir, "report.html")))
		require.Equal(t, 1, found.Frames)
		require.Empty(t, found.Blank)
	})
}

func TestAChartWithoutAPictureIsToldInWords(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		chart := `from IPython.display import display
display({"text/plain": "Figure(bar)", "text/html": "<p>chart</p>", "e2b/chart": {"type": "bar", "title": "Sales", "x_label": None, "y_label": None,
    "x_unit": None, "y_unit": None, "elements": [{"label": "a", "group": "g", "value": 3}]}}, raw=True)`
		const digest = "bar chart 'Sales' with 1 bar: a 3"
		c := start(t, nil, "run", "--python", python, "-c", chart)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Contains(t, c.err.String(), "[ds-sandbox] "+digest+"; --out DIR saves it\n")
		require.NotContains(t, c.out.String()+c.err.String(), "Figure(bar)")
		dir := t.TempDir()
		c = start(t, nil, "run", "--python", python, "--out", dir, "-c", chart)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Contains(t, c.err.String(), digest+": "+filepath.Join(dir, "result-1.html")+", "+filepath.Join(dir, "chart-1.json")+"\n")
	})
}

func TestTheCutOfATablesFileIsTold(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		dir := t.TempDir()
		code := "import pandas as pd; pd.DataFrame({'a': range(1_000_000)})\n"
		c := start(t, nil, "run", "--python", python, "--out", dir, "-c", code)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Contains(t, c.err.String(), "saved (first 10000 of 1000000 rows): ")
		require.Contains(t, c.err.String(), "table-1.csv")
		dir = t.TempDir()
		c = start(t, &streams{in: strings.NewReader(code)}, "repl", "--python", python, "--out", dir)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Contains(t, c.err.String(), "first 10000 of 1000000 rows")
		require.Contains(t, fileNames(t, dir), "table-1.csv")
	})
}

func TestOutHasGIFsAndNothingOfAnEarlierRun(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		dir := t.TempDir()
		for _, name := range []string{"result-7.png", "chart-7.json", "table-8.csv", "result-x.png", "notes.txt", "result-9.py"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("old"), 0o644))
		}
		c := start(t, nil, "run", "--python", python, "--out", dir, "-c", `
from IPython.display import display
display({"image/gif": "R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=", "text/plain": "a film"}, raw=True)
display({"image/webp": "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==", "text/plain": "a web picture"}, raw=True)`)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Equal(t, []string{"notes.txt", "report.html", "result-1.gif", "result-2.webp", "result-9.py", "result-x.png"}, fileNames(t, dir))
		require.Contains(t, c.err.String(), "a film: "+filepath.Join(dir, "result-1.gif"))
		require.True(t, strings.HasPrefix(string(mustRead(t, filepath.Join(dir, "result-1.gif"))), "GIF89a"))
	})
}
