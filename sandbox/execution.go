package sandbox

import (
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Execution is everything one run of code showed, printed and raised.
type Execution struct {
	Results        []*Result       `json:"results"`
	Logs           Logs            `json:"logs"`
	Error          *ExecutionError `json:"error,omitempty"`     // the code raised
	ExecutionCount int             `json:"execution_count"`     // 0 when the code did not run
	Truncated      int64           `json:"truncated,omitempty"` // bytes of output left out
	// Incomplete says that the kernel answered but never said that its output was over, so output may be missing uncounted.
	Incomplete bool  `json:"incomplete,omitempty"`
	Usage      Usage `json:"usage"`
	// UndoRefused says why the run can't be undone in a context of ContextOptions.Undoable; nil when it can, or need not.
	UndoRefused *RefusedError `json:"undo_refused,omitempty"`
}

// Logs is what the code printed, in the pieces it came in.
type Logs struct {
	Stdout []string `json:"stdout"`
	Stderr []string `json:"stderr"`
}

// Usage is what a run used.
type Usage struct {
	Wall time.Duration `json:"wall"` // from the kernel's start of the run to its end
	backends.Usage
}

// Stdout is all that was printed to standard output.
func (e *Execution) Stdout() string { return strings.Join(e.Logs.Stdout, "") }

// Stderr is all that was printed to standard error.
func (e *Execution) Stderr() string { return strings.Join(e.Logs.Stderr, "") }

// Text is the text of the last expression's value; empty when there was none.
func (e *Execution) Text() string {
	for _, r := range e.Results {
		if r.IsMainResult {
			return r.Text
		}
	}
	return ""
}

// Success reports whether the code raised nothing.
func (e *Execution) Success() bool { return e.Error == nil }

// Err is Error as a Go error; nil when the code raised nothing.
func (e *Execution) Err() error {
	if e.Error == nil {
		return nil
	}
	return e.Error
}

// OutputMessage is a piece of text that the code printed.
type OutputMessage struct {
	Text   string    `json:"text"`
	Time   time.Time `json:"timestamp"`
	Stderr bool      `json:"error"` // printed to standard error
}

// Output is one thing a run did, as Run.Next gives it: *OutputMessage, *Result, *ExecutionError, *Started,
// *Cleared or *Cut.
type Output interface{ output() }

// Started says that the kernel took the code.
type Started struct{ ExecutionCount int }

// Cleared says that what was shown so far is to be replaced by what comes.
type Cleared struct{}

// Cut says that output was left out here because it was not read in time.
type Cut struct {
	Messages   int
	Bytes      int64
	Incomplete bool // more may be missing, uncounted; see Execution
}

func (*OutputMessage) output()  {}
func (*Result) output()         {}
func (*ExecutionError) output() {}
func (*Started) output()        {}
func (*Cleared) output()        {}
func (*Cut) output()            {}
