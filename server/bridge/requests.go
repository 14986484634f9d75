package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// Bounds of what a client sends.
const (
	maxRequest = 4 << 20 // bytes of one message
	maxID      = 64      // bytes of a request's id
	maxCell    = 128     // bytes of a run's cell
	maxArgs    = 1000
)

// request is what a client asks for. Which members it may have depends on its type; examples/bridge-client/protocol.ts says so.
type request struct {
	Type    string `json:"type"`
	ID      string `json:"id"`      // of the client's choice, repeated by the answer
	Context string `json:"context"` // id; the one that is shown

	Code      string            `json:"code"`       // run, complete, inspect
	Cell      string            `json:"cell"`       // run: for the client's own use, repeated by "started"
	TimeoutMS float64           `json:"timeout_ms"` // run; 0 is the daemon's
	Env       map[string]string `json:"env"`        // run: for this run only
	Args      []string          `json:"args"`       // run: sys.argv
	Silent    bool              `json:"silent"`     // run: not in the history

	Waiting bool   `json:"waiting"` // interrupt: end the runs that wait, too
	Run     int64  `json:"run"`     // input: the one that asked; any
	Value   string `json:"value"`   // input
	End     bool   `json:"end"`     // input: there is no more, EOFError in the code
	Cursor  int    `json:"cursor"`  // complete, inspect: in unicode code points
	Detail  int    `json:"detail"`  // inspect: 1 gives the source too

	Language string `json:"language"` // create_context
	Dir      string `json:"dir"`      // create_context
}

// requestError is a mistake in a request.
type requestError struct{ problem string }

func (e *requestError) Error() string { return e.problem }

func badRequest(format string, args ...any) error { return &requestError{fmt.Sprintf(format, args...)} }

// members lists what each type of request may have besides its type, id and context.
var members = map[string]string{
	"run":            "code cell timeout_ms env args silent",
	"interrupt":      "waiting",
	"input":          "run value end",
	"complete":       "code cursor",
	"inspect":        "code cursor detail",
	"restart":        "",
	"contexts":       "",
	"create_context": "language dir",
	"remove_context": "",
	"ping":           "",
}

// readRequest reads one message of a client. The request is never nil: it has the id if that could be read.
func readRequest(data []byte) (*request, error) {
	r := new(request)
	var said map[string]json.RawMessage
	if err := json.Unmarshal(data, &said); err != nil || said == nil {
		return r, badRequest("it is no JSON object: %v", cause(err, "null"))
	}
	if raw, ok := said["id"]; ok && (json.Unmarshal(raw, &r.ID) != nil || len(r.ID) > maxID) {
		r.ID = ""
		return r, badRequest("id must be a text of at most %d bytes", maxID)
	}
	id := r.ID
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(r); err != nil {
		r.ID = id
		return r, badRequest("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	allowed, known := members[r.Type]
	if !known {
		return r, badRequest("type %q is not known: see the protocol's types", clip(r.Type))
	}
	for name := range said {
		if name != "type" && name != "id" && name != "context" && !hasWord(allowed, name) {
			return r, badRequest("a request of type %s has no member %q", r.Type, clip(name))
		}
	}
	return r, r.check()
}

func (r *request) check() error {
	switch {
	case len(r.Cell) > maxCell:
		return badRequest("cell is %d bytes long: use at most %d", len(r.Cell), maxCell)
	case len(r.Args) > maxArgs:
		return badRequest("args are %d: use at most %d", len(r.Args), maxArgs)
	case r.TimeoutMS < 0 || r.TimeoutMS > maxTimeoutMS:
		return badRequest("timeout_ms is %g: use 1 to %.0f, or 0 for the default", r.TimeoutMS, maxTimeoutMS)
	case r.Cursor < 0:
		return badRequest("cursor is %d: it counts from 0", r.Cursor)
	case r.Detail != 0 && r.Detail != 1:
		return badRequest("detail is %d: use 0 or 1", r.Detail)
	case r.End && r.Value != "":
		return badRequest("only one of value and end can be given")
	}
	return nil
}

// maxTimeoutMS is the longest time-out, a year.
const maxTimeoutMS = 365 * 24 * 3600 * 1000.0

// options are a run's as the request has them.
func (r *request) options() sandbox.RunOptions {
	return sandbox.RunOptions{
		Tag: r.Cell, Env: r.Env, Args: r.Args, Silent: r.Silent,
		Timeout: time.Duration(math.Ceil(r.TimeoutMS * float64(time.Millisecond))),
		// The journal keeps what the run shows, so nothing else need.
		MaxOutput: 1,
	}
}

func hasWord(words, word string) bool {
	for w := range strings.FieldsSeq(words) {
		if w == word {
			return true
		}
	}
	return false
}

// clip is a text of a client as a message may repeat it.
func clip(s string) string {
	if len(s) > maxID {
		return strings.ToValidUTF8(s[:maxID], "") + "..."
	}
	return s
}

func cause(err error, other string) string {
	switch {
	case err == nil:
		return other
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// answer tells what became of a request.
type answer struct {
	Type  string   `json:"type"` // "answer"
	ID    string   `json:"id"`
	Value any      `json:"value,omitempty"`
	Error *problem `json:"error,omitempty"`
}

// The values of answers.
type (
	runAnswer struct {
		Context string `json:"context"`
		Run     int64  `json:"run"`
	}
	interruptAnswer struct {
		Dropped int `json:"dropped"` // runs that waited and will not be run
	}
	completeAnswer struct {
		Matches []match `json:"matches"`
		Start   int     `json:"start"` // what matches replace, in unicode code points
		End     int     `json:"end"`
	}
	match struct {
		Text      string `json:"text"`
		Kind      string `json:"kind,omitempty"` // "function", "module", "instance" ...
		Signature string `json:"signature,omitempty"`
	}
	inspectAnswer struct {
		Found bool   `json:"found"`
		Text  string `json:"text,omitempty"` // with ANSI colours
		HTML  string `json:"html,omitempty"`
	}
	contextsAnswer struct {
		Contexts []*contextInfo `json:"contexts"`
	}
)
