package bridge

import (
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// event is one thing that the server tells. Which members it has depends on its type; examples/bridge-client/protocol.ts says so.
type event struct {
	Type   string     `json:"type"`
	Number int64      `json:"number,omitempty"` // in the journal; 0 of what is not in it
	Run    int64      `json:"run,omitempty"`
	Time   *time.Time `json:"time,omitempty"`

	Code           *string `json:"code,omitempty"`            // started
	Cell           string  `json:"cell,omitempty"`            // started: as the request had it
	Silent         bool    `json:"silent,omitempty"`          // started
	ExecutionCount int     `json:"execution_count,omitempty"` // count, done

	Text     *string         `json:"text,omitempty"`     // stdout, stderr
	Result   *shown          `json:"result,omitempty"`   // result, update
	Pages    []*shown        `json:"pages,omitempty"`    // pages of help
	Wait     bool            `json:"wait,omitempty"`     // clear: not before the next output
	Prompt   *string         `json:"prompt,omitempty"`   // input
	Password bool            `json:"password,omitempty"` // input
	Value    *string         `json:"value,omitempty"`    // answered
	Error    *executionError `json:"error,omitempty"`    // error, done: what the code raised
	Bytes    int64           `json:"bytes,omitempty"`    // cut: a message of this size was too large to be kept
	Failure  *problem        `json:"failure,omitempty"`  // done: what kept the code from running to its end
	Usage    *usage          `json:"usage,omitempty"`    // done
	Undone   bool            `json:"undone,omitempty"`   // restarted: the variables are those of before
	Entries  int64           `json:"entries,omitempty"`  // dropped: so many are no longer there

	*hello        // hello
	Reason string `json:"reason,omitempty"` // gone: "killed" or "removed"
}

// hello is what a viewer needs to know first.
type hello struct {
	Protocol string         `json:"protocol"`
	Sandbox  string         `json:"sandbox"`
	Journal  string         `json:"journal"` // to give back with the number that was seen last
	Context  *contextInfo   `json:"context"` // the one that is shown
	Contexts []*contextInfo `json:"contexts"`
}

type contextInfo struct {
	ID       string `json:"id"`
	Language string `json:"language"`
	Kernel   string `json:"kernel"`
	Dir      string `json:"dir,omitempty"`
	State    string `json:"state"` // "starting", "idle", "busy", "stuck", "dead"
	Default  bool   `json:"default,omitempty"`
}

// shown is a result with what a viewer can't know.
type shown struct {
	*sandbox.Result
	// Library names the JavaScript that HTML relies on and does not have: ask for it at
	// /sandboxes/{id}/contexts/{context}/libraries/{name}, unless an earlier result came with it.
	Library string `json:"library,omitempty"`
}

type executionError struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Traceback string `json:"traceback,omitempty"` // lines, with ANSI colours
}

// problem is an error of ours, by a code word that programs may ask for.
type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// usage is what a run used.
type usage struct {
	WallMS       float64               `json:"wall_ms"`
	CPUMS        float64               `json:"cpu_ms"`
	PeakMemory   int64                 `json:"peak_memory,omitempty"` // bytes
	Files        []backends.FileChange `json:"files,omitempty"`
	FilesPartial bool                  `json:"files_partial,omitempty"` // Files may miss some
}

// eventOf is an entry of the journal as an event; nil for what viewers have no use for, such as statuses. It depends on the entry
// alone, so that events are the same for all viewers, however often and from where on they read.
func eventOf(entry *sandbox.JournalEntry) *event {
	e := &event{Number: entry.Number, Run: entry.Run, Time: &entry.Time}
	switch c := entry.Content.(type) {
	case *sandbox.RunBegan:
		e.Type, e.Code, e.Cell, e.Silent = "started", &c.Code, c.Tag, c.Silent
	case *messaging.ExecuteInput:
		e.Type, e.ExecutionCount = "count", c.ExecutionCount
	case *messaging.Stream:
		e.Type, e.Text = "stdout", &c.Text
		if c.Name == messaging.Stderr {
			e.Type = "stderr"
		}
	case *messaging.DisplayData:
		e.Type, e.Result = "result", show(c.Data, c.Metadata, c.Transient)
	case *messaging.ExecuteResult:
		e.Type, e.Result = "result", show(c.Data, c.Metadata, c.Transient)
		e.Result.IsMainResult = true
	case *messaging.UpdateDisplayData:
		e.Type, e.Result = "update", show(c.Data, c.Metadata, c.Transient)
		e.Result.IsUpdate = true
	case *messaging.ClearOutput:
		e.Type, e.Wait = "clear", c.Wait
	case *messaging.InputRequest:
		e.Type, e.Prompt, e.Password = "input", &c.Prompt, c.Password
	case *sandbox.InputAnswered:
		e.Type, e.Value = "answered", &c.Value
	case *messaging.ErrorOutput:
		e.Type = "error"
		e.Error = raised(&sandbox.ExecutionError{Name: c.EName, Value: c.EValue, Traceback: joinLines(c.Traceback)})
	case *messaging.ExecuteReply:
		e.Type, e.Pages = "pages", pagesOf(c)
		if e.Pages == nil {
			return nil
		}
	case *messaging.LeftOut:
		e.Type, e.Bytes = "cut", c.Bytes
	case *sandbox.RunOver:
		e.Type, e.ExecutionCount, e.Usage = "done", c.ExecutionCount, usageOf(&c.Usage)
		if c.Raised != nil { // "error" had its traceback
			e.Error = &executionError{Name: c.Raised.Name, Value: c.Raised.Value}
		}
		if c.Err != nil {
			e.Failure = problemOf(c.Err)
		}
	case *sandbox.Restarted:
		e.Type, e.Undone = "restarted", c.Why == sandbox.OnRollback
	case *sandbox.Dropped:
		e.Type, e.Entries = "dropped", c.Entries
	default:
		return nil
	}
	return e
}

func show(data, metadata messaging.MIMEBundle, transient messaging.Transient) *shown {
	r := &shown{Result: sandbox.NewResult(data, metadata)}
	r.DisplayID = transient.DisplayID
	if name, library := sandbox.FigureLibrary(r.HTML); library == "" {
		r.Library = name
	}
	return r
}

// pagesOf are the pages of help that came with a reply.
func pagesOf(reply *messaging.ExecuteReply) []*shown {
	var pages []*shown
	for _, p := range reply.Payload {
		if p.Source == "page" && len(p.Data) > 0 {
			page := show(p.Data, nil, messaging.Transient{})
			page.IsPage = true
			pages = append(pages, page)
		}
	}
	return pages
}

func raised(e *sandbox.ExecutionError) *executionError {
	return &executionError{Name: e.Name, Value: e.Value, Traceback: e.Traceback}
}

func usageOf(u *sandbox.Usage) *usage {
	return &usage{
		WallMS: milliseconds(u.Wall), CPUMS: milliseconds(u.CPU), PeakMemory: u.PeakMemory, Files: u.Files, FilesPartial: u.FilesPartial,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
