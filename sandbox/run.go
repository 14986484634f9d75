package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Run is a run of code under way. The caller reads it with Next until io.EOF, or calls Wait or Close; the
// context's next run waits for that. One goroutine at a time may use it.
type Run struct {
	ctx       context.Context // of the run
	context   *Context
	execution *kernel.Execution
	opts      RunOptions
	ladder    *ladder
	meter     backends.Meter
	fold      *fold
	record    *journalRun
	calm      func() // says that the run is over
	pending   []Output
	restarts  int    // of the context before the run
	goroutine uint64 // that runs the callbacks; 0 when it may differ from call to call
	finished  bool
	err       error // how the run ended; io.EOF as runs do
}

// RunCode runs code and waits for its end. What the code raised is in Execution.Error. The error says what kept
// the code from running to its end: a *TimeoutError, the cause of ctx when it was cancelled (the code is
// interrupted then), kernel.ErrDead, with a *LimitError if a limit ended it, ErrPaused, ErrKilled. The Execution is never
// nil and holds all output until then.
//
// Timeout counts from when the kernel begins with the run. What comes before is bounded by ctx alone: the runs that are in front,
// and whatever else holds the kernel up, such as a callback that an earlier run left with the event loop, which no interrupt
// reaches. A run that is given up then ends with kernel.ErrInterruptTimeout as well; the next ones fail with kernel.ErrStuck until
// the kernel comes to the run and is rid of it, or is restarted.
func (s *Sandbox) RunCode(ctx context.Context, code string, opts *RunOptions) (*Execution, error) {
	run, err := s.StartCode(ctx, code, opts)
	if err != nil {
		return newFold(0, new(libraries)).execution, err
	}
	run.goroutine = goroutineID()
	defer func() { _ = run.Close() }()          // for a callback that panics: the context must not stay taken
	return run.Wait(context.WithoutCancel(ctx)) // the run ends by itself when ctx does
}

// StartCode starts code and returns without waiting for it, except for its turn: runs of a context follow one another.
// ctx bounds that wait, and then the run.
func (s *Sandbox) StartCode(ctx context.Context, code string, opts *RunOptions) (*Run, error) {
	o, err := opts.check(s)
	if err == nil {
		err = checkCode(code)
	}
	if err != nil {
		return nil, fmt.Errorf("sandbox: run: %w", err)
	}
	c := o.Context
	if c == nil {
		if c, err = s.defaultContext(ctx, o.Language); err != nil {
			return nil, fmt.Errorf("sandbox: run: %w", err)
		}
	}
	run, err := c.start(ctx, code, o)
	if err != nil {
		return nil, fmt.Errorf("sandbox: run: %w", s.reason(err))
	}
	return run, nil
}

// start sends code when its turn has come.
func (c *Context) start(ctx context.Context, code string, opts RunOptions) (*Run, error) {
	if err := c.sandbox.awake(); err != nil { // before the turn: a run under way has it until Resume
		return nil, err
	}
	if err := c.takeTurn(ctx); err != nil {
		return nil, err
	}
	k, err := c.kernelOf(ctx, &opts)
	if err == nil {
		err = c.sandbox.awake()
	}
	if err == nil && len(opts.Args) > 0 && !c.isPython() {
		err = fmt.Errorf("%w: Args with kernel %q", backends.ErrUnsupported, c.kernelName)
	}
	if err == nil {
		err = c.setRunEnv(ctx, opts.Env)
	}
	if err != nil {
		c.passTurn()
		return nil, err
	}
	refused, err := c.prepareUndo(ctx, &opts)
	if err != nil {
		c.undoRunEnv(opts.Env)
		c.passTurn()
		return nil, err
	}
	run := &Run{ctx: ctx, context: c, opts: opts, fold: newFold(opts.MaxOutput, &c.journal.libraries), restarts: c.restartCount()}
	run.fold.execution.UndoRefused, run.fold.displaysValues = refused, dialectOf(k).displaysValues
	run.ladder = newLadder(c, opts.Timeout)
	if meterer, ok := k.Process().(backends.RunMeterer); ok {
		run.meter = meterer.MeterNext()
	} else if run.meter, err = k.Process().Meter(ctx); err != nil {
		c.sandbox.engine.config.Logger.Debug("meter run", "error", err) // a dead kernel is noticed below
	}
	// Not StopOnError: it is about requests queued behind this one, which are ours and not on the wire. ipykernel would
	// also abort a request that comes within a moment after an error, and we are that fast.
	request := &messaging.ExecuteRequest{
		Code: code, Silent: opts.Silent, StoreHistory: !opts.Silent, AllowStdin: opts.OnInput != nil,
	}
	run.record = c.journal.begin(&RunBegan{Code: code, Silent: opts.Silent, Tag: opts.Tag})
	run.calm = c.sandbox.engine.spares.run()
	how := &kernel.ExecuteOptions{
		Metadata: runMetadata(opts.Env, opts.Args), OnStarted: run.ladder.start, Protocol: opts.OnEvent != nil, Unread: opts.message != nil,
		OnMessage: func(m *messaging.Message) { c.journal.add(run.record, m) }, OnLate: c.journal.lateOf(run.Number()),
	}
	if opts.message != nil {
		run.execution, err = k.Conn().ExecuteMessage(ctx, opts.message, how)
	} else {
		run.execution, err = k.Conn().Execute(ctx, request, how)
	}
	if err != nil {
		run.calm()
		c.journal.end(run.record, &RunOver{Err: err})
		run.stopMeter(ctx)
		c.undoRunEnv(opts.Env)
		c.passTurn()
		return nil, err
	}
	run.ladder.watch(run.execution)
	return run, nil
}

// kernelOf is the kernel to run on. Those who listen to it have heard of its death.
func (c *Context) kernelOf(ctx context.Context, opts *RunOptions) (*kernel.Kernel, error) {
	if opts.message == nil {
		return c.liveKernel(ctx)
	}
	return c.current(), c.revive(ctx)
}

// Number is the run's number in the context's Journal.
func (r *Run) Number() int64 { return r.record.number }

// Next returns what the run does next and calls the callback for it; ctx bounds this wait only. After the last it
// returns io.EOF when the run ended as runs do, however the code fared, and else RunCode's error.
func (r *Run) Next(ctx context.Context) (Output, error) {
	for len(r.pending) == 0 {
		if r.finished {
			return nil, r.err
		}
		event, err := r.execution.Next(ctx)
		switch {
		case err == nil:
			r.pass(event)
			if request, ok := event.Content.(*messaging.InputRequest); ok {
				r.answer(ctx, request)
			} else {
				r.pending = r.fold.add(event)
			}
		case err == context.Cause(ctx): //nolint:errorlint // identity: the run's own errors are wrapped
			return nil, err
		default:
			r.finish(err)
		}
	}
	out := r.pending[0]
	r.pending = r.pending[1:]
	r.call(out)
	return out, nil
}

// pass runs the callback for events.
func (r *Run) pass(event *kernel.Event) {
	if r.opts.OnEvent != nil {
		defer r.context.enterCallback(r.goroutine)()
		r.opts.OnEvent(event)
	}
}

// call runs the callback of an output.
func (r *Run) call(out Output) {
	defer r.context.enterCallback(r.goroutine)()
	switch o := out.(type) {
	case *OutputMessage:
		if f := r.opts.OnStdout; f != nil && !o.Stderr {
			f(*o)
		}
		if f := r.opts.OnStderr; f != nil && o.Stderr {
			f(*o)
		}
	case *Result:
		if r.opts.OnResult != nil {
			r.opts.OnResult(o)
		}
	case *ExecutionError:
		if r.opts.OnError != nil {
			r.opts.OnError(o)
		}
	case *Cleared:
		if r.opts.OnClear != nil {
			r.opts.OnClear()
		}
	}
}

// finish settles how the run ended and passes the turn on.
func (r *Run) finish(err error) {
	r.finished = true
	r.calm()
	timedOut := r.ladder.stop() // waits for a restart under way
	usage := Usage{Wall: r.ladder.elapsed(), Usage: r.stopMeter(context.Background())}
	reply, _ := r.execution.Wait(context.Background())
	if timedOut != nil && !timedOut.VariablesLost && timedOut.Step != StepRollback && reply != nil && reply.Status.OK() {
		timedOut.Step = StepNone
	}
	if reply != nil {
		r.pending = r.fold.reply(reply)
	} else {
		r.pending = r.fold.release(false)
	}
	r.fold.execution.Usage = usage
	switch {
	case timedOut != nil:
		err = fmt.Errorf("sandbox: run: %w", timedOut)
	case errors.Is(err, io.EOF):
		if reply != nil && !reply.Status.OK() && r.context.restartCount() != r.restarts { // which begins with an interrupt
			err = fmt.Errorf("sandbox: run: %w: %w", ErrRestarted, kernel.ErrDead)
		}
	default:
		r.context.noteDeath(err)
		if errors.Is(err, kernel.ErrDead) && r.context.sandbox.awake() == nil {
			err = r.context.undoCrash(err)
		}
		err = fmt.Errorf("sandbox: run: %w", r.context.ended(r.restarts, r.context.sandbox.reason(err)))
	}
	r.err = err
	r.context.undoRunEnv(r.opts.Env)
	r.context.journal.end(r.record, &RunOver{
		Err: ended(err), Usage: usage, ExecutionCount: r.fold.execution.ExecutionCount, Raised: r.fold.execution.Error,
	})
	r.context.passTurn()
}

// ended is how a run ended as RunCode says it: its end alone is no error.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (r *Run) stopMeter(ctx context.Context) backends.Usage {
	if r.meter == nil {
		return backends.Usage{}
	}
	usage, err := r.meter.Stop(ctx)
	if err != nil {
		r.context.sandbox.engine.config.Logger.Debug("meter run", "error", err)
	}
	return usage
}

// Wait reads to the end and returns everything, as RunCode does; ctx bounds this wait only.
func (r *Run) Wait(ctx context.Context) (*Execution, error) {
	for {
		if _, err := r.Next(ctx); err != nil {
			if r.finished {
				err = ended(err)
			}
			return r.fold.execution, err
		}
	}
}

// Interrupt stops the code as Ctrl-C does: it raises KeyboardInterrupt. It returns at once.
func (r *Run) Interrupt() { r.execution.Interrupt() }

// Close interrupts the run if it is under way, drops its output and waits for its end.
func (r *Run) Close() error {
	if !r.finished {
		_ = r.execution.Close()
		r.finish(io.EOF)
	}
	r.pending = nil
	return nil
}
