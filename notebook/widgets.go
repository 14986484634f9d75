package notebook

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// widgetType is the MIME type under which notebooks keep the state of their widgets.
const widgetType = "application/vnd.jupyter.widget-state+json"

// widgets is the state of all widgets, as their comms told it.
type widgets struct {
	states  map[string]map[string]any            // by comm id
	buffers map[string]map[string]map[string]any // by comm id and path
	outputs map[string]*outputWidget             // by comm id
	takers  map[string][]*outputWidget           // by the run whose outputs they take; the last does
	size    int64
}

func newWidgets() widgets {
	return widgets{
		states: make(map[string]map[string]any), buffers: make(map[string]map[string]map[string]any),
		outputs: make(map[string]*outputWidget), takers: make(map[string][]*outputWidget),
	}
}

// add takes what a comm was opened with or sent. What is no state is none of ours; what goes beyond max bytes in all is left out.
func (w *widgets) add(id string, raw json.RawMessage, buffers [][]byte, max int64) {
	v, err := parseJSON(string(raw))
	if err != nil {
		return
	}
	data, _ := v.(map[string]any)
	state, ok := data["state"].(map[string]any)
	if !ok {
		return
	}
	size := jsonSize(state)
	for _, b := range buffers {
		size += int64(base64.StdEncoding.EncodedLen(len(b)))
	}
	if w.size+size > max {
		return
	}
	w.size += size
	if w.states[id] == nil {
		w.states[id] = make(map[string]any)
		if state["_model_module"] == "@jupyter-widgets/output" && state["_model_name"] == "OutputModel" {
			w.outputs[id] = &outputWidget{id: id}
		}
	}
	for key, value := range state {
		w.states[id][key] = value
	}
	if o := w.outputs[id]; o != nil {
		o.update(w, state)
	}
	paths, _ := data["buffer_paths"].([]any)
	for i, path := range paths[:min(len(paths), len(buffers))] {
		if w.buffers[id] == nil {
			w.buffers[id] = make(map[string]map[string]any)
		}
		key, err := appendJSON(nil, path, 0)
		if err != nil {
			continue
		}
		w.buffers[id][string(key)] = map[string]any{
			"data": base64.StdEncoding.EncodeToString(buffers[i]), "encoding": "base64", "path": path,
		}
	}
}

// metadata is the notebook's metadata.widgets; nil when there were none.
func (w *widgets) metadata() map[string]any {
	models := make(map[string]any)
	for id, state := range w.states {
		if _, isModel := state["_model_name"]; !isModel {
			continue
		}
		model := map[string]any{
			"model_name": state["_model_name"], "model_module": state["_model_module"],
			"model_module_version": state["_model_module_version"], "state": state,
		}
		if len(w.buffers[id]) > 0 {
			list := make([]any, 0, len(w.buffers[id]))
			for _, b := range w.buffers[id] {
				list = append(list, b)
			}
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(pathOf(a), pathOf(b)) })
			model["buffers"] = list
		}
		models[id] = model
	}
	if len(w.states) == 0 {
		return nil
	}
	return map[string]any{widgetType: map[string]any{"state": models, "version_major": 2, "version_minor": 0}}
}

func pathOf(buffer any) string {
	path, _ := appendJSON(nil, buffer.(map[string]any)["path"], 0) // came from JSON
	return string(path)
}
