package notebook_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/notebook"
)

const script = `#!/usr/bin/env python3
# -*- coding: utf-8 -*-
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Julia 1.9
#     language: julia
#     name: julia-1.9
# ---

import above

# %% [markdown]
# # A title
#
# with text
#   and an indent

# %% Load it tags=["parameters", "x"] name="n" deep={"a": [1, "]"]}
alpha = 1


#%%
# %matplotlib inline
# !ls
# # %time commented out
# plain comment
# # %% no marker
if True:
    # %time f()
    pass

# %%
# %%bash
# echo hi
#
#   indented

# %%
# %%time
x = 1
# %% [md]
"""
quoted *text*
"""

# %% [raw]
# raw text

# %%
`

func TestAScriptBecomesANotebookAndBack(t *testing.T) {
	nb, err := notebook.FromScript(script)
	require.NoError(t, err)
	require.Equal(t, "julia-1.9", nb.Kernel())
	require.Equal(t, "julia", nb.Language())
	require.NotContains(t, nb.Metadata, "jupytext")
	type cell struct {
		kind   notebook.CellType
		source string
	}
	var cells []cell
	for _, c := range nb.Cells {
		cells = append(cells, cell{c.Type, c.Source})
	}
	require.Equal(t, []cell{
		{notebook.Code, "\nimport above"},
		{notebook.Markdown, "# A title\n\nwith text\n  and an indent"},
		{notebook.Code, "alpha = 1"},
		{notebook.Code, "%matplotlib inline\n!ls\n# %time commented out\n# plain comment\n# %% no marker\nif True:\n    # %time f()\n    pass"},
		{notebook.Code, "%%bash\necho hi\n\n  indented"},
		{notebook.Code, "%%time\nx = 1"},
		{notebook.Markdown, "quoted *text*"},
		{notebook.Raw, "raw text"},
		{notebook.Code, ""},
	}, cells)
	require.Equal(t, "Load it", nb.Cells[2].Metadata["title"])
	require.Equal(t, []string{"parameters", "x"}, nb.Cells[2].Tags())

	back, err := nb.Script()
	require.NoError(t, err)
	again, err := notebook.FromScript(back)
	require.NoError(t, err)
	require.Equal(t, encode(t, nb), encode(t, again))
	same, err := again.Script()
	require.NoError(t, err)
	require.Equal(t, back, same)
	require.Contains(t, back, "# %% Load it deep={\"a\": [1, \"]\"]} name=\"n\" tags=[\"parameters\", \"x\"]\nalpha = 1\n")
}

func TestAPlainScriptIsOneCell(t *testing.T) {
	nb, err := notebook.FromScript("\ufeffx = 1\r\nprint(x % 2)\r\n\r\n")
	require.NoError(t, err)
	require.Len(t, nb.Cells, 1)
	require.Equal(t, "x = 1\nprint(x % 2)", nb.Cells[0].Source)
	require.Equal(t, "python3", nb.Kernel())
	empty, err := notebook.FromScript("\n\n")
	require.NoError(t, err)
	require.Empty(t, empty.Cells)
	require.Contains(t, encode(t, empty), `"cells": []`)
}

func TestBadScriptsAreRefusedWithAReason(t *testing.T) {
	for text, want := range map[string]string{
		"# ---\n# a: [\n# ---\n":     "the header: ",
		"# %% tags=[1,\n":            "the value of tags is no JSON",
		"# %% tags=[1] what\n":       `"what" is no NAME=VALUE`,
		"x = '\xff'":                 "not UTF-8",
		"# ---\n# jupyter: 1\n# ---": "the header: ",
	} {
		_, err := notebook.FromScript(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestANotebookOfALanguageWithOtherCommentsHasNoScript(t *testing.T) {
	nb := notebook.New("deno", "Deno", "typescript")
	_, err := nb.Script()
	require.ErrorContains(t, err, "typescript")
}

func TestSourcesSurviveTheScript(t *testing.T) {
	for _, source := range []string{
		"%%html\n<b>\n# %% x\n</b>", "# %%\n# # %%", "!pip list\nx = !ls\ny = %time f()", "help?\n?help\nhelp??", "%load_ext x",
		"\n\nleading", "s = '''\n# ---\n'''", "#%%", "#", "# ", "%%bash", "x = a %b", "# %%bash\nnot magic",
	} {
		nb := notebook.New("python3", "Python 3", "python")
		for _, kind := range []notebook.CellType{notebook.Code, notebook.Markdown, notebook.Raw} {
			nb.AddCell(kind, source)
		}
		text, err := nb.Script()
		require.NoError(t, err)
		again, err := notebook.FromScript(text)
		require.NoError(t, err)
		require.Len(t, again.Cells, 3, source)
		for i, c := range again.Cells {
			require.Equal(t, nb.Cells[i].Source, c.Source, "%s in\n%s", c.Type, text)
		}
	}
}

func FuzzScript(f *testing.F) {
	f.Add(script)
	f.Fuzz(func(t *testing.T, text string) {
		nb, err := notebook.FromScript(text)
		if err != nil {
			return
		}
		first, err := nb.Script()
		if err != nil {
			return
		}
		again, err := notebook.FromScript(first)
		require.NoError(t, err, first)
		second, err := again.Script()
		require.NoError(t, err)
		require.Equal(t, first, second)
	})
}

func TestFixturesBecomeScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.ipynb")
	require.NoError(t, err)
	for _, file := range files {
		nb, err := notebook.ReadFile(file)
		require.NoError(t, err)
		text, err := nb.Script()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(t.TempDir(), "s.py"), []byte(text), 0o644))
		_, err = notebook.FromScript(text)
		require.NoError(t, err)
	}
}
