package envd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"regexp"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// processes is the service process.Process (section 3.6); what is told of them as streams is in output.go.
type processes struct{ h *Handler }

var _ envdpb.ProcessHandler = (*processes)(nil)

// variable is what a variable may be called.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// maxTag bounds the name that a client has for a process, bytes.
const maxTag = 256

// start starts a program as a request asks, with what it prints going to a feed.
func (s *processes) start(ctx context.Context, r *connect.Request[envdpb.StartRequest], f *feed) (*sandbox.Command, error) {
	config := r.Msg.GetProcess()
	if config.GetCmd() == "" {
		return nil, invalidf("no program: process.cmd is empty")
	}
	if len(r.Msg.GetTag()) > maxTag {
		return nil, invalidf("tag of %d bytes: use %d at most", len(r.Msg.GetTag()), maxTag)
	}
	for name, value := range config.GetEnvs() {
		if !variable.MatchString(name) || strings.Contains(value, "\x00") {
			return nil, invalidf("environment variable %.40q: name it with letters, digits and _, not a digit first, and leave NUL out of it", name)
		}
	}
	if strings.Contains(config.GetCmd()+strings.Join(config.GetArgs(), ""), "\x00") {
		return nil, invalidf("a program's arguments can't hold NUL")
	}
	p, at, err := locate(ctx, r, config.GetCwd())
	if err != nil {
		return nil, err
	}
	env := environment(p.member)
	maps.Copy(env, config.GetEnvs())
	opts := &sandbox.CommandOptions{
		Dir: at.name, User: p.user, Env: env, Stdin: r.Msg.Stdin == nil || *r.Msg.Stdin, Tag: r.Msg.GetTag(),
		OnStdout: f.stdout, OnStderr: f.stderr, MaxOutput: 1, // nobody asks for what was printed
	}
	args := loginShell(append([]string{config.GetCmd()}, config.GetArgs()...), env)
	var cmd *sandbox.Command
	if r.Msg.Pty != nil {
		size, sizeErr := terminalSize(r.Msg.Pty)
		if sizeErr != nil {
			return nil, sizeErr
		}
		cmd, err = p.member.Sandbox().Commands().StartTerminal(ctx, size, args, opts)
	} else {
		cmd, err = p.member.Sandbox().Commands().StartProgram(ctx, args, opts)
	}
	if err != nil {
		return nil, s.refused(ctx, p, at, config.GetCmd(), err)
	}
	s.h.stateOf(p.member).addProcess(&process{cmd, &envdpb.ProcessInfo{Config: config, Pid: uint32(cmd.PID()), Tag: r.Msg.Tag}})
	return cmd, nil
}

// refused says what of a request made its program not start.
func (s *processes) refused(ctx context.Context, p *place, at location, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, sandbox.ErrNotDir) {
		if info, statErr := p.files.Info(ctx, at.name); statErr != nil || !isDir(&info) {
			return invalidf("cwd '%s' does not exist", at.path)
		}
		return invalidf("program %.100q: there is no such one in the sandbox", name)
	}
	return err
}

// maxSide bounds a terminal, characters.
const maxSide = 10_000

func terminalSize(pty *envdpb.PTY) (sandbox.TerminalSize, error) {
	cols, rows := pty.GetSize().GetCols(), pty.GetSize().GetRows()
	if cols < 1 || rows < 1 || cols > maxSide || rows > maxSide {
		return sandbox.TerminalSize{}, invalidf("terminal of %d columns and %d rows: use 1 to %d of each", cols, rows, maxSide)
	}
	return sandbox.TerminalSize{Cols: int(cols), Rows: int(rows)}, nil
}

// find finds a command that runs, or whose end is still known.
func find(ctx context.Context, selector *envdpb.ProcessSelector) (*sandbox.Command, error) {
	commands := fleet.From(ctx).Sandbox().Commands()
	switch by := selector.GetSelector().(type) {
	case *envdpb.ProcessSelector_Pid:
		if by.Pid > math.MaxInt32 {
			return nil, fmt.Errorf("process with pid %d: %w", by.Pid, backends.ErrNotFound)
		}
		return commands.Connect(int(by.Pid))
	case *envdpb.ProcessSelector_Tag:
		return commands.ConnectTag(by.Tag)
	}
	return nil, invalidf("no process is named: give a pid or a tag")
}

// findRunning is find for what only a running process can do.
func findRunning(ctx context.Context, selector *envdpb.ProcessSelector) (*sandbox.Command, error) {
	cmd, err := find(ctx, selector)
	if err == nil && hasExited(cmd) {
		return nil, fmt.Errorf("process with pid %d: %w: it has ended", cmd.PID(), backends.ErrNotFound)
	}
	return cmd, err
}

func (s *processes) List(
	ctx context.Context, _ *connect.Request[envdpb.ListRequest],
) (*connect.Response[envdpb.ListResponse], error) {
	answer := new(envdpb.ListResponse)
	for _, p := range s.h.stateOf(fleet.From(ctx)).running() {
		answer.Processes = append(answer.Processes, p.info)
	}
	return connect.NewResponse(answer), nil
}

func (s *processes) Update(
	ctx context.Context, r *connect.Request[envdpb.UpdateRequest],
) (*connect.Response[envdpb.UpdateResponse], error) {
	cmd, err := findRunning(ctx, r.Msg.Process)
	if err != nil {
		return nil, err
	}
	if r.Msg.Pty != nil {
		size, err := terminalSize(r.Msg.Pty)
		if err != nil {
			return nil, err
		}
		if err := cmd.Resize(ctx, size); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&envdpb.UpdateResponse{}), nil
}

// write gives input to a process: to its terminal what is for one, else to its standard input.
func write(ctx context.Context, cmd *sandbox.Command, input *envdpb.ProcessInput) error {
	switch in := input.GetInput().(type) {
	case *envdpb.ProcessInput_Pty:
		if !cmd.Info().Terminal {
			return sandbox.ErrNoTerminal
		}
		return cmd.Write(ctx, in.Pty)
	case *envdpb.ProcessInput_Stdin:
		if cmd.Info().Terminal {
			return fmt.Errorf("%w: it runs on a terminal, send input for that", sandbox.ErrNoStdin)
		}
		return cmd.Write(ctx, in.Stdin)
	}
	return invalidf("no input: give stdin or pty")
}

func (s *processes) SendInput(
	ctx context.Context, r *connect.Request[envdpb.SendInputRequest],
) (*connect.Response[envdpb.SendInputResponse], error) {
	cmd, err := findRunning(ctx, r.Msg.Process)
	if err != nil {
		return nil, err
	}
	if err := write(ctx, cmd, r.Msg.Input); err != nil {
		return nil, err
	}
	return connect.NewResponse(&envdpb.SendInputResponse{}), nil
}

func (s *processes) StreamInput(
	ctx context.Context, in *connect.ClientStream[envdpb.StreamInputRequest],
) (*connect.Response[envdpb.StreamInputResponse], error) {
	var cmd *sandbox.Command
	for in.Receive() {
		var err error
		switch event := in.Msg().GetEvent().(type) {
		case *envdpb.StreamInputRequest_Start:
			cmd, err = findRunning(ctx, event.Start.GetProcess())
		case *envdpb.StreamInputRequest_Data:
			if cmd == nil {
				return nil, invalidf("data before start")
			}
			err = write(ctx, cmd, event.Data.GetInput())
		}
		if err != nil {
			return nil, err
		}
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&envdpb.StreamInputResponse{}), nil
}

// killPatience is how long a killed process is waited for, so that who looks next finds it gone.
const killPatience = 2 * time.Second

func (s *processes) SendSignal(
	ctx context.Context, r *connect.Request[envdpb.SendSignalRequest],
) (*connect.Response[envdpb.SendSignalResponse], error) {
	cmd, err := findRunning(ctx, r.Msg.Process)
	if err != nil {
		return nil, err
	}
	switch r.Msg.Signal {
	case envdpb.Signal_SIGNAL_SIGKILL:
		err = kill(ctx, cmd)
	case envdpb.Signal_SIGNAL_SIGTERM:
		err = cmd.Signal(ctx, string(backends.Terminate))
	default:
		err = invalidf("signal %v: use SIGNAL_SIGTERM or SIGNAL_SIGKILL", r.Msg.Signal)
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&envdpb.SendSignalResponse{}), nil
}

// kill kills a process with its group, and waits a little for it to be gone.
func kill(ctx context.Context, cmd *sandbox.Command) error {
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	if err := cmd.Kill(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (s *processes) CloseStdin(
	ctx context.Context, r *connect.Request[envdpb.CloseStdinRequest],
) (*connect.Response[envdpb.CloseStdinResponse], error) {
	cmd, err := findRunning(ctx, r.Msg.Process)
	if err != nil {
		return nil, err
	}
	if err := cmd.CloseStdin(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&envdpb.CloseStdinResponse{}), nil
}
