package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// replOptions of the subcommand repl.
type replOptions struct {
	session sessionOptions
	out     string
	images  string
	save    sessionFile
	timeout string
	history string
}

func newREPL(s *streams, c *common) *cobra.Command {
	o := new(replOptions)
	cmd := &cobra.Command{
		Use:   "repl",
		Short: "Talk to a kernel, line by line",
		Long: `Talk to a kernel, line by line.

Tab completes, ?name shows help, the arrow keys bring back earlier lines, an empty line ends a block. Ctrl-C stops
the code that runs, or drops the line. Ctrl-D, exit or quit leaves. Without a terminal, lines are read as they are.

%checkpoint [NAME] keeps the variables as they are now, %rollback [NAME] goes back to them, any number of times.`,
		Example: `  ds-sandbox repl --save session.ipynb --out figures`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.history == "" {
				o.history = defaultHistory()
			}
			return repl(cmd.Context(), s, c, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.timeout, "timeout", "none", "how long one input may run: seconds, or a form like 90s, or none")
	flags.StringVar(&o.out, "out", "", "folder to save in what the code shows, and a report of it; made when absent")
	imagesFlag(flags, &o.images)
	flags.StringVar(&o.save.path, "save", "", "the notebook to save the session as, after every input")
	flags.StringVar(&o.history, "history", "", "file that keeps the lines typed, or none (default in the user's state folder)")
	o.session.flags(flags, c)
	return cmd
}

// interaction is a repl under way.
type interaction struct {
	*replOptions
	s       *streams
	session *session
	input   cellReader
	editor  *editor // nil without a terminal
	sink    *textSink
	count   int // of the last run

	checkpoints *checkpoints

	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the code that runs; nil when none does
}

func repl(ctx context.Context, s *streams, c *common, o *replOptions) (err error) {
	timeout, err := parseTimeout(o.timeout)
	if err != nil {
		return err
	}
	if err := o.session.check(); err != nil {
		return err
	}
	results := &resultFolder{dir: o.out}
	if err := errors.Join(results.check(), o.save.check()); err != nil {
		return err
	}
	pictures, err := newPictures(s, o.images)
	if err != nil {
		return err
	}
	pictures.detect() // while nobody reads the keyboard
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &interaction{replOptions: o, s: s, sink: newTextSink(s, results, pictures)}
	defer watchSignals(s.signals, func(sig os.Signal, _ int) {
		if sig != os.Interrupt || !r.interrupt() {
			cancel(&signalError{sig})
		}
	})()
	defer func() { err = signalCause(ctx, err) }()

	r.session, err = o.session.start(ctx, s, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.session.close()) }()
	if err := results.clear(); err != nil {
		return err
	}
	r.checkpoints = newCheckpoints(r.session.context)
	begun := time.Now()
	defer func() {
		err = errors.Join(err, o.save.save(r.session.context, true), results.report(r.session.context, "Session", begun))
	}()
	if err := r.openInput(ctx); err != nil {
		return err
	}
	for {
		code, err := r.input.cell(ctx, r.count+1)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if leaves(code) {
			return nil
		}
		if strings.TrimSpace(code) == "" {
			continue
		}
		if magic, name, ok := checkpointMagic(code); ok {
			if err := r.checkpointOrRollback(ctx, magic, name); err != nil {
				return err
			}
			continue
		}
		if err := r.run(ctx, code, &sandbox.RunOptions{Context: r.session.context, Timeout: timeout, MaxOutput: keptOutput}); err != nil {
			return err
		}
		if err := o.save.save(r.session.context, false); err != nil {
			if err := r.sink.note("%v", err); err != nil {
				return pipeError(err)
			}
		}
	}
}

// leaves reports whether code is a person's wish to go.
func leaves(code string) bool {
	switch strings.TrimSpace(code) {
	case "exit", "quit", "exit()", "quit()":
		return true
	}
	return false
}

// openInput makes the reader of cells, and says hello to a person.
func (r *interaction) openInput(ctx context.Context) error {
	in, isFile := r.s.in.(*os.File)
	if _, ok := terminalFd(r.s.in); !ok || !isFile {
		r.input = newPlainCells(r.s.in, r.session.context)
		return nil
	}
	kept, err := openHistory(r.history)
	if err != nil {
		if err := r.sink.note("%v; lines are not kept", err); err != nil {
			return err
		}
	}
	shown := r.s.out
	if _, ok := terminalFd(shown); !ok {
		shown = r.s.err
	}
	r.editor = newEditor(in, shown)
	r.editor.history = kept
	cells := &terminalCells{editor: r.editor, context: r.session.context, colour: colours(shown)}
	r.editor.complete = kernelCompleter(r.session.context, cells.above)
	r.input = cells
	info := r.session.context.Info()
	banner, _, _ := strings.Cut(info.Banner, "\n")
	_, err = fmt.Fprintf(shown, "%s\nin a sandbox; Tab completes, ?name helps, Ctrl-D leaves\n", printable(banner))
	return pipeError(err)
}

// interrupt stops the code that runs, if some does.
func (r *interaction) interrupt() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel == nil {
		return false
	}
	r.cancel(errInterrupt)
	return true
}

func (r *interaction) setCancel(cancel context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel = cancel
}

// run runs a cell. Its errors end the repl: what went wrong with the cell alone has been said.
func (r *interaction) run(ctx context.Context, code string, opts *sandbox.RunOptions) error {
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.setCancel(cancel)
	defer r.setCancel(nil)
	if r.editor != nil {
		opts.OnInput = func(ctx context.Context, prompt string, password bool) (string, error) {
			line, err := r.editor.ask(ctx, prompt, password)
			if errors.Is(err, errInterrupt) {
				cancel(errInterrupt)
			}
			return line, err
		}
	}
	r.sink.midLine = false
	execution, err := stream(runCtx, r.session.sandbox, code, opts, &cellSink{r.sink, r.editor != nil, &r.count}, cancel)
	if execution.ExecutionCount > 0 {
		r.count = execution.ExecutionCount
	}
	if r.sink.midLine && r.editor != nil { // the prompt begins a line
		if _, err := io.WriteString(r.s.out, "\n"); err != nil {
			return pipeError(err)
		}
	}
	switch {
	case err == nil || errors.Is(err, errInterrupt):
		return nil
	case errors.Is(err, errPipe) || ctx.Err() != nil || errors.Is(err, sandbox.ErrKilled):
		return err
	case errors.Is(err, kernel.ErrInterruptTimeout):
		if err := r.sink.note("the kernel does not react: it is started anew, its variables are lost"); err != nil {
			return pipeError(err)
		}
		r.count = 0
		return r.session.context.Restart(ctx)
	case errors.Is(err, kernel.ErrDead):
		r.count = 0
	}
	return pipeError(r.sink.note("%v", err))
}

// cellSink shows values the way people know from notebooks.
type cellSink struct {
	*textSink
	prompts bool
	count   *int
}

func (c *cellSink) show(o sandbox.Output) error {
	switch o := o.(type) {
	case *sandbox.Started:
		*c.count = o.ExecutionCount
	case *sandbox.Result:
		if o.IsPage && !c.colour {
			return c.line((&sandbox.ExecutionError{Traceback: o.Text}).PlainTraceback())
		}
		if c.prompts && o.IsMainResult {
			c.prefix = fmt.Sprintf("Out[%d]: ", *c.count)
			defer func() { c.prefix = "" }()
		}
	}
	return c.textSink.show(o)
}
