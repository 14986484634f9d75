package notebook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// upgrade makes a version 4 notebook of a version 3 one, in place, as nbformat's converter does.
func upgrade(top map[string]any) error {
	top["nbformat"], top["nbformat_minor"] = json.Number("4"), json.Number("5")
	delete(top, "orig_nbformat")
	delete(top, "orig_nbformat_minor")
	if metadata, ok := top["metadata"].(map[string]any); ok {
		delete(metadata, "name")
	}
	sheets, _ := take(top, "worksheets")
	list, ok := sheets.([]any)
	if !ok && sheets != nil {
		return &FormatError{Where: "worksheets", Err: errors.New("not a list")}
	}
	cells := []any{}
	for i, item := range list {
		sheet, _ := item.(map[string]any)
		of, ok := sheet["cells"].([]any)
		if !ok {
			return &FormatError{Where: fmt.Sprintf("worksheets[%d].cells", i), Err: errors.New("not a list")}
		}
		for _, c := range of {
			if cell, ok := c.(map[string]any); ok { // reading complains about what is no cell
				upgradeCell(cell)
			}
			cells = append(cells, c)
		}
	}
	top["cells"] = cells
	return nil
}

// rename moves a member of an object to another key, if it is there.
func rename(object map[string]any, from, to string) {
	if v, ok := take(object, from); ok {
		object[to] = v
	}
}

func upgradeCell(cell map[string]any) {
	switch cell["cell_type"] {
	case "code":
		delete(cell, "language")
		metadata, ok := cell["metadata"].(map[string]any)
		if !ok {
			metadata = map[string]any{}
			cell["metadata"] = metadata
		}
		rename(cell, "input", "source")
		rename(cell, "prompt_number", "execution_count")
		if collapsed, ok := take(cell, "collapsed"); ok {
			metadata["collapsed"] = collapsed
		}
		outputs, _ := cell["outputs"].([]any)
		for _, item := range outputs {
			if output, ok := item.(map[string]any); ok {
				upgradeOutput(output)
			}
		}
	case "heading":
		cell["cell_type"] = "markdown"
		level := 1
		if v, ok := take(cell, "level"); ok {
			if n, ok := integer(v); ok && n >= 1 && n <= 6 {
				level = n
			}
		}
		if text, ok := joined(cell["source"]); ok {
			words := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
			cell["source"] = strings.Repeat("#", level) + " " + words
		}
	case "html":
		cell["cell_type"] = "markdown"
	}
}

// v3Forms are the names that version 3 had for the forms of a bundle.
var v3Forms = map[string]string{
	"text": "text/plain", "html": "text/html", "svg": "image/svg+xml", "png": "image/png", "jpeg": "image/jpeg",
	"latex": "text/latex", "json": "application/json", "javascript": "application/javascript",
}

func upgradeOutput(output map[string]any) {
	switch output["output_type"] {
	case "stream":
		rename(output, "stream", "name")
		if _, ok := output["name"]; !ok {
			output["name"] = "stdout"
		}
	case "pyerr":
		output["output_type"] = "error"
	case "pyout", "display_data":
		if output["output_type"] == "pyout" {
			output["output_type"] = "execute_result"
			rename(output, "prompt_number", "execution_count")
		}
		data := make(map[string]any)
		for key := range output {
			if key != "output_type" && key != "execution_count" && key != "metadata" {
				data[key], _ = take(output, key)
			}
		}
		for short, mime := range v3Forms {
			rename(data, short, mime)
			if metadata, ok := output["metadata"].(map[string]any); ok {
				rename(metadata, short, mime)
			}
		}
		// Version 3 kept JSON as text.
		if text, ok := joined(data["application/json"]); ok {
			if v, err := parseJSON(text); err == nil {
				data["application/json"] = v
			}
		}
		output["data"] = data
	}
}
