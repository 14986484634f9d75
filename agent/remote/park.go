package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Park has the kernel make a copy of itself. ask gets the path of a socket as the kernel sees it.
func (k *kernelProcess) Park(
	ctx context.Context, ask func(ctx context.Context, socket string) (pid int, err error),
) (backends.Parked, error) {
	if err := k.in.gone(); err != nil {
		return nil, err
	}
	if err := k.in.c.ready(ctx); err != nil {
		return nil, err
	}
	s, err := k.in.c.current(ctx)
	if err != nil {
		return nil, err
	}
	number, err := k.park(ctx, s, ask)
	if err != nil && number != 0 { // the agent may have heard that we have it
		k.in.c.afterwards(func(ctx context.Context) {
			_, _ = call(ctx, k.in.c, change, k.in.c.kernel.CloseParked, &agentpb.CloseParkedRequest{Parked: number})
		})
	}
	switch {
	case err == nil:
		return &parked{in: k.in, spec: k.spec.Name, number: number, maxFrame: k.maxFrame}, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	if err = k.in.c.verdict(s, err); errors.Is(err, errBroken) {
		err = ErrLost // a copy half made is of no use to anybody
	}
	return nil, err
}

// park is the exchange about a copy. With an error it may return a number too, of a copy that is not ours for certain.
func (k *kernelProcess) park(ctx context.Context, s *session, ask func(context.Context, string) (int, error)) (uint64, error) {
	own, cancel := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), sessionKey{}, s))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	stream := k.in.c.kernel.Park(own)
	defer func() {
		cancel()
		_ = stream.CloseRequest()
		_ = stream.CloseResponse()
	}()
	// What Send says is of no interest: Receive tells why the stream ended.
	_ = stream.Send(&agentpb.ParkRequest{Event: &agentpb.ParkRequest_Kernel{Kernel: k.id}})
	answer, err := stream.Receive()
	if err != nil {
		return 0, err
	}
	socket := answer.GetSocket()
	if socket == "" || len(socket) > 256 {
		return 0, fmt.Errorf("remote: %w: copy without a socket", ErrProtocol)
	}
	pid, refused := ask(ctx, socket)
	next := &agentpb.ParkRequest{Event: &agentpb.ParkRequest_Pid{Pid: int64(pid)}}
	if refused != nil {
		next.Event = &agentpb.ParkRequest_Refused{Refused: short(refused.Error())}
	}
	_ = stream.Send(next)
	answer, err = stream.Receive()
	switch {
	case refused != nil:
		return 0, refused
	case err != nil:
		return 0, err
	case answer.GetParked() == 0:
		return 0, fmt.Errorf("remote: %w: copy without a name", ErrProtocol)
	}
	number := answer.GetParked()
	_ = stream.CloseRequest() // which says that we have it
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		return number, cmp.Or(err, ErrProtocol)
	}
	return number, nil
}

// parked is a copy of a kernel that waits there.
type parked struct {
	in       *Instance
	spec     string
	number   uint64
	maxFrame int64
}

// Wake makes the copy a kernel of its own instance.
func (p *parked) Wake(ctx context.Context, cfg backends.WakeConfig) (backends.KernelProcess, error) {
	if err := p.in.gone(); err != nil {
		return nil, err
	}
	if cfg.Into != nil && cfg.Into != backends.Instance(p.in) {
		return nil, fmt.Errorf("wake into another instance: %w", backends.ErrUnsupported)
	}
	maxFrame := cfg.MaxFrame
	if maxFrame <= 0 {
		maxFrame = p.maxFrame
	}
	info, err := call(ctx, p.in.c, start, p.in.c.kernel.Wake, &agentpb.WakeRequest{
		Parked: p.number, Last: cfg.Last, Fresh: cfg.Fresh, MaxFrame: maxFrame,
	})
	if err != nil {
		return nil, err
	}
	return p.in.newKernel(info, maxFrame)
}

// Close ends the copy.
func (p *parked) Close(ctx context.Context) error {
	if p.in.gone() != nil {
		return nil
	}
	_, err := call(ctx, p.in.c, change, p.in.c.kernel.CloseParked, &agentpb.CloseParkedRequest{Parked: p.number})
	if err != nil && p.in.lost(err) {
		return nil
	}
	return wrap("close copy", err)
}
