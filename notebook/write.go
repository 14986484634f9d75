package notebook

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Write writes the notebook as Python's nbformat does, byte for byte: keys sorted, an indent of one, text as lists of lines.
func (nb *Notebook) Write(w io.Writer) error {
	if err := nb.encode(w); err != nil {
		return fmt.Errorf("notebook: write: %w", err)
	}
	return nil
}

// pieceSize is from how many bytes on a piece of a notebook is written: it may be larger than what there is memory for twice.
const pieceSize = 256 << 10

// encode writes the notebook as appendJSON would write its tree, cell by cell.
func (nb *Notebook) encode(w io.Writer) error {
	top, out := nb.top(), []byte{'{'}
	for i, key := range slices.Sorted(maps.Keys(top)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendString(appendBreak(out, 1), key), ": "...)
		var err error
		if key == "cells" {
			out, err = nb.encodeCells(w, out)
		} else {
			out, err = appendJSON(out, top[key], 1)
		}
		if err != nil {
			return err
		}
	}
	_, err := w.Write(append(appendBreak(out, 0), "}\n"...))
	return err
}

// encodeCells appends the list of cells, and writes what has become large; it returns what is yet to be written.
func (nb *Notebook) encodeCells(w io.Writer, out []byte) ([]byte, error) {
	out = append(out, '[')
	for i, c := range nb.Cells {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendJSON(appendBreak(out, 2), c.tree(nb.Minor >= 5), 2); err != nil {
			return nil, err
		}
		if len(out) >= pieceSize {
			if _, err := w.Write(out); err != nil {
				return nil, err
			}
			out = out[:0]
		}
	}
	if len(nb.Cells) > 0 {
		out = appendBreak(out, 1)
	}
	return append(out, ']'), nil
}

// WriteFile stores the notebook in a file. It is atomic: whatever happens, the file is the old or the new one. A file that
// was there keeps its permissions, a link to one stays a link; a new one has 0644 less the umask.
func (nb *Notebook) WriteFile(name string) error {
	if err := replaceFile(name, nb.encode); err != nil {
		return fmt.Errorf("notebook: write %s: %w", name, err)
	}
	return nil
}

// replaceFile writes a file beside the other and renames it.
func replaceFile(name string, write func(io.Writer) error) (err error) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	mode := fs.FileMode(0)
	switch info, err := os.Stat(name); {
	case err == nil && !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case err == nil:
		mode = info.Mode().Perm()
	}
	f, err := createBeside(name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = write(f)
	if err == nil && mode != 0 {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// createBeside makes a file with another name in the folder of name. os.CreateTemp would make it private, and the umask
// can't be asked for safely.
func createBeside(name string) (*os.File, error) {
	for n := 0; ; n++ {
		other := filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s.%d-%d.tmp", filepath.Base(name), os.Getpid(), n))
		f, err := os.OpenFile(other, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, fs.ErrExist) || n == 1000 {
			return f, err
		}
	}
}

// top is the notebook as JSON values, without its cells.
func (nb *Notebook) top() map[string]any {
	out := clone(nb.extra)
	out["cells"], out["metadata"] = nil, orEmpty(nb.Metadata)
	out["nbformat"], out["nbformat_minor"] = Major, nb.Minor
	return out
}

func (c *Cell) tree(withID bool) map[string]any {
	out := clone(c.extra)
	if withID {
		out["id"] = c.ID
	}
	out["cell_type"], out["metadata"] = string(c.Type), orEmpty(c.Metadata)
	switch c.Type {
	case Code, Markdown, Raw:
		out["source"] = splitLines(c.Source)
	}
	if c.Attachments != nil {
		attachments := make(map[string]any, len(c.Attachments))
		for name, v := range c.Attachments {
			if bundle, ok := v.(map[string]any); ok {
				v = splitBundle(bundle)
			}
			attachments[name] = v
		}
		out["attachments"] = attachments
	}
	if c.Type == Code {
		outputs := make([]any, len(c.Outputs))
		for i, o := range c.Outputs {
			outputs[i] = o.tree(true)
		}
		out["outputs"], out["execution_count"] = outputs, c.ExecutionCount
	}
	return out
}

// tree is the output as JSON values, its texts as lists of lines or whole.
func (o *Output) tree(split bool) map[string]any {
	out := clone(o.extra)
	out["output_type"] = string(o.Type)
	switch o.Type {
	case Stream:
		if out["name"], out["text"] = o.Name, o.Text; split {
			out["text"] = splitLines(o.Text)
		}
	case ExecuteResult, DisplayData:
		if out["data"], out["metadata"] = orEmpty(o.Data), orEmpty(o.Metadata); split {
			out["data"] = splitBundle(o.Data)
		}
		if o.Type == ExecuteResult {
			out["execution_count"] = o.ExecutionCount
		}
	case Error:
		out["ename"], out["evalue"], out["traceback"] = o.EName, o.EValue, o.Traceback
	}
	return out
}

// clone copies what the format does not know, to be completed.
func clone(extra map[string]any) map[string]any {
	out := make(map[string]any, len(extra)+8)
	maps.Copy(out, extra)
	return out
}

func orEmpty(object map[string]any) map[string]any {
	if object == nil {
		return map[string]any{}
	}
	return object
}
