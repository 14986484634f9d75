package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// keptOutput is what an Execution keeps while its output streams through us, bytes.
const keptOutput = 1 << 20

// runInSandbox makes a sandbox, runs code in it and cleans up. The execution is never nil.
func runInSandbox(
	ctx context.Context, s *streams, c *common, o *runOptions, code string, timeout time.Duration, sink sink, results *resultFolder,
) (execution *sandbox.Execution, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	k := new(killer)
	defer watchSignals(s.signals, func(sig os.Signal, n int) {
		cancel(&signalError{sig}) // the code is interrupted
		if n > 1 || sig != os.Interrupt {
			k.kill()
		}
	})()
	defer func() { err = signalCause(ctx, err) }()

	execution = new(sandbox.Execution)
	session, err := o.session.start(ctx, s, c)
	if err != nil {
		return execution, err
	}
	defer func() { err = errors.Join(err, session.close()) }()
	k.aim(session.sandbox)
	if err := results.clear(); err != nil {
		return execution, err
	}
	begun := time.Now()
	defer func() { err = errors.Join(err, results.report(session.context, o.title(), begun)) }()

	opts := &sandbox.RunOptions{Context: session.context, Timeout: timeout, MaxOutput: keptOutput}
	if _, ok := terminalFd(s.in); ok && o.argument != "-" {
		editor := newEditor(s.in.(*os.File), s.err)
		opts.OnInput = func(ctx context.Context, prompt string, password bool) (string, error) {
			line, err := editor.ask(ctx, prompt, password)
			if errors.Is(err, errInterrupt) {
				cancel(&signalError{os.Interrupt})
			}
			return line, err
		}
	} else if o.argument != "-" {
		lines := &lineReader{from: bufio.NewReader(s.in)}
		opts.OnInput = func(ctx context.Context, prompt string, _ bool) (string, error) {
			if err := sink.show(&sandbox.OutputMessage{Text: prompt, Time: time.Now()}); err != nil {
				return "", err
			}
			return lines.read(ctx)
		}
	}
	if len(o.args) > 0 || session.context.Info().LanguageInfo.Name == "python" {
		opts.Args = o.argv()
	}
	return stream(ctx, session.sandbox, code, opts, sink, cancel)
}

// stream runs code and shows its output as it comes. When the output can't be shown any more the code is interrupted.
func stream(
	ctx context.Context, sbx *sandbox.Sandbox, code string, opts *sandbox.RunOptions, sink sink, cancel context.CancelCauseFunc,
) (*sandbox.Execution, error) {
	run, err := sbx.StartCode(ctx, code, opts)
	if err != nil {
		return new(sandbox.Execution), err
	}
	defer func() { _ = run.Close() }()
	var broken error
	for {
		output, err := run.Next(context.WithoutCancel(ctx)) // the run ends by itself when ctx does
		if err != nil {
			break
		}
		if broken != nil {
			continue
		}
		if broken = pipeError(sink.show(output)); broken != nil {
			cancel(broken)
		}
	}
	execution, err := run.Wait(context.WithoutCancel(ctx))
	if broken != nil {
		err = broken
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return execution, err
}

// killer kills a sandbox that may not be there yet.
type killer struct {
	mu      sync.Mutex
	sandbox *sandbox.Sandbox
	fired   bool
}

// aim names the sandbox.
func (k *killer) aim(sbx *sandbox.Sandbox) {
	k.mu.Lock()
	k.sandbox = sbx
	fired := k.fired
	k.mu.Unlock()
	if fired {
		k.kill()
	}
}

// kill kills it now or as soon as it is known. What goes wrong shows when the session is closed.
func (k *killer) kill() {
	k.mu.Lock()
	k.fired = true
	sbx := k.sandbox
	k.mu.Unlock()
	if sbx != nil {
		_ = sbx.Kill(context.Background())
	}
}
