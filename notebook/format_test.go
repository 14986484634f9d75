package notebook_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/notebook"
)

func TestFilesAreThoseOfNbformatByteForByte(t *testing.T) {
	files, err := filepath.Glob("testdata/*.ipynb")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				nb, err := notebook.ReadFile(file)
				require.NoError(t, err)
				ours := write(t, nb, "ours.ipynb")
				theirs := filepath.Join(t.TempDir(), "theirs.ipynb")
				oracle(t, python, "rewrite", file, theirs)
				require.Equal(t, readText(t, theirs), readText(t, ours))
				oracle(t, python, "validate", ours)

				again, err := notebook.ReadFile(ours)
				require.NoError(t, err)
				require.Empty(t, again.Repairs)
				require.Equal(t, readText(t, ours), encode(t, again), "reading and writing changes nothing")
			})
		}
	})
}

func TestNotebooksOfRealToolsStayAsTheyAre(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		dir := t.TempDir()
		made := strings.Fields(oracle(t, python, "real", dir))
		require.Subset(t, made, []string{"big.ipynb", "executed.ipynb", "minor0.ipynb", "minor5.ipynb", "widgets.ipynb"})
		for _, name := range made {
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(dir, name)
				nb, err := notebook.ReadFile(path)
				require.NoError(t, err)
				require.Empty(t, nb.Repairs)
				require.True(t, readText(t, path) == encode(t, nb), "reading and writing changes nothing")
				oracle(t, python, "validate", path)
			})
		}
	})
}

// version3 is a notebook as IPython 2 wrote them.
const version3 = `{
 "metadata": {"name": "old", "signature": "sha256:0"},
 "nbformat": 3, "nbformat_minor": 0, "orig_nbformat": 2,
 "worksheets": [{"metadata": {}, "cells": [
  {"cell_type": "heading", "level": 2, "metadata": {}, "source": ["A title\n", "of two lines"]},
  {"cell_type": "code", "language": "python", "collapsed": false, "prompt_number": 3, "metadata": {},
   "input": ["print(1)\n", "2"],
   "outputs": [
    {"output_type": "stream", "stream": "stdout", "text": ["1\n"]},
    {"output_type": "pyout", "prompt_number": 3, "metadata": {}, "text": ["2"], "html": "<b>2</b>", "json": "{\"a\": [1]}"},
    {"output_type": "display_data", "metadata": {"png": {"width": 1}}, "png": "aGk=\n"},
    {"output_type": "pyerr", "ename": "E", "evalue": "v", "traceback": ["a", "b"]}
   ]}
 ]}, {"metadata": {}, "cells": [
  {"cell_type": "markdown", "metadata": {}, "source": "second sheet"},
  {"cell_type": "html", "metadata": {}, "source": "<i>x</i>"},
  {"cell_type": "raw", "metadata": {}, "source": "raw"}
 ]}]
}`

func TestVersion3BecomesWhatNbformatMakesOfIt(t *testing.T) {
	nb := parse(t, version3)
	require.Equal(t, []string{"converted from version 3 of the format"}, nb.Repairs[:1])
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		source := filepath.Join(t.TempDir(), "v3.ipynb")
		require.NoError(t, os.WriteFile(source, []byte(version3), 0o644))
		theirs := filepath.Join(t.TempDir(), "theirs.ipynb")
		oracle(t, python, "upgrade", source, theirs)
		want, err := notebook.ReadFile(theirs)
		require.NoError(t, err)
		for i, c := range want.Cells {
			c.ID = nb.Cells[i].ID // theirs are random
		}
		require.Equal(t, encode(t, want), encode(t, nb))
		oracle(t, python, "validate", write(t, nb, "ours.ipynb"))
	})
}

func TestWhatIsNoNotebookIsRefusedWithAReason(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing":              {"", "the file is empty"},
		"space":                {" \n", "the file is empty"},
		"not JSON":             {"print(1)\n", `line 1, column 1: 'p' instead of a value`},
		"cut off":              {"{\"cells\": [\n{\"cell_type\": \"co", "line 2, column 18: the file ends in the middle of a value"},
		"a comma too many":     {"{\"a\": [1,\n 2,]}", "line 2, column 4: ']' instead of a value"},
		"a name too few":       {"{1: 2}", `'1' instead of a name in quotes`},
		"text after it":        {"{} {}", "text after the end"},
		"a bad escape":         {`{"a": "\x"}`, `\x is no escape of JSON`},
		"a bare line break":    {"{\"a\": \"\n\"}", "control character"},
		"a bad number":         {`{"a": 1.}`, "instead of a digit"},
		"a list":               {"[]", "no JSON object"},
		"not UTF-8":            {"{\"a\": \"\xff\"}", "not UTF-8"},
		"too deep":             {strings.Repeat("[", 100_000), "nested deeper than 1000"},
		"no version":           {`{"cells": []}`, "no nbformat"},
		"version 2":            {`{"nbformat": 2}`, "it is version 2: open and save it with Jupyter"},
		"version 5":            {`{"nbformat": 5}`, "newer than this program"},
		"no cells":             {`{"nbformat": 4, "nbformat_minor": 5}`, "cells: not a list"},
		"a cell is none":       {`{"nbformat": 4, "cells": [1]}`, "cells[0]: not an object"},
		"no type":              {`{"nbformat": 4, "cells": [{}]}`, "cells[0].cell_type: not a string"},
		"a source of numbers":  {`{"nbformat": 4, "cells": [{"cell_type": "raw", "source": [1]}]}`, "cells[0].source: neither a string"},
		"metadata is a list":   {`{"nbformat": 4, "cells": [], "metadata": []}`, "metadata: not an object"},
		"outputs is a text":    {`{"nbformat": 4, "cells": [{"cell_type": "code", "outputs": ""}]}`, "cells[0].outputs: not a list"},
		"an output is a text":  {`{"nbformat": 4, "cells": [{"cell_type": "code", "outputs": [""]}]}`, "cells[0].outputs[0]: not an object"},
		"an output of no type": {`{"nbformat": 4, "cells": [{"cell_type": "code", "outputs": [{}]}]}`, "outputs[0].output_type: not a string"},
		"data is a list": {
			`{"nbformat": 4, "cells": [{"cell_type": "code", "outputs": [{"output_type": "display_data", "data": []}]}]}`, "outputs[0].data: not an object",
		},
		"a sheet is none": {`{"nbformat": 3, "worksheets": [1]}`, "worksheets[0].cells: not a list"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := notebook.Read(strings.NewReader(test.text))
			require.ErrorContains(t, err, test.want)
			if format := new(notebook.FormatError); !errors.As(err, &format) {
				require.ErrorIs(t, err, notebook.ErrVersion)
			}
		})
	}
}

func TestWhatCanBeMendedIsMendedAndSaid(t *testing.T) {
	nb := parse(t, "\ufeff"+`{"nbformat": 4, "nbformat_minor": 5, "metadata": {"signature": "x", "orig_nbformat": 3}, "cells": [
		{"cell_type": "code", "source": "1", "id": "same", "metadata": {"trusted": true}},
		{"cell_type": "code", "source": "2", "id": "same", "outputs": [
			{"output_type": "display_data", "data": {"text/plain": ["a", "b"]}, "metadata": {}, "transient": {"display_id": "x"}}]},
		{"cell_type": "markdown", "source": ["3"], "id": "not valid"},
		{"cell_type": "markdown"},
		{"cell_type": "future", "metadata": {}, "source": {"kept": 1}, "id": "f"}
	]}`)
	require.Equal(t, []string{
		"cells[0].outputs is missing, taken as none",
		"cells[1].outputs[0].transient is not to be stored, left out",
		`cells[4].cell_type "future" is not known, the cell is now a raw one`,
		"cells[1] has the id of an earlier cell, given another",
		"cells[2] has an invalid id, given another",
		"cells[3] has no id, given one",
	}, nb.Repairs)
	out := encode(t, nb)
	for _, gone := range []string{"transient", "signature", "orig_nbformat", "trusted", "not valid"} {
		require.NotContains(t, out, gone)
	}
	require.Equal(t, "ab", nb.Cells[1].Outputs[0].Data["text/plain"])
	require.Contains(t, out, "\"source\": {\n      \"kept\": 1\n     }")
	require.Contains(t, out, "\"cell_type\": \"future\"")
	require.Equal(t, notebook.Raw, nb.Cells[4].Type)
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		oracle(t, python, "validate", write(t, nb, "mended.ipynb"))
	})
	ids := map[string]bool{}
	for _, c := range nb.Cells {
		ids[c.ID] = true
	}
	require.Len(t, ids, 5)
	require.Equal(t, out, encode(t, parse(t, out)))
}

func TestIDsAreOnDiskFromMinor5On(t *testing.T) {
	const cells = `"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "raw", "source": "", "metadata": {}, "id": "a"}]}`
	require.Contains(t, encode(t, parse(t, `{"nbformat_minor": 5, `+cells)), `"id": "a"`)
	require.NotContains(t, encode(t, parse(t, `{"nbformat_minor": 4, `+cells)), `"id"`, "the format would not be valid")
	require.Contains(t, encode(t, parse(t, `{`+cells)), `"nbformat_minor": 5`)
	require.Contains(t, encode(t, parse(t, `{"nbformat_minor": 7, `+cells)), `"nbformat_minor": 7`)
}

func TestValuesOfGoAreWrittenAsPythonWould(t *testing.T) {
	nb := notebook.New("k", "K", "python")
	nb.Metadata = map[string]any{
		"floats": []any{1.0, 0.1, 1e16, 1e-5, 123456789.5, math.NaN(), math.Inf(1), math.Inf(-1), float64(0)},
		"number": json.Number("1.50"), "struct": struct{ A int }{1}, "ints": []int{1, 2}, "null": nil, "yes": true,
		"text": "\x00\x1f\"\\\b\f\n\r\t\x7f\u2028é<>&",
	}
	require.Equal(t, `{
 "cells": [],
 "metadata": {
  "floats": [
   1.0,
   0.1,
   1e+16,
   1e-05,
   123456789.5,
   NaN,
   Infinity,
   -Infinity,
   0.0
  ],
  "ints": [
   1,
   2
  ],
  "null": null,
  "number": 1.50,
  "struct": {
   "A": 1
  },
  "text": "\u0000\u001f\"\\\b\f\n\r\t`+"\x7f\u2028"+`é<>&",
  "yes": true
 },
 "nbformat": 4,
 "nbformat_minor": 5
}
`, encode(t, nb))
	nb.Metadata["bad"] = func() {}
	require.ErrorContains(t, nb.Write(new(strings.Builder)), "func()")
}

func TestFilesAreReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "nb.ipynb")
	require.NoError(t, os.WriteFile(target, []byte("old"), 0o600))
	link := filepath.Join(dir, "link.ipynb")
	require.NoError(t, os.Symlink("nb.ipynb", link))
	require.NoError(t, makeNotebook("1").WriteFile(link))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSymlink, info.Mode().Type(), "a link stays one")
	info, err = os.Stat(target)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), "permissions stay")
	require.Contains(t, readText(t, target), "nbformat")

	before := readText(t, target)
	bad := makeNotebook("1")
	bad.Metadata["bad"] = make(chan int)
	require.Error(t, bad.WriteFile(target))
	require.Equal(t, before, readText(t, target))
	require.ErrorContains(t, makeNotebook("1").WriteFile(dir), "not a regular file")
	require.ErrorIs(t, makeNotebook("1").WriteFile(filepath.Join(dir, "none", "nb.ipynb")), fs.ErrNotExist)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2, "nothing is left beside it")
}

func TestLargeNotebooksAreReadOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("200 MB")
	}
	nb := makeNotebook("1")
	image := strings.Repeat("iVBORw0KGgo", 1<<20)
	for range 19 {
		nb.Cells[0].Outputs = append(nb.Cells[0].Outputs, &notebook.Output{Type: notebook.DisplayData, Data: map[string]any{"image/png": image}})
	}
	name := write(t, nb, "large.ipynb")
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(200<<20))
	again, err := notebook.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, image, again.Cells[0].Outputs[17].Data["image/png"])
}

func FuzzRead(f *testing.F) {
	f.Add(version3)
	f.Add(`{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "id": "a", "source": ["a\r\n", "\ud83d\ude00\ud83d"], "outputs": []}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		nb, err := notebook.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		first := encode(t, nb)
		require.Equal(t, first, encode(t, parse(t, first)), "what was written reads and writes the same")
	})
}

func TestALargeNotebookIsReadAndWrittenInLittleMemory(t *testing.T) {
	nb := makeNotebook(make([]string, 16)...)
	line := strings.Repeat("x", 99) + "\n"
	for _, c := range nb.Cells {
		c.Outputs = []*notebook.Output{
			{Type: notebook.Stream, Name: "stdout", Text: strings.Repeat(line, 10_000)},
			displayed("image/png", strings.Repeat("QUJD", 250_000)),
		}
	}
	name := write(t, nb, "large.ipynb")
	size := int64(len(readText(t, name)))
	require.Greater(t, size, int64(30<<20))
	allocated := func(f func()) float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc-before.TotalAlloc) / float64(size)
	}
	require.Less(t, allocated(func() { require.NoError(t, nb.Write(io.Discard)) }), 0.6, "in all, of the file's size")
	require.Less(t, allocated(func() {
		_, err := notebook.ReadFile(name)
		require.NoError(t, err)
	}), 3.5)
}

func displayed(mime, text string) *notebook.Output {
	return &notebook.Output{Type: notebook.DisplayData, Data: map[string]any{mime: text}}
}
