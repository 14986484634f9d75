package sandbox

import (
	"strings"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// textOverhead is what a kept piece of text costs beside its bytes.
const textOverhead = 32

// fold gathers the events of a run into an Execution, the way a notebook shows them.
type fold struct {
	execution  *Execution
	maxOutput  int64
	textBytes  int64
	shownBytes int64
	clearNext  bool // clear_output(wait=True) came
	libraries  *libraries

	displaysValues bool    // the kernel has no other word for the value of an expression, see displaysValues
	held           *Result // by such a kernel, and maybe the last
}

func newFold(maxOutput int64, libraries *libraries) *fold {
	return &fold{maxOutput: maxOutput, libraries: libraries, execution: &Execution{
		Results: []*Result{}, Logs: Logs{Stdout: []string{}, Stderr: []string{}},
	}}
}

// add folds one event and returns what a reader sees of it; nothing for what only the protocol needs.
func (f *fold) add(event *kernel.Event) []Output {
	out := f.take(event)
	if !f.displaysValues || len(out) == 0 {
		return out
	}
	before := f.release(false)
	if r, ok := out[len(out)-1].(*Result); ok && !r.IsUpdate {
		f.held, out = r, out[:len(out)-1]
	}
	return append(before, out...)
}

// release gives the result that was held back; as the value of the last expression if the run has ended well.
func (f *fold) release(last bool) []Output {
	if f.held == nil {
		return nil
	}
	r := f.held
	f.held = nil
	r.IsMainResult = r.IsMainResult || last && r.Text != ""
	return []Output{r}
}

func (f *fold) take(event *kernel.Event) []Output {
	switch c := event.Content.(type) {
	case *messaging.Stream:
		if c.Text == "" {
			return nil
		}
		m := &OutputMessage{Text: c.Text, Time: event.Time, Stderr: c.Name == messaging.Stderr}
		return f.show(m, func() { f.addText(m) })
	case *messaging.DisplayData:
		r := f.result(c.Data, c.Metadata)
		r.DisplayID = c.Transient.DisplayID
		return f.show(r, func() { f.addResult(r) })
	case *messaging.ExecuteResult:
		r := f.result(c.Data, c.Metadata)
		r.DisplayID, r.IsMainResult = c.Transient.DisplayID, true
		return f.show(r, func() { f.addResult(r) })
	case *messaging.UpdateDisplayData:
		r := f.result(c.Data, c.Metadata)
		r.DisplayID, r.IsUpdate = c.Transient.DisplayID, true
		f.refresh(r)
		return []Output{r}
	case *messaging.ErrorOutput:
		if f.execution.Error != nil {
			return nil
		}
		e := &ExecutionError{Name: c.EName, Value: c.EValue, Traceback: strings.Join(c.Traceback, "\n")}
		return f.show(e, func() { f.execution.Error = e })
	case *messaging.ClearOutput:
		if c.Wait {
			f.clearNext = true
			return nil
		}
		f.clear()
		return []Output{&Cleared{}}
	case *messaging.ExecuteInput:
		f.execution.ExecutionCount = c.ExecutionCount
		return []Output{&Started{ExecutionCount: c.ExecutionCount}}
	case *kernel.Truncated:
		f.execution.Truncated += c.Bytes
		f.execution.Incomplete = f.execution.Incomplete || c.IdleLost
		return []Output{&Cut{Messages: c.Messages, Bytes: c.Bytes, Incomplete: c.IdleLost}}
	}
	return nil
}

func (f *fold) result(data, metadata messaging.MIMEBundle) *Result {
	r := NewResult(data, metadata)
	r.library = f.libraries.note(r.HTML)
	return r
}

// show adds an output, after the clearing that waited for it.
func (f *fold) show(o Output, add func()) []Output {
	out := make([]Output, 0, 2)
	if f.clearNext {
		f.clear()
		out = append(out, &Cleared{})
	}
	add()
	return append(out, o)
}

func (f *fold) clear() {
	f.execution.Results = []*Result{}
	f.execution.Logs = Logs{Stdout: []string{}, Stderr: []string{}}
	f.textBytes, f.shownBytes, f.clearNext = 0, 0, false
}

func (f *fold) addText(m *OutputMessage) {
	cost := int64(len(m.Text)) + textOverhead
	if f.textBytes+cost > f.maxOutput {
		f.execution.Truncated += int64(len(m.Text))
		return
	}
	f.textBytes += cost
	if m.Stderr {
		f.execution.Logs.Stderr = append(f.execution.Logs.Stderr, m.Text)
	} else {
		f.execution.Logs.Stdout = append(f.execution.Logs.Stdout, m.Text)
	}
}

// addResult keeps a result if the budget allows; earlier ones with its display id show the same from now on.
func (f *fold) addResult(r *Result) {
	f.refresh(r)
	if f.shownBytes+r.size() > f.maxOutput {
		f.execution.Truncated += r.size()
		return
	}
	f.shownBytes += r.size()
	f.execution.Results = append(f.execution.Results, r)
}

// refresh replaces what the results with r's display id show.
func (f *fold) refresh(r *Result) {
	if r.DisplayID == "" {
		return
	}
	for i, old := range f.execution.Results {
		if old.DisplayID != r.DisplayID {
			continue
		}
		growth := r.size() - old.size()
		if f.shownBytes+growth > f.maxOutput {
			f.execution.Truncated += r.size()
			continue
		}
		f.shownBytes += growth
		shown := *r
		shown.IsMainResult, shown.IsUpdate = old.IsMainResult, old.IsUpdate
		f.execution.Results[i] = &shown
	}
}

// reply folds the kernel's reply: what the run ended with, and pages of help. It returns what a reader sees.
func (f *fold) reply(reply *messaging.ExecuteReply) []Output {
	out := f.release(reply.Status.OK())
	if reply.ExecutionCount > 0 {
		f.execution.ExecutionCount = reply.ExecutionCount
	}
	for _, p := range reply.Payload {
		if p.Source == "page" && len(p.Data) > 0 {
			r := NewResult(p.Data, nil)
			r.IsPage = true
			f.addResult(r)
			out = append(out, r)
		}
	}
	if f.execution.Error != nil || reply.Status.OK() {
		return out
	}
	f.execution.Error = &ExecutionError{
		Name: reply.EName, Value: reply.EValue, Traceback: strings.Join(reply.Traceback, "\n"),
	}
	if reply.Status == messaging.StatusAborted {
		f.execution.Error = &ExecutionError{Name: "ExecutionAborted", Value: "the kernel did not run the code because an earlier run failed"}
	}
	return append(out, f.execution.Error)
}
