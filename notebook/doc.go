// Package notebook reads, runs and writes Jupyter notebooks.
//
// A [Notebook] is nbformat 4 in memory: cells, outputs and metadata, with everything kept that the format does not
// know. [Read] takes any version 4 and converts version 3; [Notebook.Write] writes the very bytes that Python's nbformat would,
// so that a notebook which was only read and written shows no difference. [FromScript] and [Notebook.Script] convert from and
// to scripts with "# %%" between their cells.
//
// [Execute] runs a notebook in a context of a sandbox and stores what its cells showed, by the rules of nbclient;
// [Notebook.SetParameters] injects parameters as papermill does.
//
// A Notebook belongs to one goroutine at a time. The package starts no goroutines.
//
// Start at [ReadFile].
package notebook
