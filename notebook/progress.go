package notebook

import (
	"errors"
	"fmt"
	"html"
	"slices"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// What papermill keeps in metadata about a run, under the key "papermill", so that its readers find what they know.

// tagErrorMarker marks the cells that say where a run failed; the next run removes them.
const tagErrorMarker = "papermill-error-cell-tag"

// papermill is the notebook's own record.
func (nb *Notebook) papermill() map[string]any {
	if nb.Metadata == nil {
		nb.Metadata = map[string]any{}
	}
	record, ok := nb.Metadata["papermill"].(map[string]any)
	if !ok {
		record = map[string]any{"default_parameters": map[string]any{}, "environment_variables": map[string]any{}, "parameters": map[string]any{}}
		nb.Metadata["papermill"] = record
	}
	return record
}

// SetPaths records where the notebook came from and where it goes, as papermill does.
func (nb *Notebook) SetPaths(input, output string) {
	record := nb.papermill()
	record["input_path"], record["output_path"] = input, output
}

func (nb *Notebook) progressStart() {
	cells := nb.Cells[:0]
	for _, c := range nb.Cells {
		if !c.HasTag(tagErrorMarker) {
			cells = append(cells, c)
		}
	}
	nb.Cells = cells
	record := nb.papermill()
	record["start_time"], record["end_time"], record["duration"], record["exception"] = timestamp(time.Now()), nil, nil, nil
	for _, c := range nb.Cells {
		c.setMetadata("papermill", map[string]any{
			"status": string(StatusPending), "start_time": nil, "end_time": nil, "duration": nil, "exception": nil,
		})
	}
}

// progress records a change of the cell's state.
func (c *Cell) progress(status Status) {
	record, ok := c.Metadata["papermill"].(map[string]any)
	if !ok {
		return
	}
	record["status"] = string(status)
	if status == StatusRunning {
		record["start_time"], record["exception"] = timestamp(time.Now()), false
		return
	}
	record["exception"] = status == StatusFailed
	finish(record)
}

// finish records the end of something that has its start recorded.
func finish(record map[string]any) {
	now := time.Now()
	record["end_time"] = timestamp(now)
	started, _ := record["start_time"].(string)
	if start, err := time.Parse("2006-01-02T15:04:05.000000", started); err == nil {
		record["duration"] = now.Sub(start).Round(time.Microsecond).Seconds()
	}
}

// progressEnd records the end of the run and marks the cell that failed.
func (nb *Notebook) progressEnd(failed error) {
	record := nb.papermill()
	finish(record)
	var cell *CellError
	if failed == nil || !errors.As(failed, &cell) {
		return
	}
	if endedItself(failed) {
		return
	}
	record["exception"] = true
	nb.mark(cell)
}

// endedItself reports whether a notebook ended because it wanted to: by sys.exit with success.
func endedItself(err error) bool {
	raised := new(sandbox.ExecutionError)
	return errors.As(err, &raised) && raised.Name == "SystemExit" && slices.Contains([]string{"", "0", "None", "False"}, raised.Value)
}

const (
	markerStyle = `style="color:red; font-family:Helvetica Neue, Helvetica, Arial, sans-serif; font-size:2em;"`
	markerTop   = `<span ` + markerStyle + `>An Exception was encountered at '<a href="#papermill-error-cell">%s</a>'.</span>`
	markerHere  = `<span id="papermill-error-cell" ` + markerStyle + `>An exception was encountered here and execution stopped:</span>`
)

// mark puts a cell at the top and one before the cell that failed.
func (nb *Notebook) mark(failed *CellError) {
	name := cellName(failed.Index, failed.Cell)
	if failed.Cell.ExecutionCount != nil {
		name = fmt.Sprintf("In [%d]", *failed.Cell.ExecutionCount)
	}
	here := nb.insert(failed.Index, Markdown, markerHere)
	top := nb.insert(0, Markdown, fmt.Sprintf(markerTop, html.EscapeString(name)))
	for _, c := range []*Cell{here, top} {
		c.Metadata["tags"] = []string{tagErrorMarker}
	}
}
