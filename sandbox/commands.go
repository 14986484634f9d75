package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Commands runs programs in a sandbox, beside its contexts: in the same workspace, with the same Python. Errors wrap
// ErrKilled, ErrNotFound, fs.ErrNotExist (the program, the folder), ErrNoStdin, ErrNoTerminal.
type Commands struct{ sandbox *Sandbox }

// Facts about commands.
var (
	ErrNoStdin    = backends.ErrNoStdin
	ErrNoTerminal = backends.ErrNoTerminal
)

// CommandOptions of Run, Start and StartTerminal. Nil and zero fields are the defaults.
type CommandOptions struct {
	Dir   string            // working directory, a folder of the workspace that exists; the workspace
	Env   map[string]string // on top of the sandbox's
	Stdin bool              // keep the standard input open for Write; it is empty otherwise. A terminal always has one
	Tag   string            // a name of the caller's own to find the command by
	// User runs the command, in a container: backends.OrdinaryUser, or backends.RootUser with the profile compatible. Dir is then any
	// folder, from the user's home on. The user that code has, in the workspace. Errors: backends.ErrNoUser, backends.ErrUnsupported.
	User string
	// Timeout ends the command and its process group. Run: DefaultCommandTimeout; Start and StartTerminal: none. NoTimeout
	// is none.
	Timeout time.Duration

	// The callbacks get output as soon as it is there, at most 32 KiB at once, as the program wrote it: a character may be cut
	// in two. Run calls them on its caller's goroutine, Start on one of the command's, one at a time. A slow one holds up
	// the command, as a slow reader of a pipe does. data is valid during the call.
	OnStdout func(data []byte) // on a terminal, all output
	OnStderr func(data []byte)

	// MaxOutput bounds what CommandResult keeps of either output, bytes; 1 MiB. The beginning and the end are kept.
	MaxOutput int64
}

// The defaults of CommandOptions.
const (
	DefaultCommandTimeout = 60 * time.Second
	DefaultCommandOutput  = 1 << 20
)

// commandTable is a sandbox's commands, with those that ended lately.
type commandTable struct {
	goroutines sync.WaitGroup // all of the commands'

	mu     sync.Mutex // guards what follows
	known  map[int]*Command
	closed bool
}

// keepEnded is how long the end of a command can be asked for; tests have it shorter.
var keepEnded = 30 * time.Second

// Run runs a line of shell and waits for its end. A command that ends with another code than 0 or by a signal is a
// *CommandExitError, one whose time was over a *CommandTimeoutError; the result, never nil, holds all output until then. When
// ctx is done the command's process group is killed and the error is ctx's cause; a command that is paused then may end no sooner
// than the sandbox is resumed, which is not waited for.
func (c *Commands) Run(ctx context.Context, line string, opts *CommandOptions) (*CommandResult, error) {
	o, err := opts.check(DefaultCommandTimeout)
	if err != nil {
		return new(CommandResult), fmt.Errorf("sandbox: run command: %w", err)
	}
	cmd, err := c.start(ctx, shellLine(line), nil, o, false)
	if err != nil {
		return new(CommandResult), fmt.Errorf("sandbox: run command: %w", err)
	}
	patience, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stop := context.AfterFunc(ctx, func() { cmd.abort(patience, giveUp) })
	defer stop()
	cmd.forward(patience, o)
	result, err := cmd.Wait(patience)
	if result == nil {
		result = cmd.sofar()
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("sandbox: run command: %w", context.Cause(ctx))
	}
	return result, err
}

// Start starts a line of shell and returns at once. ctx bounds the start only.
func (c *Commands) Start(ctx context.Context, line string, opts *CommandOptions) (*Command, error) {
	return c.background(ctx, shellLine(line), nil, opts)
}

// StartProgram is Start for a program and its arguments, without a shell.
func (c *Commands) StartProgram(ctx context.Context, args []string, opts *CommandOptions) (*Command, error) {
	return c.background(ctx, func(string) []string { return args }, nil, opts)
}

// StartTerminal starts args, or an interactive shell when there are none, on a terminal of a size.
func (c *Commands) StartTerminal(ctx context.Context, size TerminalSize, args []string, opts *CommandOptions) (*Command, error) {
	argv := func(string) []string { return args }
	if len(args) == 0 {
		argv = func(shell string) []string { return []string{shell, "-i"} }
	}
	return c.background(ctx, argv, &size, opts)
}

func (c *Commands) background(ctx context.Context, argv func(string) []string, size *TerminalSize, opts *CommandOptions) (*Command, error) {
	o, err := opts.check(NoTimeout)
	if err != nil {
		return nil, fmt.Errorf("sandbox: start command: %w", err)
	}
	cmd, err := c.start(ctx, argv, size, o, true)
	if err != nil {
		return nil, fmt.Errorf("sandbox: start command: %w", err)
	}
	return cmd, nil
}

// shellLine makes the arguments that let a shell run a line. Not a login shell, whose profile would hide the sandbox's own
// Python behind the system's.
func shellLine(line string) func(string) []string {
	return func(shell string) []string { return []string{shell, "-c", line} }
}

// shells are tried in their order.
var shells = []string{"/bin/bash", "/bin/sh"}

func (o *CommandOptions) check(timeout time.Duration) (CommandOptions, error) {
	var out CommandOptions
	if o != nil {
		out = *o
	}
	if out.Timeout < 0 {
		return out, fmt.Errorf("timeout is %v: use a positive one, 0 for the default, or NoTimeout", out.Timeout)
	}
	if out.Timeout == 0 {
		out.Timeout = timeout
	}
	if out.MaxOutput < 0 {
		return out, fmt.Errorf("max output is %d: use a positive number of bytes, or 0 for the default", out.MaxOutput)
	}
	if out.MaxOutput == 0 {
		out.MaxOutput = DefaultCommandOutput
	}
	return out, checkEnv(out.Env)
}

// start starts a program; argv makes its arguments from the shell's path. In the background, a goroutine calls the callbacks.
func (c *Commands) start(
	ctx context.Context, argv func(shell string) []string, size *TerminalSize, o CommandOptions, background bool,
) (*Command, error) {
	s := c.sandbox
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var process backends.Command
	var args []string
	err = fs.ErrNotExist
	for _, shell := range shells {
		if args = argv(shell); len(args) == 0 {
			return nil, errors.New("no program given")
		}
		process, err = s.instance.StartCommand(ctx, backends.Cmd{
			Args: args, Dir: o.Dir, Env: o.Env, Stdin: o.Stdin, PTY: size, User: o.User,
		})
		if err == nil || !errors.Is(err, fs.ErrNotExist) || args[0] != shell {
			break
		}
	}
	if err != nil {
		return nil, s.reason(err)
	}
	cmd := newCommand(s, process, args, size != nil, o)
	if err := s.commands.add(cmd); err != nil { // the sandbox's end has ended the process
		return nil, err
	}
	defer s.commands.goroutines.Done()
	cmd.begin(o.Timeout)
	if background && cmd.caller != nil {
		s.commands.goroutines.Go(func() { cmd.forward(context.Background(), o) })
	}
	return cmd, nil
}

// add takes in a command; the caller calls goroutines.Done when it has started those of the command.
func (t *commandTable) add(cmd *Command) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrKilled
	}
	if t.known == nil {
		t.known = make(map[int]*Command)
	}
	t.known[cmd.pid] = cmd
	t.goroutines.Add(1)
	return nil
}

// close waits for the goroutines of commands whose processes have been ended.
func (t *commandTable) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.goroutines.Wait()
}

// forget drops a command whose end need not be remembered any more.
func (t *commandTable) forget(cmd *Command) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[cmd.pid] == cmd { // the id may have passed on
		delete(t.known, cmd.pid)
	}
}

// List lists the commands that run, in the order of their start.
func (c *Commands) List() []CommandInfo {
	var out []CommandInfo
	for _, cmd := range c.all() {
		if !cmd.hasEnded() {
			out = append(out, cmd.Info())
		}
	}
	return out
}

func (c *Commands) all() []*Command {
	t := &c.sandbox.commands
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*Command, 0, len(t.known))
	for _, cmd := range t.known {
		out = append(out, cmd)
	}
	slices.SortFunc(out, func(a, b *Command) int { return a.started.Compare(b.started) })
	return out
}

// Connect finds a command by its process id: one that runs, or that ended within the last 30 s. Error: ErrNotFound.
func (c *Commands) Connect(pid int) (*Command, error) {
	for _, cmd := range c.all() {
		if cmd.pid == pid {
			return cmd, nil
		}
	}
	return nil, fmt.Errorf("sandbox: command with process id %d: %w", pid, c.sandbox.reason(ErrNotFound))
}

// ConnectTag finds the newest command with a tag, as Connect does.
func (c *Commands) ConnectTag(tag string) (*Command, error) {
	for _, cmd := range slices.Backward(c.all()) {
		if cmd.tag == tag && tag != "" {
			return cmd, nil
		}
	}
	return nil, fmt.Errorf("sandbox: command with tag %q: %w", tag, c.sandbox.reason(ErrNotFound))
}

// Kill kills a running command with its process group and waits for its end. It reports whether there was one.
func (c *Commands) Kill(ctx context.Context, pid int) (bool, error) {
	cmd, err := c.Connect(pid)
	if errors.Is(err, ErrNotFound) || err == nil && cmd.hasEnded() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, cmd.Kill(ctx)
}
