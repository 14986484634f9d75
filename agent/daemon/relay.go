package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// relay is one stream between a host and a kernel.
type relay struct {
	k      *kernel
	stream *connect.BidiStream[agentpb.RelayRequest, agentpb.RelayResponse]
	turn   uint64
	from   uint64
	acked  uint64 // the last of the host's messages that it was told was passed on
}

// endPatience is how long the end of a process is waited for whose sockets have ended.
const endPatience = 2 * time.Second

// What the host sends is acknowledged beside an answer of the kernel, or when so much has gathered, or after a while: an
// acknowledgement alone travels as far as an answer, and before it.
const (
	ackMessages = 64
	ackDelay    = 20 * time.Millisecond
)

// Relay joins a host and a kernel.
func (s *kernelService) Relay(
	ctx context.Context, stream *connect.BidiStream[agentpb.RelayRequest, agentpb.RelayResponse],
) error {
	request, err := stream.Receive()
	if err != nil {
		return err
	}
	open := request.GetOpen()
	if open == nil || len(open.Client) > 64 {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("the first request of a relay is open"))
	}
	k, err := s.find(open.Kernel)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &relay{k: k, stream: stream, from: max(open.From, 1)}
	r.turn, r.acked = k.attach(open.Client, cancel)
	select {
	case <-k.linked:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if k.linkErr != nil {
		return told(k.linkErr)
	}
	if r.from > 1 {
		k.queue.ack(r.from - 1)
	}
	r.from = k.queue.first(r.from)
	if err := stream.Send(&agentpb.RelayResponse{Opened: &agentpb.Opened{Received: r.acked, Next: r.from}}); err != nil {
		return err
	}
	go func() { cancel(r.receive(ctx)) }() // it ends with the request's body, which is closed when we return
	return r.send(ctx)
}

// attach makes a relay the kernel's only one, and tells the last message that this host has sent before.
func (k *kernel) attach(client string, over context.CancelCauseFunc) (turn, received uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over != nil {
		k.over(agentpb.ErrTakenOver)
	}
	k.over = over
	k.turn++
	if client == "" || client != k.client {
		k.client, k.received = client, 0
	}
	return k.turn, k.received
}

// accept takes a message of the host's, unless another relay has begun.
func (k *kernel) accept(ctx context.Context, turn uint64, w *agentpb.Whole) error {
	outlet := k.outlets[w.Channel]
	if outlet == nil {
		return fmt.Errorf("%w: nothing can be sent on %s", agentpb.ErrChunk, w.Channel)
	}
	k.mu.Lock()
	expected := k.received + 1
	k.mu.Unlock()
	if w.Number < expected {
		return nil // it came before the stream broke
	}
	if w.Number > expected {
		return fmt.Errorf("%w: message %d where %d was due", agentpb.ErrChunk, w.Number, expected)
	}
	select {
	case outlet <- w.Frames:
	default: // the kernel does not read
		select {
		case outlet <- w.Frames:
		case <-k.link.Ended():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.turn == turn {
		k.received = w.Number
		rouse(&k.acked)
	}
	return nil
}

// receive takes what the host sends.
func (r *relay) receive(ctx context.Context) error {
	parts := agentpb.Assembler{Max: r.k.info.MaxFrame}
	for {
		request, err := r.stream.Receive()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return context.Canceled
			}
			return err
		}
		switch event := request.Event.(type) {
		case *agentpb.RelayRequest_Ack:
			r.k.queue.ack(event.Ack)
		case *agentpb.RelayRequest_Chunk:
			if request.Meter != nil {
				r.k.measure(ctx, request.Meter)
			}
			whole, err := parts.Add(event.Chunk)
			if err == nil && whole != nil {
				err = r.k.accept(ctx, r.turn, whole)
			}
			if err != nil {
				return connect.NewError(connect.CodeInvalidArgument, err)
			}
		default:
			return connect.NewError(connect.CodeInvalidArgument, errors.New("unknown request of a relay"))
		}
	}
}

// send tells the host what the kernel says, until its end.
func (r *relay) send(ctx context.Context) error {
	defer r.k.queue.idle()
	late := time.NewTimer(ackDelay)
	defer late.Stop()
	for due := false; ; {
		received, acked := r.received()
		batch, more, ended := r.k.queue.batch(r.from, agentpb.MaxChunk)
		switch {
		case len(batch) > 0:
			due = false
			if err := r.tell(batch, received); err != nil {
				return err
			}
			continue
		case ended:
			return r.end(ctx)
		case received > r.acked && (due || received >= r.acked+ackMessages):
			r.acked, due = received, false
			if err := r.stream.Send(&agentpb.RelayResponse{Ack: received}); err != nil {
				return err
			}
			continue
		}
		var timer <-chan time.Time
		if received > r.acked {
			late.Reset(ackDelay)
			timer = late.C
		}
		select {
		case <-more:
		case <-acked:
		case <-timer:
			due = true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// received is the last message of the host's that was passed on, and a channel that tells when there are others.
func (r *relay) received() (uint64, <-chan struct{}) {
	r.k.mu.Lock()
	defer r.k.mu.Unlock()
	return r.k.received, attend(&r.k.acked)
}

// tell sends messages.
func (r *relay) tell(batch []entry, received uint64) error {
	response := &agentpb.RelayResponse{Usage: r.k.untold()}
	if received > r.acked {
		r.acked, response.Ack = received, received
	}
	for _, e := range batch {
		r.from = e.last() + 1
		if e.frames == nil {
			response.Dropped = &agentpb.Dropped{Number: e.number, Messages: e.count, Bytes: uint64(e.size)}
			continue
		}
		chunks, err := agentpb.Split(e.number, agentpb.NewChannel(e.channel), e.frames)
		if err != nil {
			return err
		}
		for _, chunk := range chunks[:len(chunks)-1] {
			response.Chunks = append(response.Chunks, chunk)
			if err := r.stream.Send(response); err != nil {
				return err
			}
			response = new(agentpb.RelayResponse)
		}
		response.Chunks = append(response.Chunks, chunks[len(chunks)-1])
	}
	return r.stream.Send(response)
}

// end tells that nothing more is to come.
func (r *relay) end(ctx context.Context) error {
	timer := time.NewTimer(endPatience)
	defer timer.Stop()
	end := &agentpb.RelayEnd{Reason: r.k.link.Err().Error()}
	select {
	case <-r.k.gone:
		if r.k.waitErr == nil {
			end.Status = agentpb.NewExitStatus(r.k.status)
		}
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return r.stream.Send(&agentpb.RelayResponse{End: end})
}

// Park has a kernel make a copy of itself.
func (s *kernelService) Park(ctx context.Context, stream *connect.BidiStream[agentpb.ParkRequest, agentpb.ParkResponse]) error {
	sandbox, err := s.d.current()
	if err != nil {
		return err
	}
	ks := sandbox.kernels
	request, err := stream.Receive()
	if err != nil {
		return err
	}
	k, err := ks.find(request.GetKernel())
	if err != nil {
		return err
	}
	brancher, ok := k.Relayed.(backends.Brancher)
	if !ok {
		return fmt.Errorf("copy a kernel: %w", backends.ErrUnsupported)
	}
	ks.mu.Lock()
	full := len(ks.parked) >= maxParked
	ks.mu.Unlock()
	if full {
		return fmt.Errorf("copy a kernel: %w: close some of the %d copies first", backends.ErrNoSpace, maxParked)
	}
	parked, err := brancher.Park(ctx, func(_ context.Context, socket string) (int, error) {
		if err := stream.Send(&agentpb.ParkResponse{Event: &agentpb.ParkResponse_Socket{Socket: socket}}); err != nil {
			return 0, err
		}
		answer, err := stream.Receive()
		if err != nil {
			return 0, err
		}
		if refused := answer.GetRefused(); refused != "" {
			return 0, errors.New(refused)
		}
		return int(answer.GetPid()), nil
	})
	if err != nil {
		return told(err)
	}
	ks.mu.Lock()
	number := ks.number()
	ks.parked[number] = parked
	ks.mu.Unlock()
	_ = stream.Send(&agentpb.ParkResponse{Event: &agentpb.ParkResponse_Parked{Parked: number}})
	// The host closes its side when it has heard. Else the copy would be nobody's.
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		unheard := errors.New("copy a kernel: the host did not say that it has it")
		return errors.Join(unheard, err, ks.closeParked(context.WithoutCancel(ctx), number))
	}
	return nil
}

func (ks *kernels) copyOf(number uint64, take bool) (backends.Parked, error) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	parked := ks.parked[number]
	if parked == nil {
		return nil, fmt.Errorf("copy was used up or closed: %w", backends.ErrNotFound)
	}
	if take {
		delete(ks.parked, number)
	}
	return parked, nil
}

// Wake makes a copy a kernel.
func (s *kernelService) Wake(
	ctx context.Context, r *connect.Request[agentpb.WakeRequest],
) (*connect.Response[agentpb.KernelInfo], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	parked, err := sandbox.kernels.copyOf(r.Msg.Parked, r.Msg.Last)
	if err != nil {
		return nil, err
	}
	process, err := parked.Wake(ctx, backends.WakeConfig{Last: r.Msg.Last, Fresh: r.Msg.Fresh, MaxFrame: r.Msg.MaxFrame})
	if err != nil {
		return nil, err
	}
	return s.started(ctx, sandbox, process, r.Msg.MaxFrame)
}

// CloseParked ends a copy; one that is gone is no error.
func (s *kernelService) CloseParked(
	ctx context.Context, r *connect.Request[agentpb.CloseParkedRequest],
) (*connect.Response[agentpb.CloseParkedResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	if err := sandbox.kernels.closeParked(ctx, r.Msg.Parked); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.CloseParkedResponse{}), nil
}

func (ks *kernels) closeParked(ctx context.Context, number uint64) error {
	parked, err := ks.copyOf(number, true)
	if err != nil {
		return nil //nolint:nilerr // it is gone
	}
	return parked.Close(ctx)
}
