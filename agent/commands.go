package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// command is a program under a keeper with the host's ends of its pipes.
type command struct {
	*process
	in     *Instance
	stdin  *os.File // nil without one
	stdout *output  // on a terminal, its master
	stderr *output  // nil on a terminal
	tty    bool

	writing sync.Mutex // held while the standard input is written to, or closed
	ended   bool       // the standard input was closed; guarded by writing
}

// output is the reading end of a pipe, or a terminal's master.
type output struct {
	file *os.File
	c    *command
}

// StartCommand starts a program in a session of its own.
func (in *Instance) StartCommand(ctx context.Context, cmd backends.Cmd) (backends.Command, error) {
	started, err := in.starts(ctx)
	if err != nil {
		return nil, fmt.Errorf("agent: start command: %w", err)
	}
	defer started()
	c, err := in.startCommand(ctx, cmd)
	if err != nil {
		return nil, fmt.Errorf("agent: start command: %w", err)
	}
	return c, nil
}

func (in *Instance) startCommand(ctx context.Context, cmd backends.Cmd) (_ *command, err error) {
	if len(cmd.Args) == 0 || cmd.Args[0] == "" {
		return nil, errors.New("no program: Args is empty")
	}
	dir, err := in.commandFolder(cmd)
	if err != nil {
		return nil, fmt.Errorf("working directory %q: %w", cmd.Dir, err)
	}
	k, err := in.currentKeeper(ctx)
	if err != nil {
		return nil, err
	}
	c := &command{in: in, tty: cmd.PTY != nil}
	theirs, err := c.open(cmd)
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			c.closeAll()
		}
	}()
	if err != nil {
		return nil, err
	}
	p := program{argv: cmd.Args, env: in.environment(in.env, cmd.Env), dir: dir, tty: c.tty}
	if c.process, err = k.start(ctx, p, theirs...); err != nil {
		return nil, explainStart(cmd.Args[0], err)
	}
	return c, in.adoptCommand(c) // or the keeper has ended it with the instance
}

// commandFolder is where a command starts. A user's is any folder, of which the start says whether it is there and open to the user.
func (in *Instance) commandFolder(cmd backends.Cmd) (string, error) {
	switch cmd.User {
	case "":
		return in.files.existingFolder(cmd.Dir)
	case in.place.User:
		name, err := checkName(cmd.Dir)
		if !path.IsAbs(name) {
			name = path.Join(in.place.Home, name)
		}
		return name, err
	}
	return "", fmt.Errorf("user %q: %w: all that runs here is of one user; leave the user out, or use docker with the profile %s",
		cmd.User, backends.ErrUnsupported, backends.ProfileCompatible)
}

// explainStart names what is missing.
func explainStart(name string, err error) error {
	var failed *startError
	if !errors.As(err, &failed) {
		return err
	}
	switch {
	case failed.stage == "exec" && failed.errno == syscall.ENOENT:
		return fmt.Errorf("program %q: %w in the sandbox: install it, or give its full path", name, fs.ErrNotExist)
	case failed.stage == "chdir" && failed.errno == syscall.ENOTDIR:
		return fmt.Errorf("%w: %w", backends.ErrNotDir, err)
	}
	return err
}

// open makes the pipes, or the terminal, and returns the program's ends, which the caller closes.
func (c *command) open(cmd backends.Cmd) (theirs []*os.File, err error) {
	if cmd.PTY != nil {
		master, device, err := pty.Open()
		if err != nil {
			return nil, fmt.Errorf("open terminal: %w", err)
		}
		c.stdout, c.stdin = &output{master, c}, master
		return []*os.File{device, device, device}, setSize(master, *cmd.PTY)
	}
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	var in *os.File
	if cmd.Stdin {
		in, c.stdin = pipe()
	} else {
		in, err = os.Open(os.DevNull)
	}
	out, outWrite := pipe()
	errors, errWrite := pipe()
	for _, f := range []*os.File{in, outWrite, errWrite} {
		if f != nil {
			theirs = append(theirs, f)
		}
	}
	if out != nil {
		c.stdout = &output{out, c}
	}
	if errors != nil {
		c.stderr = &output{errors, c}
	}
	return theirs, err
}

// adoptCommand makes the instance close a command's pipes at its end; it refuses after Close.
func (in *Instance) adoptCommand(c *command) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return backends.ErrDestroyed
	}
	in.commands[c] = true
	return nil
}

func (c *command) Stdout() io.ReadCloser { return c.stdout }

func (c *command) Stderr() io.ReadCloser {
	if c.stderr == nil {
		return nil
	}
	return c.stderr
}

// Signal sends a signal to the command's group: after the end of the command too, when children of it are left.
func (c *command) Signal(ctx context.Context, sig backends.Signal) error { return c.send(ctx, sig) }

// Write writes to the standard input, or types on the terminal.
func (c *command) Write(ctx context.Context, p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.stdin == nil || c.ended {
		return 0, backends.ErrNoStdin
	}
	if err := c.stdin.SetWriteDeadline(time.Time{}); err != nil {
		return 0, inputError(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.stdin.SetWriteDeadline(time.Unix(1, 0)) })
	n, err := c.stdin.Write(p)
	if !stop() && err != nil {
		return n, context.Cause(ctx)
	}
	return n, inputError(err)
}

// inputError says in one way that nobody reads any more.
func inputError(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("%w: the program reads no more", backends.ErrNoStdin)
	}
	return err
}

// CloseStdin ends the standard input.
func (c *command) CloseStdin() error {
	if c.stdin == nil || c.tty {
		return backends.ErrNoStdin
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.ended {
		return nil
	}
	c.ended = true
	return c.stdin.Close()
}

// maxSide bounds a terminal, characters; some programs allocate by it.
const maxSide = 10_000

// Resize changes the terminal's size, of which the program hears by SIGWINCH.
func (c *command) Resize(_ context.Context, size backends.Size) error {
	if !c.tty {
		return backends.ErrNoTerminal
	}
	if err := setSize(c.stdin, size); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("agent: resize terminal: %w", err)
	}
	return nil
}

func setSize(master *os.File, size backends.Size) error {
	if size.Cols < 1 || size.Rows < 1 || size.Cols > maxSide || size.Rows > maxSide {
		return fmt.Errorf("terminal of %d columns and %d rows: use 1 to %d of each", size.Cols, size.Rows, maxSide)
	}
	descriptor, err := master.SyscallConn() // not Fd, which a Close at the same time would leave to another file
	if err != nil {
		return err
	}
	ws := &unix.Winsize{Col: uint16(size.Cols), Row: uint16(size.Rows)}
	var set error
	err = descriptor.Control(func(fd uintptr) { set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, ws) })
	return errors.Join(err, os.NewSyscallError("ioctl", set))
}

func (o *output) Read(p []byte) (int, error) {
	n, err := o.file.Read(p)
	if errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrClosed) { // a terminal that nobody holds any more; our own Close
		err = io.EOF
	}
	return n, err
}

// Close closes the pipe; a program that writes on gets SIGPIPE, one on the terminal SIGHUP.
func (o *output) Close() error {
	_ = o.file.Close() // a second time says that it is closed
	o.c.forgetClosed()
	return nil
}

// forgetClosed takes the command off the instance's list when nothing of it is open.
func (c *command) forgetClosed() {
	for _, o := range []*output{c.stdout, c.stderr} {
		if o != nil && o.file.SetReadDeadline(time.Time{}) == nil {
			return // still open
		}
	}
	if c.stdin != nil {
		_ = c.stdin.Close()
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	delete(c.in.commands, c)
}

// closeAll closes the host's ends.
func (c *command) closeAll() {
	if c.stdin != nil {
		_ = c.stdin.Close()
	}
	for _, o := range []*output{c.stdout, c.stderr} {
		if o != nil {
			_ = o.Close()
		}
	}
}
