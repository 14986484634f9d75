package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// commands are those of the sandbox.
type commands struct {
	mu    sync.Mutex // guards what follows
	known map[uint64]*command
	ended []uint64 // the oldest first
	next  uint64
}

// maxEndedCommands is how many are remembered that have ended.
const maxEndedCommands = 1024

// command is one program.
type command struct {
	backends.Command
	number uint64
	info   *agentpb.ProcessInfo
	stdout *output
	stderr *output // nil on a terminal

	mu     sync.Mutex // guards stream
	stream *stream    // of what was started by Start; nil for Spawn
}

func (c *command) setStream(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream = s
}

func (c *command) currentStream() *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stream
}

func newCommands() *commands { return &commands{known: make(map[uint64]*command)} }

// start starts a program in an instance, as the request says by whom.
func (cs *commands) start(ctx context.Context, in *agent.Instance, r *agentpb.StartRequest) (*command, error) {
	config := r.GetProcess()
	cmd := backends.Cmd{
		Args: append([]string{config.GetCmd()}, config.GetArgs()...), Dir: config.GetCwd(), Env: config.GetEnvs(),
		Stdin: r.Stdin == nil || *r.Stdin, User: userOf(ctx),
	}
	if r.Pty != nil {
		cmd.PTY = &backends.Size{Cols: int(r.Pty.GetSize().GetCols()), Rows: int(r.Pty.GetSize().GetRows())}
	}
	process, err := in.StartCommand(ctx, cmd)
	if err != nil {
		return nil, err
	}
	c := &command{Command: process, stdout: newOutput(process.Stdout())}
	if stderr := process.Stderr(); stderr != nil {
		c.stderr = newOutput(stderr)
	}
	cs.mu.Lock()
	cs.next++
	c.number = cs.next
	c.info = &agentpb.ProcessInfo{
		Config: config, Pid: uint32(process.PID()), Tag: r.Tag, Pty: r.Pty != nil, Stdin: cmd.Stdin, Process: c.number,
	}
	cs.known[c.number] = c
	cs.mu.Unlock()
	go cs.follow(c)
	return c, nil
}

// follow forgets a command some time after its end; it ends with the instance at the latest.
func (cs *commands) follow(c *command) {
	_, _ = c.Wait(context.Background())
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.ended = append(cs.ended, c.number)
	if len(cs.ended) > maxEndedCommands {
		if oldest := cs.known[cs.ended[0]]; oldest != nil {
			go oldest.closeOutputs()
			delete(cs.known, cs.ended[0])
		}
		cs.ended = cs.ended[1:]
	}
}

func (c *command) closeOutputs() {
	for _, o := range []*output{c.stdout, c.stderr} {
		if o != nil {
			o.close()
		}
	}
}

func (c *command) finished() bool {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := c.Wait(over)
	return !errors.Is(err, context.Canceled)
}

// find finds by number, by process id among those that live, or by tag.
func (cs *commands) find(s *agentpb.ProcessSelector) (*command, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch by := s.GetSelector().(type) {
	case *agentpb.ProcessSelector_Process:
		if c := cs.known[by.Process]; c != nil {
			return c, nil
		}
	case *agentpb.ProcessSelector_Pid:
		var found *command
		for _, c := range cs.known {
			if c.info.Pid == by.Pid && (found == nil || c.number > found.number) { // ids come again
				found = c
			}
		}
		if found != nil {
			return found, nil
		}
	case *agentpb.ProcessSelector_Tag:
		for _, c := range cs.known {
			if c.info.Tag != nil && *c.info.Tag == by.Tag {
				return c, nil
			}
		}
	}
	return nil, fmt.Errorf("command: %w", backends.ErrNotFound)
}

func (cs *commands) numbered(number uint64) (*command, error) {
	return cs.find(&agentpb.ProcessSelector{Selector: &agentpb.ProcessSelector_Process{Process: number}})
}

// close closes what is open of all.
func (cs *commands) close() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.known {
		c.closeOutputs()
	}
}

// processService is the service Process.
type processService struct{ d *Daemon }

var _ agentpb.ProcessHandler = (*processService)(nil)

func (s *processService) commands() (*commands, error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	return sandbox.commands, nil
}

func (s *processService) find(selector *agentpb.ProcessSelector) (*command, error) {
	cs, err := s.commands()
	if err != nil {
		return nil, err
	}
	return cs.find(selector)
}

func (s *processService) start(ctx context.Context, r *agentpb.StartRequest) (*command, error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	sandbox.setting.RLock()
	defer sandbox.setting.RUnlock()
	in, err := sandbox.users.instance(userOf(ctx))
	if err != nil {
		return nil, err
	}
	return sandbox.commands.start(ctx, in, r)
}

func (s *processService) List(
	context.Context, *connect.Request[agentpb.ListRequest],
) (*connect.Response[agentpb.ListResponse], error) {
	cs, err := s.commands()
	if err != nil {
		return nil, err
	}
	cs.mu.Lock()
	all := make([]*command, 0, len(cs.known))
	for _, c := range cs.known {
		all = append(all, c)
	}
	cs.mu.Unlock()
	answer := new(agentpb.ListResponse)
	size := 0
	for _, c := range all {
		if c.finished() && c.stdout.over() {
			continue
		}
		config := c.info.Config
		if size += 256; size > agentpb.MaxMessage/2 {
			break
		}
		if n := len(fmt.Sprint(config.GetArgs())) + len(config.GetCmd()); n > 4096 || size+n > agentpb.MaxMessage/2 {
			config = &agentpb.ProcessConfig{Cmd: "(too long to be told)"}
		} else {
			config = &agentpb.ProcessConfig{Cmd: config.GetCmd(), Args: config.GetArgs(), Cwd: config.Cwd}
			size += n
		}
		info := &agentpb.ProcessInfo{
			Config: config, Pid: c.info.Pid, Tag: c.info.Tag, Pty: c.info.Pty, Stdin: c.info.Stdin, Spawned: c.currentStream() == nil,
			Process: c.number, StdoutOffset: uint64(c.stdout.offset()), Ended: c.finished(),
		}
		if c.stderr != nil {
			info.StderrOffset = uint64(c.stderr.offset())
		}
		answer.Processes = append(answer.Processes, info)
	}
	return connect.NewResponse(answer), nil
}

func (s *processService) Spawn(
	ctx context.Context, r *connect.Request[agentpb.StartRequest],
) (*connect.Response[agentpb.SpawnResponse], error) {
	c, err := s.start(ctx, r.Msg)
	if err != nil {
		return nil, told(err)
	}
	undoable(ctx, func() {
		_ = c.Signal(context.WithoutCancel(ctx), backends.Kill)
		c.closeOutputs()
	})
	return connect.NewResponse(&agentpb.SpawnResponse{Pid: c.info.Pid, Process: c.number}), nil
}

// which is the output that a request names.
func (c *command) which(o agentpb.Output) (*output, error) {
	switch {
	case o == agentpb.Output_OUTPUT_STDOUT:
		return c.stdout, nil
	case o == agentpb.Output_OUTPUT_STDERR && c.stderr != nil:
		return c.stderr, nil
	}
	return nil, fmt.Errorf("output: %w", backends.ErrNotFound)
}

func (s *processService) Read(
	ctx context.Context, r *connect.Request[agentpb.ReadRequest],
) (*connect.Response[agentpb.ReadResponse], error) {
	cs, err := s.commands()
	if err != nil {
		return nil, err
	}
	c, err := cs.numbered(r.Msg.Process)
	if err != nil {
		return nil, err
	}
	o, err := c.which(r.Msg.Output)
	if err != nil {
		return nil, err
	}
	data, err := o.read(ctx, int64(r.Msg.Offset), int(r.Msg.Max))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return connect.NewResponse(&agentpb.ReadResponse{Data: data}), nil
}

func (s *processService) CloseOutput(
	_ context.Context, r *connect.Request[agentpb.CloseOutputRequest],
) (*connect.Response[agentpb.CloseOutputResponse], error) {
	cs, err := s.commands()
	if err != nil {
		return nil, err
	}
	c, err := cs.numbered(r.Msg.Process)
	if err != nil {
		return nil, err
	}
	o, err := c.which(r.Msg.Output)
	if err != nil {
		return nil, err
	}
	o.close()
	return connect.NewResponse(&agentpb.CloseOutputResponse{}), nil
}

func (s *processService) Wait(
	ctx context.Context, r *connect.Request[agentpb.WaitRequest],
) (*connect.Response[agentpb.ExitStatus], error) {
	cs, err := s.commands()
	if err != nil {
		return nil, err
	}
	c, err := cs.numbered(r.Msg.Process)
	if err != nil {
		return nil, err
	}
	status, err := c.Wait(ctx)
	if err != nil {
		return nil, told(err)
	}
	return connect.NewResponse(agentpb.NewExitStatus(status)), nil
}

func (s *processService) SendInput(
	ctx context.Context, r *connect.Request[agentpb.SendInputRequest],
) (*connect.Response[agentpb.SendInputResponse], error) {
	c, err := s.find(r.Msg.Process)
	if err != nil {
		return nil, err
	}
	n, err := c.Write(ctx, inputOf(r.Msg.GetInput()))
	if err != nil && n == 0 {
		return nil, err
	}
	answer := &agentpb.SendInputResponse{Written: uint64(n)}
	if err != nil {
		answer.Fault = agentpb.NewFault(err)
	}
	return connect.NewResponse(answer), nil
}

func (s *processService) CloseStdin(
	_ context.Context, r *connect.Request[agentpb.CloseStdinRequest],
) (*connect.Response[agentpb.CloseStdinResponse], error) {
	c, err := s.find(r.Msg.Process)
	if err != nil {
		return nil, err
	}
	if err := c.CloseStdin(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.CloseStdinResponse{}), nil
}

func (s *processService) Update(
	ctx context.Context, r *connect.Request[agentpb.UpdateRequest],
) (*connect.Response[agentpb.UpdateResponse], error) {
	c, err := s.find(r.Msg.Process)
	if err != nil {
		return nil, err
	}
	if size := r.Msg.GetPty().GetSize(); size != nil {
		if err := c.Resize(ctx, backends.Size{Cols: int(size.Cols), Rows: int(size.Rows)}); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&agentpb.UpdateResponse{}), nil
}

func (s *processService) SendSignal(
	ctx context.Context, r *connect.Request[agentpb.SendSignalRequest],
) (*connect.Response[agentpb.SendSignalResponse], error) {
	c, err := s.find(r.Msg.Process)
	if err != nil {
		return nil, err
	}
	name := r.Msg.Name
	if name == "" {
		switch r.Msg.Signal {
		case agentpb.Signal_SIGNAL_SIGTERM:
			name = string(backends.Terminate)
		case agentpb.Signal_SIGNAL_SIGKILL:
			name = string(backends.Kill)
		case agentpb.Signal_SIGNAL_SIGINT:
			name = string(backends.Interrupt)
		default:
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("no signal"))
		}
	}
	if err := c.Signal(ctx, backends.Signal(name)); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.SendSignalResponse{}), nil
}
