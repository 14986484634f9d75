package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// tableColumn is a column of a table as its description has it; values are there for the index only.
type tableColumn struct {
	Name   string            `json:"name"`
	Values []json.RawMessage `json:"values"`
}

// tableCSV is a table as CSV: its index, then its columns, as many rows as came. Empty when the result has none.
func tableCSV(r *sandbox.Result) []byte {
	var data map[string][]json.RawMessage
	var about struct {
		Columns []tableColumn `json:"columns"`
		Index   []tableColumn `json:"index"`
	}
	if json.Unmarshal(r.Data, &data) != nil || json.Unmarshal(r.Metadata["e2b/data"], &about) != nil || len(about.Columns) == 0 {
		return nil
	}
	columns := about.Index
	for _, c := range about.Columns {
		columns = append(columns, tableColumn{c.Name, data[c.Name]})
	}
	rows := 0
	record := make([]string, len(columns))
	for i, c := range columns {
		record[i] = c.Name
		rows = max(rows, len(c.Values))
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(record) // a Buffer takes everything
	for row := range rows {
		for i, c := range columns {
			record[i] = ""
			if row < len(c.Values) {
				record[i] = cellText(c.Values[row])
			}
		}
		_ = w.Write(record)
	}
	w.Flush()
	return b.Bytes()
}

// cellText is a value as CSV has it: strings without quotes, null as nothing, the rest as JSON.
func cellText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil { // null too, which gives ""
		return text
	}
	return strings.TrimSpace(string(raw))
}
