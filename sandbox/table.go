package sandbox

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ErrNoTable is returned by [DecodeTable] for what is no table.
var ErrNoTable = errors.New("not a table")

// Table is a table that the code showed: its first rows, as columns.
type Table struct {
	Columns []Column `json:"columns"`
	// Index are the columns that pandas names rows by, none for rows that are only counted.
	Index []Column `json:"index,omitempty"`
	// Rows and Width are the table's true numbers of rows and columns; fewer may be here.
	Rows  int `json:"rows"`
	Width int `json:"width"`
}

// Column is a column of a table.
type Column struct {
	Name string `json:"name"`
	// Dtype is the type as pandas or polars names it, "" if not told.
	Dtype string `json:"dtype,omitempty"`
	// Values are null, booleans, strings and numbers as JSON: integers are exact whatever their size.
	Values []json.RawMessage `json:"values"`
}

// Bounds of a decoded table, beyond what the kernel's side sends.
const (
	maxTableBytes = 64 << 20
	maxTableCells = 2_000_000
)

// Table is the result as a table; ok is false when it is none.
func (r *Result) Table() (table *Table, ok bool) {
	if r.Data == nil {
		return nil, false
	}
	table, err := DecodeTable(r.Data, r.Metadata[mimeData])
	return table, err == nil
}

// DecodeTable reads a table from E2B's form, an object of column to values, and what dskernel says about it besides
// (nil is fine: columns are in alphabetic order then). The error is [ErrNoTable].
func DecodeTable(data, about json.RawMessage) (*Table, error) {
	if len(data)+len(about) > maxTableBytes {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrNoTable, len(data)+len(about), maxTableBytes)
	}
	if n := strings.Count(string(data), ",") + strings.Count(string(about), ","); n > maxTableCells {
		return nil, fmt.Errorf("%w: more than %d cells", ErrNoTable, maxTableCells)
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(data, &values); err != nil || values == nil {
		return nil, fmt.Errorf("%w: it is no object of columns", ErrNoTable)
	}
	var said struct {
		Columns []struct{ Name, Dtype string }
		Index   []Column
		Shape   []int
	}
	if about != nil && json.Unmarshal(about, &said) != nil {
		said.Columns, said.Index, said.Shape = nil, nil, nil
	}
	t := &Table{Columns: []Column{}}
	for _, c := range said.Columns {
		if raw, ok := values[c.Name]; ok {
			t.add(c.Name, c.Dtype, raw)
			delete(values, c.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		t.add(name, "", values[name])
	}
	t.Index = said.Index
	t.Rows, t.Width = t.Kept(), len(t.Columns)
	if len(said.Shape) == 2 {
		t.Rows, t.Width = max(t.Rows, said.Shape[0]), max(t.Width, said.Shape[1])
	}
	return t, nil
}

func (t *Table) add(name, dtype string, raw json.RawMessage) {
	c := Column{Name: name, Dtype: dtype}
	if json.Unmarshal(raw, &c.Values) == nil {
		t.Columns = append(t.Columns, c)
	}
}

// Kept is how many rows are here.
func (t *Table) Kept() int {
	n := 0
	for _, c := range slices.Concat(t.Index, t.Columns) {
		n = max(n, len(c.Values))
	}
	return n
}

// Digest tells the table's size and columns, for a terminal or a language model. At most 2 KiB.
func (t *Table) Digest() string {
	text := "table of " + number(t.Rows, 0, "row") + " and " + number(t.Width, 0, "column")
	if kept := t.Kept(); kept < t.Rows {
		text += ", the first " + number(kept, 0, "row") + " here"
	}
	for i, c := range t.Columns {
		next := ": "
		if i > 0 {
			next = ", "
		}
		if next += short(c.Name); c.Dtype != "" {
			next += " (" + short(c.Dtype) + ")"
		}
		if len(text)+len(next) > digestLimit-40 {
			return text + fmt.Sprintf(" and %d more", len(t.Columns)-i)
		}
		text += next
	}
	return text
}

// WriteCSV writes the rows that are here, after a line of names: the index first, null as nothing.
func (t *Table) WriteCSV(w io.Writer) error {
	columns := slices.Concat(t.Index, t.Columns)
	out := csv.NewWriter(w)
	record := make([]string, len(columns))
	for i, c := range columns {
		record[i] = c.Name
	}
	if err := out.Write(record); err != nil {
		return err
	}
	for row := range t.Kept() {
		for i, c := range columns {
			if record[i] = ""; row < len(c.Values) {
				record[i] = cell(c.Values[row])
			}
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// cell is a value as text: strings bare, null empty, all else as JSON.
func cell(raw json.RawMessage) string {
	var s string
	switch {
	case string(raw) == "null" || len(raw) == 0:
		return ""
	case raw[0] == '"' && json.Unmarshal(raw, &s) == nil:
		return s
	}
	return string(raw)
}

// Float is the value of a cell as a number; ok is false for what is none.
func (c *Column) Float(row int) (f float64, ok bool) {
	if row < 0 || row >= len(c.Values) {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(c.Values[row]), 64)
	return f, err == nil
}
