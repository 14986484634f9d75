package envd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// feed brings what a command prints from its start on to the request that has started it. The command waits for the request as long as
// that is there.
type feed struct {
	pieces chan sandbox.CommandMessage
	gone   <-chan struct{} // closed when nobody takes pieces any more
	killed <-chan struct{} // closed when the sandbox is; the request may be waiting for its client then
	ended  <-chan struct{} // closed when no piece is to come
}

func (f *feed) stdout(data []byte) { f.give(sandbox.CommandMessage{Data: data}) }

func (f *feed) stderr(data []byte) { f.give(sandbox.CommandMessage{Data: data, Stderr: true}) }

func (f *feed) give(m sandbox.CommandMessage) {
	m.Data = append([]byte(nil), m.Data...) // it is ours during the call only
	select {
	case f.pieces <- m:
	case <-f.gone:
	case <-f.killed:
	}
}

// Next is as that of sandbox.CommandOutput.
func (f *feed) Next(ctx context.Context) (sandbox.CommandMessage, error) {
	select {
	case m := <-f.pieces:
		return m, nil
	case <-f.ended:
		return sandbox.CommandMessage{}, io.EOF
	case <-ctx.Done():
		return sandbox.CommandMessage{}, context.Cause(ctx)
	}
}

// source is where the output of a command comes from.
type source interface {
	Next(ctx context.Context) (sandbox.CommandMessage, error)
}

func (s *processes) Start(
	ctx context.Context, r *connect.Request[envdpb.StartRequest], out *connect.ServerStream[envdpb.StartResponse],
) error {
	gone, leave := context.WithCancel(context.Background())
	defer leave()
	f := &feed{pieces: make(chan sandbox.CommandMessage), gone: gone.Done(), killed: fleet.From(ctx).Gone()}
	cmd, err := s.start(ctx, r, f)
	if err != nil {
		return err
	}
	defer killAt(ctx, cmd)()
	f.ended = cmd.Done() // which comes after the last callback
	return tell(ctx, cmd, f, keepalivePeriod(r.Header()), func(e *envdpb.ProcessEvent) error {
		return out.Send(&envdpb.StartResponse{Event: e})
	})
}

// killAt has a command killed when the time of the request is over that has started it, also when the client is gone by then. The
// function is for the request's end.
func killAt(ctx context.Context, cmd *sandbox.Command) (leave func()) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return func() {}
	}
	end := func() {
		if !hasExited(cmd) { // else what it has left behind lives on, as without a deadline
			_ = kill(context.WithoutCancel(ctx), cmd)
		}
	}
	timer := time.AfterFunc(time.Until(deadline), end)
	return func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			end() // who hears of it is to find it gone
		}
		if hasExited(cmd) {
			timer.Stop()
		}
	}
}

func (s *processes) Connect(
	ctx context.Context, r *connect.Request[envdpb.ConnectRequest], out *connect.ServerStream[envdpb.ConnectResponse],
) error {
	cmd, err := find(ctx, r.Msg.Process)
	if err != nil {
		return err
	}
	output := cmd.Follow()
	defer func() { _ = output.Close() }()
	return tell(ctx, cmd, output, keepalivePeriod(r.Header()), func(e *envdpb.ProcessEvent) error {
		return out.Send(&envdpb.ConnectResponse{Event: e})
	})
}

// tell sends what a command prints, until its end or that of ctx.
func tell(
	ctx context.Context, cmd *sandbox.Command, from source, quiet time.Duration, send func(*envdpb.ProcessEvent) error,
) error {
	terminal := cmd.Info().Terminal
	started := &envdpb.ProcessEvent_StartEvent{Pid: uint32(cmd.PID())}
	if err := send(&envdpb.ProcessEvent{Event: &envdpb.ProcessEvent_Start{Start: started}}); err != nil {
		return err
	}
	for {
		waiting, cancel := context.WithTimeout(ctx, quiet)
		piece, err := from.Next(waiting)
		cancel()
		switch {
		case err == nil:
			err = sendData(piece, terminal, send)
		case ctx.Err() != nil: // which may have been the end of the command
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return sendEnd(ctx, cmd, send)
		case errors.Is(err, context.DeadlineExceeded):
			err = send(&envdpb.ProcessEvent{Event: &envdpb.ProcessEvent_Keepalive{Keepalive: &envdpb.ProcessEvent_KeepAlive{}}})
		}
		if err != nil {
			return err
		}
	}
}

// maxTerminalData is how much of a terminal's output is sent at once, bytes. That of others comes in pieces of 32 KiB at most.
const maxTerminalData = 16 << 10

func sendData(piece sandbox.CommandMessage, terminal bool, send func(*envdpb.ProcessEvent) error) error {
	for data := piece.Data; len(data) > 0; {
		part := data
		if terminal {
			part = data[:min(len(data), maxTerminalData)]
		}
		data = data[len(part):]
		event := new(envdpb.ProcessEvent_DataEvent)
		switch {
		case terminal:
			event.Output = &envdpb.ProcessEvent_DataEvent_Pty{Pty: part}
		case piece.Stderr:
			event.Output = &envdpb.ProcessEvent_DataEvent_Stderr{Stderr: part}
		default:
			event.Output = &envdpb.ProcessEvent_DataEvent_Stdout{Stdout: part}
		}
		if err := send(&envdpb.ProcessEvent{Event: &envdpb.ProcessEvent_Data{Data: event}}); err != nil {
			return err
		}
	}
	return nil
}

// sendEnd tells how a command ended.
func sendEnd(ctx context.Context, cmd *sandbox.Command, send func(*envdpb.ProcessEvent) error) error {
	result, err := cmd.Wait(ctx)
	var ended *sandbox.CommandExitError
	if err != nil && !errors.As(err, &ended) {
		return err // its time was over, or the sandbox's
	}
	return send(&envdpb.ProcessEvent{Event: &envdpb.ProcessEvent_End{End: newEnd(result)}})
}

// signals are their names in the protocol's words.
var signals = map[string]string{
	"SIGKILL": "killed", "SIGTERM": "terminated", "SIGINT": "interrupt", "SIGHUP": "hangup", "SIGQUIT": "quit", "SIGPIPE": "broken pipe",
	"SIGSEGV": "segmentation fault", "SIGABRT": "aborted", "SIGXFSZ": "file size limit exceeded",
}

func newEnd(result *sandbox.CommandResult) *envdpb.ProcessEvent_EndEvent {
	end := &envdpb.ProcessEvent_EndEvent{
		ExitCode: int32(result.ExitCode), Exited: result.Signal == "", Status: fmt.Sprint("exit status ", result.ExitCode),
	}
	if result.Signal != "" {
		end.Status = "signal: " + result.Signal
		if name := signals[result.Signal]; name != "" {
			end.Status = "signal: " + name
		}
	}
	if result.ExitCode != 0 {
		text := end.Status
		if result.Limit != nil {
			text += ": " + result.Limit.Error()
		}
		end.Error = &text
	}
	return end
}
