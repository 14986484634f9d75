package main

import (
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// jsonSink writes one JSON object a line. Each has a "type": started, stdout, stderr, result, error, clear, cut, and as
// the last one end.
type jsonSink struct {
	encoder *json.Encoder
	results *resultFolder
	cut     int64
}

func newJSONSink(w io.Writer, results *resultFolder) *jsonSink {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return &jsonSink{encoder: encoder, results: results}
}

type (
	startedEvent struct {
		Type           string `json:"type"`
		ExecutionCount int    `json:"execution_count"`
	}
	textEvent struct {
		Type      string    `json:"type"`
		Text      string    `json:"text"`
		Timestamp time.Time `json:"timestamp"`
	}
	resultEvent struct {
		Type string `json:"type"`
		*sandbox.Result
		Files []string `json:"files,omitempty"` // that were saved
	}
	errorEvent struct {
		Type string `json:"type"`
		*sandbox.ExecutionError
	}
	clearEvent struct {
		Type string `json:"type"`
	}
	cutEvent struct {
		Type     string `json:"type"`
		Messages int    `json:"messages"`
		Bytes    int64  `json:"bytes"`
	}
	endEvent struct {
		Type           string                `json:"type"`
		ExitCode       int                   `json:"exit_code"`
		Message        string                `json:"message,omitempty"` // what kept the code from running to its end
		ExecutionCount int                   `json:"execution_count"`
		CutBytes       int64                 `json:"cut_bytes"` // of output that was left out
		WallSeconds    float64               `json:"wall_seconds"`
		CPUSeconds     float64               `json:"cpu_seconds"`
		PeakMemory     int64                 `json:"peak_memory_bytes"`
		Files          []backends.FileChange `json:"files"` // of the workspace
	}
)

func (j *jsonSink) show(o sandbox.Output) error {
	switch o := o.(type) {
	case *sandbox.Started:
		return j.encoder.Encode(startedEvent{"started", o.ExecutionCount})
	case *sandbox.OutputMessage:
		kind := "stdout"
		if o.Stderr {
			kind = "stderr"
		}
		return j.encoder.Encode(textEvent{kind, o.Text, o.Time})
	case *sandbox.Result:
		files, err := j.results.save(o)
		return errors.Join(err, j.encoder.Encode(resultEvent{"result", o, files}))
	case *sandbox.ExecutionError:
		return j.encoder.Encode(errorEvent{"error", o})
	case *sandbox.Cleared:
		return j.encoder.Encode(clearEvent{"clear"})
	case *sandbox.Cut:
		j.cut += o.Bytes
		return j.encoder.Encode(cutEvent{"cut", o.Messages, o.Bytes})
	}
	return nil
}

func (j *jsonSink) end(e *sandbox.Execution, code int, err error) error {
	event := endEvent{
		Type: "end", ExitCode: code, ExecutionCount: e.ExecutionCount, CutBytes: j.cut,
		WallSeconds: e.Usage.Wall.Seconds(), CPUSeconds: e.Usage.CPU.Seconds(), PeakMemory: e.Usage.PeakMemory,
		Files: e.Usage.Files,
	}
	if event.Files == nil {
		event.Files = []backends.FileChange{}
	}
	var quiet *exitError
	if err != nil && !errors.As(err, &quiet) {
		event.Message = err.Error()
	}
	return j.encoder.Encode(event)
}
