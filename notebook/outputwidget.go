package notebook

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// outputWidget is the front end's side of an ipywidgets.Output: while it names a run in its state, it takes what that
// run shows, instead of the cell.
type outputWidget struct {
	id        string // of its comm
	run       string // whose outputs it takes; none when empty
	outputs   []*Output
	clearNext bool
	changed   bool // the kernel's side does not know of all outputs
}

// update hears of new state from the kernel.
func (o *outputWidget) update(w *widgets, state map[string]any) {
	run, told := state["msg_id"].(string)
	if !told || run == o.run {
		return
	}
	if o.run != "" {
		w.takers[o.run] = slices.DeleteFunc(w.takers[o.run], func(other *outputWidget) bool { return other == o })
		if len(w.takers[o.run]) == 0 {
			delete(w.takers, o.run)
		}
	}
	if o.run = run; run != "" {
		w.takers[run] = append(w.takers[run], o)
	}
}

// taker is the widget that takes what a message shows; nil when the cell does.
func (w *widgets) taker(m *messaging.Message) *outputWidget {
	if m == nil {
		return nil
	}
	takers := w.takers[m.ParentID()]
	if len(takers) == 0 {
		return nil
	}
	return takers[len(takers)-1]
}

// capture gives an output to a widget; it reports whether it was one.
func (r *recorder) capture(w *outputWidget, content messaging.Content) bool {
	var o *Output
	switch c := content.(type) {
	case *messaging.Stream:
		o = &Output{Type: Stream, Name: c.Name, Text: c.Text}
	case *messaging.DisplayData:
		o = shownAs(DisplayData, c.Data, c.Metadata)
		r.refresh(o, c.Transient.DisplayID)
	case *messaging.ExecuteResult:
		o = value(c)
		r.refresh(o, c.Transient.DisplayID)
	case *messaging.ErrorOutput:
		o = &Output{Type: Error, EName: c.EName, EValue: c.EValue, Traceback: c.Traceback}
	case *messaging.ClearOutput:
		if w.clearNext = c.Wait; !c.Wait {
			w.clear(&r.widgets)
		}
		return true
	default:
		return false
	}
	if w.clearNext {
		w.clear(&r.widgets)
	}
	if size := o.size(); r.widgets.size+size > r.maxOutput {
		r.cut += size
	} else {
		r.widgets.size += size
		w.outputs = append(w.outputs, o)
		w.changed = true
	}
	return true
}

func (o *outputWidget) clear(w *widgets) {
	for _, output := range o.outputs {
		w.size -= output.size()
	}
	o.outputs, o.clearNext, o.changed = nil, false, true
}

// joinStreams makes one output of the pieces of a stream that follow one another.
func joinStreams(outputs []*Output) []*Output {
	var out []*Output
	for i := 0; i < len(outputs); {
		o := outputs[i]
		var text strings.Builder
		for i++; i < len(outputs) && o.Type == Stream && outputs[i].isStream(o.Name); i++ {
			if text.Len() == 0 {
				text.WriteString(o.Text)
			}
			text.WriteString(outputs[i].Text)
		}
		if text.Len() > 0 {
			o.Text = text.String()
		}
		out = append(out, o)
	}
	return out
}

// sync stores what the widgets took in their state, and calls send with what their kernel's sides are to be told.
func (w *widgets) sync(send func(id string, data json.RawMessage) error) error {
	for _, o := range w.outputs {
		if !o.changed {
			continue
		}
		o.changed = false
		o.outputs = joinStreams(o.outputs)
		list := make([]any, len(o.outputs))
		for i, output := range o.outputs {
			list[i] = output.tree(false)
		}
		w.states[o.id]["outputs"] = list
		data, err := appendJSON(nil, map[string]any{
			"method": "update", "state": map[string]any{"outputs": list}, "buffer_paths": []any{},
		}, 0)
		if err == nil {
			err = send(o.id, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
