package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// What is here is E2B's way: outputs and events as streams. Package remote does not use it.

// stream tells all who listen what a command prints. The command waits for the slowest of them, and for nobody when there is none.
type stream struct {
	c    *command
	over chan struct{} // closed when end is set
	end  *agentpb.ProcessEvent_EndEvent

	mu        sync.Mutex // guards listeners
	listeners map[*listener]bool
}

// listener is one who listens.
type listener struct {
	events chan *agentpb.ProcessEvent_DataEvent
	gone   <-chan struct{}
}

// Bounds of streams.
const (
	streamChunk    = 32 << 10 // bytes of one event
	streamBacklog  = 16       // events
	streamGrace    = 2 * time.Second
	maxListeners   = 64
	keepaliveEvery = 90 * time.Second
)

func (s *stream) listen(ctx context.Context) (*listener, error) {
	l := &listener{events: make(chan *agentpb.ProcessEvent_DataEvent, streamBacklog), gone: ctx.Done()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listeners) >= maxListeners {
		return nil, fmt.Errorf("%w: %d listen to the command", backends.ErrNoSpace, maxListeners)
	}
	s.listeners[l] = true
	return l, nil
}

func (s *stream) leave(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *stream) tell(event *agentpb.ProcessEvent_DataEvent) {
	s.mu.Lock()
	all := make([]*listener, 0, len(s.listeners))
	for l := range s.listeners {
		all = append(all, l)
	}
	s.mu.Unlock()
	for _, l := range all {
		select {
		case l.events <- event:
		case <-l.gone:
		}
	}
}

// run reads the outputs to their ends, or a little longer than the program lives, whose children may hold them open.
func (s *stream) run() {
	defer close(s.over)
	life, stop := context.WithCancel(context.Background())
	defer stop()
	var reading sync.WaitGroup
	for _, o := range []*output{s.c.stdout, s.c.stderr} {
		if o != nil {
			reading.Go(func() { s.pump(life, o) })
		}
	}
	status, err := s.c.Wait(life)
	grace := time.AfterFunc(streamGrace, stop)
	reading.Wait()
	grace.Stop()
	s.c.closeOutputs()
	s.end = endEvent(status, err)
}

func (s *stream) pump(ctx context.Context, o *output) {
	for offset := int64(0); ; {
		data, err := o.read(ctx, offset, streamChunk)
		if err != nil {
			return
		}
		offset += int64(len(data))
		event := new(agentpb.ProcessEvent_DataEvent)
		switch {
		case o == s.c.stderr:
			event.Output = &agentpb.ProcessEvent_DataEvent_Stderr{Stderr: data}
		case s.c.info.Pty:
			event.Output = &agentpb.ProcessEvent_DataEvent_Pty{Pty: data}
		default:
			event.Output = &agentpb.ProcessEvent_DataEvent_Stdout{Stdout: data}
		}
		s.tell(event)
	}
}

// signals are their names as E2B says them.
var signals = map[string]string{
	"SIGKILL": "killed", "SIGTERM": "terminated", "SIGINT": "interrupt", "SIGHUP": "hangup", "SIGPIPE": "broken pipe",
}

func endEvent(status backends.ExitStatus, err error) *agentpb.ProcessEvent_EndEvent {
	end := &agentpb.ProcessEvent_EndEvent{
		ExitCode: int32(status.Code), Exited: err == nil && status.Signal == "", Status: fmt.Sprint("exit status ", status.Code),
		Exit: agentpb.NewExitStatus(status),
	}
	switch {
	case err != nil:
		end.ExitCode, end.Status = -1, err.Error()
	case status.Signal != "":
		end.Status = "signal: " + status.Signal
		if name := signals[status.Signal]; name != "" {
			end.Status = "signal: " + name
		}
	}
	if end.ExitCode != 0 {
		end.Error = &end.Status
	}
	return end
}

// follow sends the events of a stream until its end.
func (s *stream) follow(ctx context.Context, l *listener, every time.Duration, send func(*agentpb.ProcessEvent) error) error {
	defer s.leave(l)
	start := &agentpb.ProcessEvent_StartEvent{Pid: s.c.info.Pid}
	if err := send(&agentpb.ProcessEvent{Event: &agentpb.ProcessEvent_Start{Start: start}}); err != nil {
		return err
	}
	quiet := time.NewTimer(every)
	defer quiet.Stop()
	over := s.over
	for {
		event := &agentpb.ProcessEvent{}
		select {
		case data := <-l.events:
			event.Event = &agentpb.ProcessEvent_Data{Data: data}
		case <-over:
			select {
			case data := <-l.events: // before the end
				event.Event = &agentpb.ProcessEvent_Data{Data: data}
			default:
				return send(&agentpb.ProcessEvent{Event: &agentpb.ProcessEvent_End{End: s.end}})
			}
		case <-quiet.C:
			event.Event = &agentpb.ProcessEvent_Keepalive{Keepalive: &agentpb.ProcessEvent_KeepAlive{}}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := send(event); err != nil {
			return err
		}
		quiet.Reset(every)
	}
}

// keepalive is how often a stream is to say something.
func keepalive(header http.Header) time.Duration {
	if n, err := strconv.Atoi(header.Get("Keepalive-Ping-Interval")); err == nil && n > 0 && n < 86_400 {
		return time.Duration(n) * time.Second
	}
	return keepaliveEvery
}

// Start starts a program and tells what it prints. It runs on when the host goes.
func (s *processService) Start(
	ctx context.Context, r *connect.Request[agentpb.StartRequest], out *connect.ServerStream[agentpb.StartResponse],
) error {
	c, err := s.start(ctx, r.Msg)
	if err != nil {
		return told(err)
	}
	one := &stream{c: c, over: make(chan struct{}), listeners: make(map[*listener]bool)}
	l, err := one.listen(ctx)
	if err != nil {
		return err
	}
	c.setStream(one)
	s.d.work.Go(one.run)
	return one.follow(ctx, l, keepalive(r.Header()), func(event *agentpb.ProcessEvent) error {
		return out.Send(&agentpb.StartResponse{Event: event})
	})
}

// Connect tells what a program of Start prints from now on.
func (s *processService) Connect(
	ctx context.Context, r *connect.Request[agentpb.ConnectRequest], out *connect.ServerStream[agentpb.ConnectResponse],
) error {
	c, err := s.find(r.Msg.Process)
	if err != nil {
		return err
	}
	one := c.currentStream()
	if one == nil {
		return fmt.Errorf("listen to a command of Spawn: %w", backends.ErrUnsupported)
	}
	l, err := one.listen(ctx)
	if err != nil {
		return err
	}
	return one.follow(ctx, l, keepalive(r.Header()), func(event *agentpb.ProcessEvent) error {
		return out.Send(&agentpb.ConnectResponse{Event: event})
	})
}

// StreamInput writes to a program's standard input.
func (s *processService) StreamInput(
	ctx context.Context, in *connect.ClientStream[agentpb.StreamInputRequest],
) (*connect.Response[agentpb.StreamInputResponse], error) {
	var c *command
	for in.Receive() {
		switch event := in.Msg().Event.(type) {
		case *agentpb.StreamInputRequest_Start:
			found, err := s.find(event.Start.Process)
			if err != nil {
				return nil, err
			}
			c = found
		case *agentpb.StreamInputRequest_Data:
			if c == nil {
				return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("data before start"))
			}
			if _, err := c.Write(ctx, inputOf(event.Data.Input)); err != nil {
				return nil, err
			}
		}
	}
	if err := in.Err(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return connect.NewResponse(&agentpb.StreamInputResponse{}), nil
}

func inputOf(x *agentpb.ProcessInput) []byte {
	if data := x.GetPty(); data != nil {
		return data
	}
	return x.GetStdin()
}

// WatchDir tells what changes in a folder.
func (s *filesService) WatchDir(
	ctx context.Context, r *connect.Request[agentpb.WatchDirRequest], out *connect.ServerStream[agentpb.WatchDirResponse],
) error {
	files, workspace, err := s.d.files(ctx)
	if err != nil {
		return err
	}
	watch, err := files.Watch(ctx, r.Msg.Path, &backends.WatchOptions{Recursive: r.Msg.Recursive, Entry: r.Msg.IncludeEntry})
	if err != nil {
		return err
	}
	defer func() { _ = watch.Close() }()
	response := &agentpb.WatchDirResponse{Event: &agentpb.WatchDirResponse_Start{Start: &agentpb.WatchDirResponse_StartEvent{}}}
	every := keepalive(r.Header())
	for {
		if err := out.Send(response); err != nil {
			return err
		}
		quiet, cancel := context.WithTimeout(ctx, every)
		event, err := watch.Next(quiet)
		cancel()
		switch {
		case err == nil:
			response = &agentpb.WatchDirResponse{Event: &agentpb.WatchDirResponse_Filesystem{
				Filesystem: agentpb.NewEvent(workspace, &event),
			}}
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			response = &agentpb.WatchDirResponse{Event: &agentpb.WatchDirResponse_Keepalive{
				Keepalive: &agentpb.WatchDirResponse_KeepAlive{},
			}}
		default:
			return err
		}
	}
}
