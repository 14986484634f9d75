package notebook

import (
	"errors"
	"fmt"
	"strings"
)

// Facts about notebook files. They come wrapped; ask with errors.Is.
var (
	ErrVersion  = errors.New("this version of the notebook format is not supported")
	ErrTooLarge = errors.New("notebook is larger than a gigabyte")
)

// FormatError says where a file is not a notebook, and why.
type FormatError struct {
	Where string // "line 3, column 14" of broken JSON, or a path such as "cells[2].source"
	Err   error
}

func (e *FormatError) Error() string {
	if e.Where == "" {
		return "not a notebook: " + e.Err.Error()
	}
	return "not a notebook: " + e.Where + ": " + e.Err.Error()
}

func (e *FormatError) Unwrap() error { return e.Err }

// CellError says which cell ended Execute. It wraps what the cell did: a *sandbox.ExecutionError when its code raised, a
// *sandbox.TimeoutError when its time was over, kernel.ErrDead when the kernel died in it.
type CellError struct {
	Index int // of Notebook.Cells, as it was run: the cells that mark a failure are not counted
	Cell  *Cell
	Err   error
}

func (e *CellError) Error() string {
	why := strings.TrimPrefix(e.Err.Error(), "sandbox: run: ")
	return fmt.Sprintf("%s: %s", cellName(e.Index, e.Cell), strings.TrimPrefix(why, "kernel: run: "))
}

func (e *CellError) Unwrap() error { return e.Err }

// cellName names a cell for a person: its place, counted from 1, and the prompt if it has one.
func cellName(index int, c *Cell) string {
	if c.ExecutionCount == nil {
		return fmt.Sprintf("cell %d", index+1)
	}
	return fmt.Sprintf("cell %d (In [%d])", index+1, *c.ExecutionCount)
}
