package notebook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// The tags that Execute heeds, as nbclient does.
const (
	TagSkip   = "skip-execution"   // the cell is not run and keeps its outputs
	TagRaises = "raises-exception" // the cell may raise
)

// DefaultMaxOutput is ExecuteOptions.MaxOutput when that is 0.
const DefaultMaxOutput = 64 << 20

// ExecuteOptions of Execute. Nil and zero fields are the defaults.
type ExecuteOptions struct {
	Timeout         time.Duration // of each cell; none
	AllowErrors     bool          // go on after a cell that raised
	AllowErrorNames []string      // go on after these exceptions
	// CoalesceStreams makes one output of all that a cell printed to a stream, with backspaces and carriage returns
	// applied. Otherwise only pieces that follow one another are joined.
	CoalesceStreams bool
	MaxOutput       int64 // bytes of a cell's outputs, and of all widgets' state; 64 MiB. What goes beyond is left out and said

	// Progress records in the notebook's and the cells' metadata how far the run is, and marks a failure with cells of
	// its own, as papermill does.
	Progress bool
	// OnCell hears of each cell that is run: StatusRunning, then how it ended.
	OnCell func(index int, c *Cell, status Status)
	// Save is called before each cell that is run, which is marked as running by then if Progress is set, and at the end. One that
	// takes more than 100 ms is not called again before ten times as long has passed, 10 s at most; then it is called while
	// the cell runs. Its error ends Execute.
	Save func(*Notebook) error
}

// Status is how far a cell is, in papermill's words.
type Status string

// The states of a cell.
const (
	StatusPending   Status = "pending"
	StatusRunning   Status = "running"
	StatusCompleted Status = "completed"
	StatusFailed    Status = "failed"
)

// Execute runs the notebook's code cells in c, in order, and stores in them what they showed, by nbclient's rules. Cells that
// are blank or tagged TagSkip are left as they are; those to be run are emptied first.
//
// It ends at the first cell that raises, unless that is allowed, that runs out of time or loses its kernel: the error is
// a *CellError then, and the notebook holds everything until there. A cancelled ctx interrupts the cell under way; the error
// wraps its cause.
func Execute(ctx context.Context, nb *Notebook, c *sandbox.Context, opts *ExecuteOptions) error {
	e := &executor{nb: nb, context: c}
	if opts != nil {
		e.opts = *opts
	}
	if e.opts.Timeout == 0 {
		e.opts.Timeout = sandbox.NoTimeout
	}
	if e.opts.MaxOutput == 0 {
		e.opts.MaxOutput = DefaultMaxOutput
	}
	e.recorder = newRecorder(e.opts.MaxOutput)
	if err := e.execute(ctx); err != nil {
		return fmt.Errorf("notebook: %w", err)
	}
	return nil
}

// executor runs one notebook.
type executor struct {
	nb       *Notebook
	context  *sandbox.Context
	opts     ExecuteOptions
	recorder *recorder
	nextSave time.Time // not before
	behind   bool      // a save was left out
}

func (e *executor) execute(ctx context.Context) error {
	if err := e.prepare(); err != nil {
		return err
	}
	var failed error
	for i := 0; i < len(e.nb.Cells) && failed == nil; i++ {
		failed = e.step(ctx, i, e.nb.Cells[i])
	}
	if state := e.recorder.widgets.metadata(); state != nil {
		e.nb.Metadata["widgets"] = state
	}
	if e.opts.Progress {
		e.nb.progressEnd(failed)
	}
	giveLibraries(e.nb, e.context)
	e.nextSave = time.Time{}
	return errors.Join(failed, e.save())
}

// prepare empties the cells that will be run.
func (e *executor) prepare() error {
	if e.nb.Metadata == nil {
		e.nb.Metadata = map[string]any{}
	}
	info, err := languageInfo(e.context.Info())
	if err != nil {
		return err
	}
	e.nb.Metadata["language_info"] = info
	if e.opts.Progress {
		e.nb.progressStart()
	}
	for _, c := range e.nb.Cells {
		if c.Runs() {
			c.Outputs, c.ExecutionCount = []*Output{}, nil
			delete(c.Metadata, "execution")
		}
	}
	return nil
}

// languageInfo is what the kernel says of its language, as JSON values.
func languageInfo(info *messaging.KernelInfoReply) (any, error) {
	raw, err := json.Marshal(info.LanguageInfo)
	if err != nil {
		return nil, err
	}
	return parseJSON(string(raw))
}

// Runs reports whether Execute runs the cell: code that is not blank and not tagged TagSkip.
func (c *Cell) Runs() bool {
	return c.Type == Code && strings.TrimSpace(c.Source) != "" && !c.HasTag(TagSkip)
}

// A save that takes longer than slowSave is done less often than before every cell, but every longestLag at least.
const (
	slowSave   = 100 * time.Millisecond
	longestLag = 10 * time.Second
)

func (e *executor) save() error {
	start := time.Now()
	if e.opts.Save == nil {
		return nil
	}
	if e.behind = start.Before(e.nextSave); e.behind {
		return nil
	}
	e.recorder.flush()
	giveLibraries(e.nb, e.context)
	err := e.opts.Save(e.nb)
	if took := time.Since(start); took > slowSave {
		e.nextSave = time.Now().Add(min(10*took, longestLag))
	}
	return err
}

func (e *executor) tell(index int, c *Cell, status Status) {
	if e.opts.Progress {
		c.progress(status)
	}
	if e.opts.OnCell != nil && c.Runs() {
		e.opts.OnCell(index, c, status)
	}
}

// step takes one cell, whatever it is.
func (e *executor) step(ctx context.Context, index int, c *Cell) error {
	if !c.Runs() {
		e.tell(index, c, StatusRunning)
		e.tell(index, c, StatusCompleted)
		return nil
	}
	e.recorder.begin(c)
	e.tell(index, c, StatusRunning)
	if err := e.save(); err != nil { // with what the cell before showed
		return err
	}
	err := e.run(ctx, c)
	status := StatusCompleted
	if err != nil {
		if !endedItself(err) {
			status = StatusFailed
		}
		err = &CellError{Index: index, Cell: c, Err: err}
	}
	e.tell(index, c, status)
	return err // it is saved before the next cell, or at the end
}

// run runs a code cell.
func (e *executor) run(ctx context.Context, c *Cell) error {
	// The recorder keeps the outputs; the run's own folding of them would keep everything twice.
	run, err := e.follow(ctx, c.Source, &sandbox.RunOptions{Timeout: e.opts.Timeout, MaxOutput: 1, OnEvent: e.recorder.add})
	reply := e.recorder.end()
	if e.opts.CoalesceStreams {
		c.Outputs = coalesce(c.Outputs)
	}
	syncErr := e.recorder.widgets.sync(func(id string, data json.RawMessage) error { return e.context.SendComm(ctx, id, data) })
	if err = cmp.Or(err, syncErr); err != nil {
		return err
	}
	raised := run.Error // by an error that was shown, if not by the reply
	if reply != nil {
		raised = replyError(reply, raised)
	}
	if raised == nil || e.opts.AllowErrors || c.HasTag(TagRaises) || slices.Contains(e.opts.AllowErrorNames, raised.Name) {
		return nil
	}
	return raised
}

// follow runs code to its end. A file that is behind is saved meanwhile, when that is due.
func (e *executor) follow(ctx context.Context, code string, opts *sandbox.RunOptions) (*sandbox.Execution, error) {
	run, err := e.context.StartCode(ctx, code, opts)
	if err != nil {
		return new(sandbox.Execution), err
	}
	defer func() { _ = run.Close() }()
	whole := context.WithoutCancel(ctx) // the run ends by itself when ctx does
	for e.behind {
		part, cancel := context.WithDeadline(whole, e.nextSave)
		execution, err := run.Wait(part)
		due := part.Err() != nil && errors.Is(err, context.DeadlineExceeded)
		cancel()
		if !due {
			return execution, err
		}
		if err := e.save(); err != nil {
			return execution, err
		}
	}
	return run.Wait(whole)
}

// replyError is what the kernel says the code raised; an error that was merely shown is none.
func replyError(reply *messaging.ExecuteReply, shown *sandbox.ExecutionError) *sandbox.ExecutionError {
	switch {
	case slices.ContainsFunc(reply.Payload, func(p messaging.Payload) bool { return p.Source == "ask_exit" }):
		return &sandbox.ExecutionError{Name: "SystemExit", Value: "0"} // our kernels say no more of an end with success
	case reply.Status != messaging.StatusError:
		return nil
	case reply.EName == "NoneType" && shown != nil: // IPython 9 forgets what a formatter raised
		return shown
	}
	return &sandbox.ExecutionError{Name: reply.EName, Value: reply.EValue, Traceback: strings.Join(reply.Traceback, "\n")}
}
