package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// command is a program elsewhere.
type command struct {
	in     *Instance
	pid    int
	number uint64
	tty    bool
	stdout *output
	stderr *output // nil on a terminal
	ending ending
}

var _ backends.Command = (*command)(nil)

// checkText refuses what no message can carry, and no system takes.
func checkText(env map[string]string, texts ...string) error {
	for name, value := range env {
		texts = append(texts, name, value)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			return fmt.Errorf("%.40q: %w", text, backends.ErrInvalidName)
		}
	}
	return nil
}

// StartCommand starts a program.
func (in *Instance) StartCommand(ctx context.Context, cmd backends.Cmd) (backends.Command, error) {
	if err := in.gone(); err != nil {
		return nil, wrap("start command", err)
	}
	if len(cmd.Args) == 0 || cmd.Args[0] == "" {
		return nil, wrap("start command", errors.New("no program: Args is empty"))
	}
	if err := checkText(cmd.Env, append(cmd.Args, cmd.Dir)...); err != nil {
		return nil, wrap("start command", err)
	}
	request := &agentpb.StartRequest{
		Process: &agentpb.ProcessConfig{Cmd: cmd.Args[0], Args: cmd.Args[1:], Envs: cmd.Env, Cwd: &cmd.Dir}, Stdin: &cmd.Stdin,
	}
	if cmd.PTY != nil {
		request.Pty = terminal(*cmd.PTY)
	}
	if _, err := in.Home(cmd.User); cmd.User != "" && err != nil {
		return nil, wrap("start command", err)
	}
	answer, err := call(ctx, in.c, start, in.c.process[cmd.User].Spawn, request)
	if err != nil {
		return nil, err
	}
	return in.newCommand(answer.Pid, answer.Process, cmd.PTY != nil, 0, 0)
}

// terminal is a size as the wire has it; one that can't be becomes one that is refused.
func terminal(size backends.Size) *agentpb.PTY {
	side := func(n int) uint32 {
		if n < 0 || n > math.MaxInt32 {
			return 0
		}
		return uint32(n)
	}
	return &agentpb.PTY{Size: &agentpb.PTY_Size{Cols: side(size.Cols), Rows: side(size.Rows)}}
}

func (in *Instance) newCommand(pid uint32, number uint64, tty bool, stdout, stderr uint64) (*command, error) {
	if pid < 1 || pid > math.MaxInt32 || number == 0 || stdout > math.MaxInt64 || stderr > math.MaxInt64 {
		return nil, fmt.Errorf("remote: %w: command %d with process id %d", ErrProtocol, number, pid)
	}
	c := &command{in: in, pid: int(pid), number: number, tty: tty}
	c.stdout = c.newOutput(agentpb.Output_OUTPUT_STDOUT, stdout)
	if !tty {
		c.stderr = c.newOutput(agentpb.Output_OUTPUT_STDERR, stderr)
	}
	return c, nil
}

// Commands are the programs that live, or whose output was not read to its end, whoever has started them.
func (in *Instance) Commands(ctx context.Context) ([]backends.Command, error) {
	if err := in.gone(); err != nil {
		return nil, err
	}
	answer, err := call(ctx, in.c, quick, in.c.process[""].List, &agentpb.ListRequest{})
	if err != nil {
		return nil, wrap("list commands", err)
	}
	commands := make([]backends.Command, 0, len(answer.Processes))
	for _, info := range answer.Processes {
		c, err := in.newCommand(info.Pid, info.Process, info.Pty, info.StdoutOffset, info.StderrOffset)
		if err != nil {
			return nil, err
		}
		commands = append(commands, c)
	}
	return commands, nil
}

func (c *command) selector() *agentpb.ProcessSelector {
	return &agentpb.ProcessSelector{Selector: &agentpb.ProcessSelector_Process{Process: c.number}}
}

// ID names the command to its instance.
func (c *command) ID() string { return fmt.Sprint(c.pid) }

// PID is the process id there.
func (c *command) PID() int { return c.pid }

func (c *command) Stdout() io.ReadCloser { return c.stdout }

func (c *command) Stderr() io.ReadCloser {
	if c.stderr == nil {
		return nil
	}
	return c.stderr
}

// Signal sends a signal to the command's group: after the end of the command too, when children of it are left.
func (c *command) Signal(ctx context.Context, sig backends.Signal) error {
	_, err := call(ctx, c.in.c, change, c.in.c.process[""].SendSignal, &agentpb.SendSignalRequest{Process: c.selector(), Name: string(sig)})
	if err != nil && (c.in.lost(err) || errors.Is(err, backends.ErrNotFound)) {
		return nil
	}
	return wrap("signal command", err)
}

// Wait waits for the end.
func (c *command) Wait(ctx context.Context) (backends.ExitStatus, error) {
	return c.ending.wait(ctx, c.in, func(ctx context.Context) (*agentpb.ExitStatus, error) {
		return call(ctx, c.in.c, forever, c.in.c.process[""].Wait, &agentpb.WaitRequest{Process: c.number})
	})
}

// maxInput is how much of an input is sent at once, bytes.
const maxInput = 256 << 10

// input is a call that waits for the program to read.
var input = kind{named: true}

// Write writes to the standard input, or types on the terminal.
func (c *command) Write(ctx context.Context, p []byte) (int, error) {
	written := 0
	for {
		part := p[written:min(len(p), written+maxInput)]
		request := &agentpb.SendInputRequest{
			Process: c.selector(), Input: &agentpb.ProcessInput{Input: &agentpb.ProcessInput_Stdin{Stdin: part}},
		}
		answer, err := call(ctx, c.in.c, input, c.in.c.process[""].SendInput, request)
		if err != nil {
			return written, c.input(err)
		}
		if answer.Written > uint64(len(part)) {
			return written, fmt.Errorf("remote: %w: more was written than sent", ErrProtocol)
		}
		written += int(answer.Written)
		switch {
		case answer.Fault != nil:
			return written, answer.Fault.Err()
		case written == len(p):
			return written, nil
		case answer.Written == 0:
			return written, io.ErrShortWrite
		}
	}
}

// input is what went wrong with the standard input.
func (c *command) input(err error) error {
	if c.in.lost(err) || errors.Is(err, backends.ErrNotFound) {
		return fmt.Errorf("%w: the program has ended", backends.ErrNoStdin)
	}
	return err
}

// CloseStdin ends the standard input.
func (c *command) CloseStdin() error {
	_, err := call(context.Background(), c.in.c, change, c.in.c.process[""].CloseStdin, &agentpb.CloseStdinRequest{Process: c.selector()})
	if err != nil {
		return c.input(err)
	}
	return nil
}

// Resize changes the terminal's size.
func (c *command) Resize(ctx context.Context, size backends.Size) error {
	if !c.tty {
		return backends.ErrNoTerminal
	}
	request := &agentpb.UpdateRequest{Process: c.selector(), Pty: terminal(size)}
	_, err := call(ctx, c.in.c, change, c.in.c.process[""].Update, request)
	return err
}

// output is one output of a command. It is fetched as it is read, so that a program whose reader is slow waits.
type output struct {
	c     *command
	which agentpb.Output
	life  context.Context
	stop  context.CancelFunc
	once  sync.Once

	reading sync.Mutex // held while something is fetched; guards what follows
	offset  uint64     // of what is fetched next
	rest    []byte     // fetched and not read
	err     error
}

func (c *command) newOutput(which agentpb.Output, offset uint64) *output {
	o := &output{c: c, which: which, offset: offset}
	o.life, o.stop = context.WithCancel(context.Background())
	return o
}

// maxRead is how much is fetched at once, bytes.
const maxRead = 64 << 10

func (o *output) Read(p []byte) (int, error) {
	o.reading.Lock()
	defer o.reading.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if len(o.rest) == 0 && o.err == nil {
		o.rest, o.err = o.fetch()
		o.offset += uint64(len(o.rest))
	}
	if len(o.rest) > 0 {
		n := copy(p, o.rest)
		o.rest = o.rest[n:]
		return n, nil
	}
	return 0, o.err
}

func (o *output) fetch() ([]byte, error) {
	in := o.c.in
	request := &agentpb.ReadRequest{Process: o.c.number, Output: o.which, Offset: o.offset, Max: maxRead}
	answer, err := call(o.life, in.c, forever, in.c.process[""].Read, request)
	switch {
	case o.life.Err() != nil:
		return nil, io.EOF // our own Close
	case err != nil && in.lost(err):
		return nil, io.EOF
	case err != nil:
		return nil, err
	case len(answer.Data) > maxRead || o.offset > math.MaxInt64-maxRead:
		return nil, fmt.Errorf("remote: %w: %d bytes of output at once", ErrProtocol, len(answer.Data))
	case len(answer.Data) == 0:
		return nil, io.EOF
	}
	return answer.Data, nil
}

// Close closes the pipe there; a program that writes on gets SIGPIPE, one on the terminal SIGHUP.
func (o *output) Close() error {
	o.once.Do(func() {
		o.stop()
		// An agent that is lost closes it with everything else.
		o.c.in.c.afterwards(func(ctx context.Context) {
			_, _ = call(ctx, o.c.in.c, change, o.c.in.c.process[""].CloseOutput,
				&agentpb.CloseOutputRequest{Process: o.c.number, Output: o.which})
		})
	})
	return nil
}
