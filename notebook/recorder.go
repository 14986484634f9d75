package notebook

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// outputOverhead is what an output counts for a cell's budget beside its contents, bytes.
const outputOverhead = 256

// recorder turns what a kernel says into outputs of cells, as nbclient does. One is for one notebook, because displays
// are updated across cells.
type recorder struct {
	maxOutput int64
	displays  map[string][]place // outputs by display id
	sizes     map[*Cell]int64
	widgets   widgets

	cell      *Cell // under way
	clearNext bool  // clear_output(wait=True) came
	stream    *Output
	text      strings.Builder // of stream; joining strings one by one would take the square of the time
	cut       int64           // bytes left out of the cell
	reply     *messaging.ExecuteReply
	timing    map[string]any // the cell's metadata.execution
}

// place is an output in its cell.
type place struct {
	cell   *Cell
	output *Output
}

func newRecorder(maxOutput int64) *recorder {
	return &recorder{maxOutput: maxOutput, displays: make(map[string][]place), sizes: make(map[*Cell]int64), widgets: newWidgets()}
}

// begin empties a cell for what it will show.
func (r *recorder) begin(c *Cell) {
	r.cell, r.clearNext, r.cut, r.reply = c, false, 0, nil
	r.clear()
	c.ExecutionCount = nil
	r.timing = map[string]any{}
	c.setMetadata("execution", r.timing)
}

// end completes the cell and returns the kernel's reply; nil when none came.
func (r *recorder) end() *messaging.ExecuteReply {
	r.closeStream()
	if r.cut > 0 {
		r.note(fmt.Sprintf("%d bytes of output were left out", r.cut))
	}
	return r.reply
}

// note tells the reader something of ours.
func (r *recorder) note(text string) {
	r.closeStream()
	r.cell.Outputs = append(r.cell.Outputs, &Output{Type: Stream, Name: messaging.Stderr, Text: "[" + text + "]\n"})
}

// add takes the next event of the run.
func (r *recorder) add(event *kernel.Event) {
	if w := r.widgets.taker(event.Message); w != nil && r.capture(w, event.Content) {
		return
	}
	switch c := event.Content.(type) {
	case *messaging.Status:
		switch c.ExecutionState {
		case messaging.StateBusy:
			r.at("iopub.status.busy", event)
		case messaging.StateIdle:
			r.at("iopub.status.idle", event)
		}
	case *messaging.ExecuteReply:
		r.at("shell.execute_reply", event)
		r.reply = c
		r.count(c.ExecutionCount)
	case *messaging.ExecuteInput:
		r.at("iopub.execute_input", event)
		r.count(c.ExecutionCount)
	case *messaging.Stream:
		r.addText(c)
	case *messaging.DisplayData:
		r.show(shownAs(DisplayData, c.Data, c.Metadata), c.Transient.DisplayID)
	case *messaging.ExecuteResult:
		r.count(c.ExecutionCount)
		r.show(value(c), c.Transient.DisplayID)
	case *messaging.UpdateDisplayData:
		r.refresh(shownAs(DisplayData, c.Data, c.Metadata), c.Transient.DisplayID)
	case *messaging.ErrorOutput:
		r.append(&Output{Type: Error, EName: c.EName, EValue: c.EValue, Traceback: c.Traceback})
	case *messaging.ClearOutput:
		if c.Wait {
			r.clearNext = true
		} else {
			r.clear()
		}
	case *messaging.CommOpen:
		r.widgets.add(c.CommID, c.Data, event.Message.Buffers, r.maxOutput)
	case *messaging.CommMsg:
		r.widgets.add(c.CommID, c.Data, event.Message.Buffers, r.maxOutput)
	case *kernel.Truncated:
		r.cut += c.Bytes
	}
}

// at notes when an event was, as the kernel wrote it.
func (r *recorder) at(name string, event *kernel.Event) {
	r.timing[name] = event.Time.UTC().Format("2006-01-02T15:04:05.000000Z")
}

func (r *recorder) count(n int) {
	if n > 0 {
		r.cell.ExecutionCount = &n
	}
}

func (r *recorder) addText(s *messaging.Stream) {
	if s.Text == "" {
		return
	}
	if r.clearNext || r.stream == nil || r.stream.Name != s.Name {
		if o := (&Output{Type: Stream, Name: s.Name}); r.append(o) {
			r.stream = o
		}
	}
	size := int64(len(s.Text))
	if r.stream == nil || r.stream.Name != s.Name || r.sizes[r.cell]+size > r.maxOutput {
		r.cut += size
		return
	}
	r.sizes[r.cell] += size
	r.text.WriteString(s.Text)
}

// flush gives the stream output under way the text it has by now.
func (r *recorder) flush() {
	if r.stream != nil {
		r.stream.Text = r.text.String()
	}
}

// closeStream gives the stream output under way its text.
func (r *recorder) closeStream() {
	if r.stream != nil {
		r.stream.Text = r.text.String()
		r.stream = nil
		r.text.Reset()
	}
}

// show adds an output; earlier ones with its display id show the same from now on.
func (r *recorder) show(o *Output, displayID string) {
	r.refresh(o, displayID)
	if r.append(o) && displayID != "" {
		r.displays[displayID] = append(r.displays[displayID], place{r.cell, o})
	}
}

// append adds an output, after the clearing that waited for it, if the budget allows.
func (r *recorder) append(o *Output) bool {
	if r.clearNext {
		r.clear()
	}
	r.closeStream()
	size := o.size()
	if r.sizes[r.cell]+size > r.maxOutput {
		r.cut += size
		return false
	}
	r.sizes[r.cell] += size
	r.cell.Outputs = append(r.cell.Outputs, o)
	return true
}

// refresh gives every output with a display id the contents of o.
func (r *recorder) refresh(o *Output, displayID string) {
	if displayID == "" {
		return
	}
	for _, p := range r.displays[displayID] {
		growth := o.size() - p.output.size()
		if r.sizes[p.cell]+growth > r.maxOutput {
			r.cut += o.size()
			continue
		}
		r.sizes[p.cell] += growth
		p.output.Data, p.output.Metadata, p.output.Caption = maps.Clone(o.Data), maps.Clone(o.Metadata), o.Caption
	}
}

// clear empties the cell and forgets its displays.
func (r *recorder) clear() {
	r.clearNext = false
	r.closeStream()
	r.cell.Outputs = []*Output{}
	r.sizes[r.cell] = 0
	for id, places := range r.displays {
		kept := places[:0]
		for _, p := range places {
			if p.cell != r.cell {
				kept = append(kept, p)
			}
		}
		if r.displays[id] = kept; len(kept) == 0 {
			delete(r.displays, id)
		}
	}
}

// size is what the output counts for its cell's budget, bytes.
func (o *Output) size() int64 {
	n := outputOverhead + len(o.Text) + len(o.EName) + len(o.EValue)
	for _, line := range o.Traceback {
		n += len(line)
	}
	return int64(n) + jsonSize(o.Data) + jsonSize(o.Metadata)
}

// jsonSize is about how long a value is, bytes.
func jsonSize(v any) int64 {
	n := int64(8)
	switch v := v.(type) {
	case string:
		n += int64(len(v))
	case []any:
		for _, item := range v {
			n += jsonSize(item)
		}
	case map[string]any:
		for key, item := range v {
			n += int64(len(key)) + jsonSize(item)
		}
	}
	return n
}

// timestamp is a time as papermill writes it.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000") }
