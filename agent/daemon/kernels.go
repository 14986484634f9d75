package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// kernels are those of the sandbox, and what belongs to them.
type kernels struct {
	life   context.Context
	in     *agent.Instance
	budget int64
	work   sync.WaitGroup // one for each kernel that is linked

	mu     sync.Mutex // guards what follows
	known  map[string]*kernel
	ended  []string // the oldest first
	parked map[uint64]backends.Parked
	meters map[uint64]backends.Meter
	next   uint64
	closed bool
}

// How many are remembered. Kernels that live are not bounded here but by what the container may use.
const (
	maxEndedKernels = 32
	maxParked       = 256
	maxMeters       = 1024
)

// kernel is one kernel with what it said.
type kernel struct {
	agent.Relayed
	info    *agentpb.KernelInfo
	queue   *queue
	outlets map[messaging.Channel]chan [][]byte

	linked  chan struct{} // closed when link or linkErr is set
	link    *zmtp.Link
	linkErr error
	gone    chan struct{} // closed when the process has ended and status is set
	status  backends.ExitStatus
	waitErr error

	mu       sync.Mutex // guards what follows
	client   string     // the host that opened a relay last
	received uint64     // the last of its messages that was passed on
	turn     uint64     // counts relays
	over     context.CancelCauseFunc
	acked    chan struct{} // see attend; tells that received has changed
}

func newKernels(life context.Context, in *agent.Instance, budget int64) *kernels {
	return &kernels{
		life: life, in: in, budget: budget, known: make(map[string]*kernel),
		parked: make(map[uint64]backends.Parked), meters: make(map[uint64]backends.Meter),
	}
}

// add takes a kernel that was started, and connects to it.
func (ks *kernels) add(process backends.KernelProcess, maxFrame int64) (*kernel, error) {
	relayed, ok := process.(agent.Relayed)
	if !ok {
		return nil, fmt.Errorf("relay kernel: %w", backends.ErrUnsupported)
	}
	spec, err := agentpb.NewKernelSpec(relayed.Spec())
	if err != nil {
		return nil, err
	}
	if maxFrame <= 0 {
		maxFrame = zmtp.DefaultMaxFrame
	}
	key, scheme := relayed.Key()
	k := &kernel{
		Relayed: relayed, queue: newQueue(ks.budget), linked: make(chan struct{}), gone: make(chan struct{}),
		outlets: make(map[messaging.Channel]chan [][]byte),
		info: &agentpb.KernelInfo{
			Id: relayed.ID(), Spec: spec, StartKind: string(relayed.StartKind()), Pid: int64(relayed.PID()),
			Key: key, SignatureScheme: scheme, MaxFrame: maxFrame,
		},
	}
	for _, channel := range []messaging.Channel{messaging.Shell, messaging.Control, messaging.Stdin} {
		k.outlets[channel] = make(chan [][]byte, outletSize)
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if ks.closed {
		return nil, backends.ErrDestroyed
	}
	ks.known[k.info.Id] = k
	ks.work.Go(func() { ks.follow(k) })
	return k, nil
}

// outletSize bounds the messages to a kernel that does not read.
const outletSize = 64

// follow connects to the kernel, queues what it says until its end, and notes how it ended.
func (ks *kernels) follow(k *kernel) {
	k.link, k.linkErr = k.Link(ks.life)
	close(k.linked)
	var senders sync.WaitGroup
	if k.linkErr == nil {
		k.link.Begin(k.queue.push, k.queue.skip)
		sending, stop := context.WithCancel(ks.life)
		for channel, outlet := range k.outlets {
			senders.Go(func() { k.send(sending, channel, outlet) })
		}
		select {
		case <-k.link.Ended():
		case <-ks.life.Done():
		}
		stop()
	}
	k.queue.close() // before the link, whose readers may wait for room
	if k.linkErr == nil {
		_ = k.link.Close()
	}
	senders.Wait()
	k.status, k.waitErr = k.Wait(ks.life)
	close(k.gone)
	ks.mu.Lock()
	defer ks.mu.Unlock()
	ks.ended = append(ks.ended, k.info.Id)
	if len(ks.ended) > maxEndedKernels {
		if oldest := ks.known[ks.ended[0]]; oldest != nil {
			oldest.queue.forget()
			delete(ks.known, ks.ended[0])
		}
		ks.ended = ks.ended[1:]
	}
}

// send passes on what the host has for one channel.
func (k *kernel) send(ctx context.Context, channel messaging.Channel, outlet <-chan [][]byte) {
	for {
		select {
		case frames := <-outlet:
			_ = k.link.Send(ctx, channel, frames) // its end is told by other means
		case <-ctx.Done():
			return
		}
	}
}

func (ks *kernels) find(id string) (*kernel, error) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	k := ks.known[id]
	if k == nil {
		return nil, fmt.Errorf("kernel %.40q: %w", id, backends.ErrNotFound)
	}
	return k, nil
}

func (ks *kernels) list() []*agentpb.KernelInfo {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	var infos []*agentpb.KernelInfo
	for _, k := range ks.known {
		select {
		case <-k.gone:
		default:
			infos = append(infos, k.info)
		}
	}
	return infos
}

// number gives out a name for a copy or a meter; mu is held.
func (ks *kernels) number() uint64 {
	ks.next++
	return ks.next
}

// close waits for all kernels, which have been ended.
func (ks *kernels) close() {
	ks.mu.Lock()
	ks.closed = true
	ks.mu.Unlock()
	ks.work.Wait()
}

// kernelService is the service Kernel, but for Relay and Park.
type kernelService struct{ d *Daemon }

var _ agentpb.KernelHandler = (*kernelService)(nil)

func (s *kernelService) find(id string) (*kernel, error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	return sandbox.kernels.find(id)
}

func (s *kernelService) StartKernel(
	ctx context.Context, r *connect.Request[agentpb.StartKernelRequest],
) (*connect.Response[agentpb.KernelInfo], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	sandbox.setting.RLock()
	process, err := sandbox.instance.StartKernel(ctx, backends.KernelConfig{
		Name: r.Msg.Name, Dir: r.Msg.Dir, Env: r.Msg.Env, MaxFrame: r.Msg.MaxFrame,
	})
	sandbox.setting.RUnlock()
	if err != nil {
		return nil, err
	}
	return s.started(ctx, sandbox, process, r.Msg.MaxFrame)
}

// started answers with a kernel, which is ended should nobody want it.
func (s *kernelService) started(
	ctx context.Context, sandbox *sandbox, process backends.KernelProcess, maxFrame int64,
) (*connect.Response[agentpb.KernelInfo], error) {
	end := func() { _ = process.Signal(context.WithoutCancel(ctx), backends.Kill) }
	k, err := sandbox.kernels.add(process, maxFrame)
	if err != nil {
		end()
		return nil, err
	}
	undoable(ctx, end)
	return connect.NewResponse(k.info), nil
}

func (s *kernelService) ListKernels(
	context.Context, *connect.Request[agentpb.ListKernelsRequest],
) (*connect.Response[agentpb.ListKernelsResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.ListKernelsResponse{Kernels: sandbox.kernels.list()}), nil
}

func (s *kernelService) SignalKernel(
	ctx context.Context, r *connect.Request[agentpb.SignalKernelRequest],
) (*connect.Response[agentpb.SignalKernelResponse], error) {
	k, err := s.find(r.Msg.Kernel)
	if err != nil {
		return nil, err
	}
	if err := k.Signal(ctx, backends.Signal(r.Msg.Signal)); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.SignalKernelResponse{}), nil
}

func (s *kernelService) WaitKernel(
	ctx context.Context, r *connect.Request[agentpb.WaitKernelRequest],
) (*connect.Response[agentpb.ExitStatus], error) {
	k, err := s.find(r.Msg.Kernel)
	if err != nil {
		return nil, err
	}
	status, err := k.Wait(ctx)
	if err != nil {
		return nil, told(err)
	}
	return connect.NewResponse(agentpb.NewExitStatus(status)), nil
}

// told puts an error of package agent in words that the host knows.
func told(err error) error {
	if errors.Is(err, agent.ErrKeeperDied) {
		return agentpb.ErrKeeperDied
	}
	return err
}

func (s *kernelService) Diagnose(
	ctx context.Context, r *connect.Request[agentpb.DiagnoseRequest],
) (*connect.Response[agentpb.DiagnoseResponse], error) {
	k, err := s.find(r.Msg.Kernel)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.DiagnoseResponse{Text: k.Diagnose(ctx)}), nil
}

func (s *kernelService) StartMeter(
	ctx context.Context, r *connect.Request[agentpb.StartMeterRequest],
) (*connect.Response[agentpb.StartMeterResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	k, err := sandbox.kernels.find(r.Msg.Kernel)
	if err != nil {
		return nil, err
	}
	ks := sandbox.kernels
	ks.mu.Lock()
	full := len(ks.meters) >= maxMeters
	ks.mu.Unlock()
	if full {
		return nil, fmt.Errorf("meters: %w: stop some of the %d first", backends.ErrNoSpace, maxMeters)
	}
	m, err := k.Meter(ctx)
	if err != nil {
		return nil, err
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	number := ks.number()
	ks.meters[number] = m
	return connect.NewResponse(&agentpb.StartMeterResponse{Meter: number}), nil
}

func (s *kernelService) StopMeter(
	ctx context.Context, r *connect.Request[agentpb.StopMeterRequest],
) (*connect.Response[agentpb.Usage], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	ks := sandbox.kernels
	ks.mu.Lock()
	m := ks.meters[r.Msg.Meter]
	delete(ks.meters, r.Msg.Meter)
	ks.mu.Unlock()
	if m == nil {
		return nil, fmt.Errorf("meter: %w", backends.ErrNotFound)
	}
	usage, err := m.Stop(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(agentpb.NewUsage(usage)), nil
}
