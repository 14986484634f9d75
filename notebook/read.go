package notebook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxSize bounds a notebook's file, bytes.
const maxSize = 1 << 30

// ReadFile reads a notebook, see Read.
func ReadFile(name string) (*Notebook, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("notebook: %w", err)
	}
	defer func() { _ = f.Close() }()
	size := int64(0)
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	nb, err := read(f, size)
	if err != nil {
		return nil, fmt.Errorf("notebook: %s: %w", name, err)
	}
	return nb, nil
}

// Read reads a notebook of version 4, or converts one of version 3. What it can mend without a loss it mends and says
// so in Repairs: missing or double ids, missing outputs. Errors: *FormatError, ErrVersion, ErrTooLarge.
func Read(r io.Reader) (*Notebook, error) {
	nb, err := read(r, 0)
	if err != nil {
		return nil, fmt.Errorf("notebook: %w", err)
	}
	return nb, nil
}

// read reads about size bytes; 0 is not known. Growing a text by pieces takes its memory several times.
func read(r io.Reader, size int64) (*Notebook, error) {
	var b strings.Builder
	b.Grow(int(min(size, maxSize)))
	n, err := io.Copy(&b, io.LimitReader(r, maxSize+1))
	switch {
	case err != nil:
		return nil, err
	case n > maxSize:
		return nil, ErrTooLarge
	}
	text := strings.TrimPrefix(b.String(), "\ufeff")
	if strings.TrimSpace(text) == "" {
		return nil, &FormatError{Err: errors.New("the file is empty")}
	}
	if !utf8.ValidString(text) {
		return nil, &FormatError{Err: errors.New("the file is not UTF-8")}
	}
	v, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	top, ok := v.(map[string]any)
	if !ok {
		return nil, &FormatError{Err: errors.New("the file holds no JSON object")}
	}
	rd := new(reader)
	if err := rd.version(top); err != nil {
		return nil, err
	}
	return rd.notebook(top)
}

// reader turns JSON into a notebook and notes what it mends.
type reader struct{ repairs []string }

func (rd *reader) mend(format string, args ...any) {
	if len(rd.repairs) < 100 { // a broken file may need thousands
		rd.repairs = append(rd.repairs, fmt.Sprintf(format, args...))
	}
}

// version checks the version of the format; a notebook of version 3 becomes one of version 4.
func (rd *reader) version(top map[string]any) error {
	major, ok := integer(top["nbformat"])
	switch {
	case !ok:
		return &FormatError{Err: errors.New("it has no nbformat, the number of its version")}
	case major == 3:
		rd.mend("converted from version 3 of the format")
		return upgrade(top)
	case major < Major:
		return fmt.Errorf("%w: it is version %d: open and save it with Jupyter, or use `jupyter nbconvert --to notebook`", ErrVersion, major)
	case major > Major:
		return fmt.Errorf("%w: it is version %d, which is newer than this program: save it as version 4", ErrVersion, major)
	}
	return nil
}

// integer reads a whole number of a file.
func integer(v any) (int, bool) {
	number, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(number.String())
	return n, err == nil
}

// take removes a key of an object and returns its value.
func take(object map[string]any, key string) (v any, ok bool) {
	v, ok = object[key]
	delete(object, key)
	return v, ok
}

// object takes a member that must be an object; nil when it is absent.
func (rd *reader) object(from map[string]any, key, where string) (map[string]any, error) {
	v, ok := take(from, key)
	if !ok || v == nil {
		return nil, nil //nolint:nilnil // absent is no error
	}
	out, ok := v.(map[string]any)
	if !ok {
		return nil, &FormatError{Where: where + key, Err: errors.New("not an object")}
	}
	return out, nil
}

// text takes a member that must be a string or a list of lines; empty when it is absent.
func (rd *reader) text(from map[string]any, key, where string) (string, error) {
	v, ok := take(from, key)
	if !ok || v == nil {
		return "", nil
	}
	text, ok := joined(v)
	if !ok {
		return "", &FormatError{Where: where + key, Err: errors.New("neither a string nor a list of strings")}
	}
	return text, nil
}

// count takes a prompt's number.
func (rd *reader) count(from map[string]any, where string) *int {
	v, _ := take(from, "execution_count")
	if v == nil {
		return nil
	}
	n, ok := integer(v)
	if !ok || n < 0 {
		rd.mend("%sexecution_count is no number, left out", where)
		return nil
	}
	return &n
}

func (rd *reader) notebook(top map[string]any) (*Notebook, error) {
	list, ok := top["cells"].([]any)
	if !ok {
		return nil, &FormatError{Where: "cells", Err: errors.New("not a list")}
	}
	nb := &Notebook{Cells: make([]*Cell, 0, len(list)), extra: top}
	var err error
	if nb.Metadata, err = rd.object(top, "metadata", ""); err != nil {
		return nil, err
	}
	if nb.Metadata == nil {
		nb.Metadata = map[string]any{}
	}
	for _, passing := range []string{"orig_nbformat", "orig_nbformat_minor", "signature"} { // never stored
		delete(nb.Metadata, passing)
	}
	withIDs := false
	for i, item := range list {
		where := fmt.Sprintf("cells[%d]", i)
		object, ok := item.(map[string]any)
		if !ok {
			return nil, &FormatError{Where: where, Err: errors.New("not an object")}
		}
		_, hasID := object["id"]
		withIDs = withIDs || hasID
		c, err := rd.cell(object, where+".")
		if err != nil {
			return nil, err
		}
		nb.Cells = append(nb.Cells, c)
	}
	nb.Minor, ok = integer(top["nbformat_minor"])
	if !ok || nb.Minor < 0 {
		if nb.Minor = 4; withIDs {
			nb.Minor = 5
		}
		rd.mend("nbformat_minor is missing, taken as %d", nb.Minor)
	}
	for _, known := range []string{"cells", "nbformat", "nbformat_minor"} {
		delete(top, known)
	}
	rd.ids(nb)
	nb.Repairs = rd.repairs
	return nb, nil
}

func (rd *reader) cell(object map[string]any, where string) (*Cell, error) {
	kind, ok := object["cell_type"].(string)
	if !ok {
		return nil, &FormatError{Where: where + "cell_type", Err: errors.New("not a string")}
	}
	c := &Cell{Type: CellType(kind), extra: object}
	var err error
	if c.Metadata, err = rd.object(object, "metadata", where); err != nil {
		return nil, err
	}
	if c.Metadata == nil {
		c.Metadata = map[string]any{}
	}
	delete(c.Metadata, "trusted") // of one session with one person
	c.ID, _ = object["id"].(string)
	delete(object, "id")
	delete(object, "cell_type")
	switch c.Type {
	case Code:
		c.ExecutionCount = rd.count(object, where)
		if c.Outputs, err = rd.outputs(object, where); err != nil {
			return nil, err
		}
	case Markdown, Raw:
		if c.Attachments, err = rd.object(object, "attachments", where); err != nil {
			return nil, err
		}
		for _, bundle := range c.Attachments {
			if forms, ok := bundle.(map[string]any); ok {
				joinBundle(forms)
			}
		}
	default:
		rd.mend("%scell_type %q is not known, the cell is now a raw one", where, kind)
		c.Type = Raw
		if source, ok := joined(object["source"]); ok {
			c.Source = source
			delete(object, "source")
		}
		// What else it has no schema allows, except as metadata.
		object["cell_type"] = kind
		c.Metadata["unknown_cell"], c.extra = object, nil
		return c, nil
	}
	c.Source, err = rd.text(object, "source", where)
	return c, err
}

func (rd *reader) outputs(object map[string]any, where string) ([]*Output, error) {
	v, ok := take(object, "outputs")
	if !ok || v == nil {
		rd.mend("%soutputs is missing, taken as none", where)
		return []*Output{}, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, &FormatError{Where: where + "outputs", Err: errors.New("not a list")}
	}
	outputs := make([]*Output, 0, len(list))
	for i, item := range list {
		at := fmt.Sprintf("%soutputs[%d]", where, i)
		object, ok := item.(map[string]any)
		if !ok {
			return nil, &FormatError{Where: at, Err: errors.New("not an object")}
		}
		o, err := rd.output(object, at+".")
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, o)
	}
	return outputs, nil
}

func (rd *reader) output(object map[string]any, where string) (*Output, error) {
	kind, ok := object["output_type"].(string)
	if !ok {
		return nil, &FormatError{Where: where + "output_type", Err: errors.New("not a string")}
	}
	if _, found := take(object, "transient"); found {
		rd.mend("%stransient is not to be stored, left out", where)
	}
	delete(object, "output_type")
	o := &Output{Type: OutputType(kind), extra: object}
	var err error
	switch o.Type {
	case Stream:
		if o.Text, err = rd.text(object, "text", where); err != nil {
			return nil, err
		}
		o.Name, err = rd.text(object, "name", where)
		return o, err
	case ExecuteResult, DisplayData:
		if o.Type == ExecuteResult {
			o.ExecutionCount = rd.count(object, where)
		}
		if o.Data, err = rd.object(object, "data", where); err != nil {
			return nil, err
		}
		joinBundle(o.Data)
		o.Metadata, err = rd.object(object, "metadata", where)
		return o, err
	case Error:
		for key, field := range map[string]*string{"ename": &o.EName, "evalue": &o.EValue} {
			if *field, err = rd.text(object, key, where); err != nil {
				return nil, err
			}
		}
		traceback, _ := take(object, "traceback")
		lines, _ := traceback.([]any)
		for _, item := range lines {
			if line, ok := item.(string); ok {
				o.Traceback = append(o.Traceback, line)
			}
		}
	}
	return o, nil
}

// ids gives every cell an id that is valid and its own. They are made from the cells, so that reading a file twice
// gives the same.
func (rd *reader) ids(nb *Notebook) {
	taken := make(map[string]bool, len(nb.Cells))
	for i, c := range nb.Cells {
		switch {
		case c.ID == "":
			if nb.Minor >= 5 {
				rd.mend("cells[%d] has no id, given one", i)
			}
		case !validID.MatchString(c.ID):
			rd.mend("cells[%d] has an invalid id, given another", i)
			c.ID = ""
		case taken[c.ID]:
			rd.mend("cells[%d] has the id of an earlier cell, given another", i)
			c.ID = ""
		}
		taken[c.ID] = true
	}
	for i, c := range nb.Cells {
		if c.ID == "" {
			c.ID = freshID(taken, i, c.Source)
			taken[c.ID] = true
		}
	}
}
