package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func newShell(s *streams, c *common) *cobra.Command {
	o := &sessionOptions{lazy: true}
	cmd := &cobra.Command{
		Use:   "shell [flags] [-- PROGRAM [ARGUMENT]...]",
		Short: "Get a terminal in a sandbox",
		Long: `Get a terminal in a new sandbox, with a shell or the program given. The sandbox ends with it.

Without a terminal here, the program reads standard input and writes to standard output and error.
Exits with the program's code, or 128 and the number of the signal that ended it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return usagef("%s: unexpected %q: a program goes after --", cmd.CommandPath(), args[0])
			}
			return shell(cmd.Context(), s, c, o, args)
		},
	}
	o.placeFlags(cmd.Flags(), c)
	return cmd
}

func shell(ctx context.Context, s *streams, c *common, o *sessionOptions, args []string) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	ctx, stop := cancelOnSignal(ctx, s.signals)
	defer stop()
	defer func() { err = signalCause(ctx, err) }()
	ses, err := o.start(ctx, s, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ses.close()) }()
	if o.cwd != "" {
		if err := ses.sandbox.Files().MakeDir(ctx, o.cwd); err != nil {
			return err
		}
	}
	opts := &sandbox.CommandOptions{Dir: o.cwd, Stdin: true}
	in, inOK := terminalFd(s.in)
	screen, outOK := terminalFd(s.out)
	if inOK && outOK {
		return onTerminal(ctx, s, ses.sandbox.Commands(), in, screen, args, opts)
	}
	return onPipes(ctx, s, ses.sandbox.Commands(), args, opts)
}

// onTerminal joins our terminal to one in the sandbox.
func onTerminal(
	ctx context.Context, s *streams, commands *sandbox.Commands, in, screen int, args []string, opts *sandbox.CommandOptions,
) error {
	size := func() (sandbox.TerminalSize, error) {
		cols, rows, err := term.GetSize(screen)
		return sandbox.TerminalSize{Cols: max(1, cols), Rows: max(1, rows)}, err
	}
	now, err := size()
	if err != nil {
		return err
	}
	before, err := term.MakeRaw(in)
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(in, before) }() // whatever happens
	out := newOutlet(s, opts)
	cmd, err := commands.StartTerminal(ctx, now, args, opts)
	if err != nil {
		return err
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	defer watchSignals(resized, func(os.Signal, int) {
		if now, err := size(); err == nil {
			_ = cmd.Resize(ctx, now) // an ended program has no size
		}
	})()
	return converse(ctx, s, cmd, out)
}

// onPipes joins our streams to a program's.
func onPipes(ctx context.Context, s *streams, commands *sandbox.Commands, args []string, opts *sandbox.CommandOptions) error {
	out := newOutlet(s, opts)
	var cmd *sandbox.Command
	var err error
	if len(args) > 0 {
		cmd, err = commands.StartProgram(ctx, args, opts)
	} else {
		cmd, err = commands.Start(ctx, `exec "$0"`, opts) // the shell reads its lines itself
	}
	if err != nil {
		return err
	}
	return converse(ctx, s, cmd, out)
}

// outlet writes a command's output to our streams.
type outlet struct {
	failed chan struct{} // closed when a stream can't be written to
	err    error
}

// newOutlet makes an outlet of the callbacks of opts.
func newOutlet(s *streams, opts *sandbox.CommandOptions) *outlet {
	o := &outlet{failed: make(chan struct{})}
	to := func(w io.Writer) func([]byte) {
		return func(data []byte) {
			if o.err != nil {
				return
			}
			if _, err := w.Write(data); err != nil {
				o.err = pipeError(err)
				close(o.failed)
			}
		}
	}
	opts.OnStdout, opts.OnStderr = to(s.out), to(s.err)
	return o
}

// converse hands input on until the command ends, or nobody takes its output.
func converse(ctx context.Context, s *streams, cmd *sandbox.Command, out *outlet) error {
	typing, stop := context.WithCancel(ctx)
	typed := make(chan struct{})
	go func() {
		defer close(typed)
		typeInto(typing, s.in, cmd)
	}()
	defer func() {
		stop()
		<-typed
	}()
	select {
	case <-cmd.Done():
	case <-out.failed:
		return errors.Join(out.err, cmd.Kill(ctx))
	case <-ctx.Done():
		return context.Cause(ctx) // the sandbox's end is the command's
	}
	result, err := cmd.Wait(ctx)
	var exit *sandbox.CommandExitError
	if errors.As(err, &exit) {
		return &exitError{exitStatus(result)}
	}
	return err
}

// exitStatus is what a shell says of how a command ended.
func exitStatus(r *sandbox.CommandResult) int {
	if r.Signal != "" {
		return 128 + int(unix.SignalNum(r.Signal))
	}
	return r.ExitCode
}

// typeInto hands input on until it ends, or the command does.
func typeInto(ctx context.Context, in io.Reader, cmd *sandbox.Command) {
	keys := &keyboard{in: in}
	buf := make([]byte, 4096)
	for {
		n, err := keys.read(ctx, buf)
		if n > 0 && cmd.Write(ctx, buf[:n]) != nil {
			return // it has ended, or reads no more
		}
		if err != nil {
			_ = cmd.CloseStdin() // a terminal has none to close
			return
		}
	}
}
