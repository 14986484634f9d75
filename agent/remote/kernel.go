package remote

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// kernelProcess is a kernel elsewhere.
type kernelProcess struct {
	in       *Instance
	id       string
	pid      int
	spec     messaging.KernelSpec
	start    backends.StartKind
	signer   *messaging.Signer
	maxFrame int64
	ending   ending
	metering metering
}

var (
	_ backends.KernelProcess = (*kernelProcess)(nil)
	_ backends.StartTeller   = (*kernelProcess)(nil)
	_ backends.Brancher      = (*kernelProcess)(nil)
)

// StartKernel starts a kernel's process.
func (in *Instance) StartKernel(ctx context.Context, cfg backends.KernelConfig) (backends.KernelProcess, error) {
	if err := in.gone(); err != nil {
		return nil, err
	}
	if err := checkText(cfg.Env, cfg.Name, cfg.Dir); err != nil {
		return nil, err
	}
	maxFrame := cfg.MaxFrame
	if maxFrame <= 0 {
		maxFrame = in.c.opts.MaxFrame
	}
	info, err := call(ctx, in.c, start, in.c.kernel.StartKernel, &agentpb.StartKernelRequest{
		Name: cfg.Name, Dir: cfg.Dir, Env: cfg.Env, MaxFrame: maxFrame,
	})
	if err != nil {
		return nil, err
	}
	return in.newKernel(info, maxFrame)
}

// newKernel is the kernel that the agent described.
func (in *Instance) newKernel(info *agentpb.KernelInfo, maxFrame int64) (*kernelProcess, error) {
	spec, err := info.Spec.Value()
	if err != nil {
		return nil, fmt.Errorf("remote: %w: %w", ErrProtocol, err)
	}
	if info.Id == "" || len(info.Id) > 64 || len(info.Key) > 1024 || info.Pid < 1 || info.Pid > math.MaxInt32 || maxFrame <= 0 {
		return nil, fmt.Errorf("remote: %w: kernel %.64q", ErrProtocol, info.Id)
	}
	signer, err := messaging.NewSigner(info.SignatureScheme, []byte(info.Key))
	if err != nil {
		return nil, fmt.Errorf("remote: %w: %w", ErrProtocol, err)
	}
	return &kernelProcess{
		in: in, id: info.Id, pid: int(info.Pid), spec: spec, start: backends.StartKind(short(info.StartKind)), signer: signer, maxFrame: maxFrame,
	}, nil
}

// Kernels are the kernels that live, whoever has started them: a host program that was started again takes them over. Connecting
// to one gives all of what it said that was not taken yet.
func (in *Instance) Kernels(ctx context.Context) ([]backends.KernelProcess, error) {
	if err := in.gone(); err != nil {
		return nil, err
	}
	answer, err := call(ctx, in.c, quick, in.c.kernel.ListKernels, &agentpb.ListKernelsRequest{})
	if err != nil {
		return nil, wrap("list kernels", err)
	}
	kernels := make([]backends.KernelProcess, 0, len(answer.Kernels))
	for _, info := range answer.Kernels {
		k, err := in.newKernel(info, min(info.MaxFrame, in.c.opts.MaxFrame))
		if err != nil {
			return nil, err
		}
		kernels = append(kernels, k)
	}
	return kernels, nil
}

// ID is the kernel's.
func (k *kernelProcess) ID() string { return k.id }

// PID is the process id there.
func (k *kernelProcess) PID() int { return k.pid }

// Spec is the kernel's recipe.
func (k *kernelProcess) Spec() messaging.KernelSpec { return k.spec }

// StartKind is how the kernel came to be.
func (k *kernelProcess) StartKind() backends.StartKind { return k.start }

// Signal sends a signal to the process and its group.
func (k *kernelProcess) Signal(ctx context.Context, sig backends.Signal) error {
	if k.ending.known() {
		return nil
	}
	_, err := call(ctx, k.in.c, change, k.in.c.kernel.SignalKernel, &agentpb.SignalKernelRequest{Kernel: k.id, Signal: string(sig)})
	if err != nil && k.in.lost(err) {
		return nil
	}
	return wrap("signal kernel", err)
}

// Wait waits for the end.
func (k *kernelProcess) Wait(ctx context.Context) (backends.ExitStatus, error) {
	return k.ending.wait(ctx, k.in, func(ctx context.Context) (*agentpb.ExitStatus, error) {
		return call(ctx, k.in.c, forever, k.in.c.kernel.WaitKernel, &agentpb.WaitKernelRequest{Kernel: k.id})
	})
}

// Diagnose is the tail of the process's own output.
func (k *kernelProcess) Diagnose(ctx context.Context) string {
	answer, err := call(ctx, k.in.c, quick, k.in.c.kernel.Diagnose, &agentpb.DiagnoseRequest{Kernel: k.id})
	if err != nil {
		return ""
	}
	const most = 16 << 10
	return answer.Text[max(0, len(answer.Text)-most):]
}

// ending is how a process ended, once that is known.
type ending struct {
	mu     sync.Mutex // guards what follows
	ended  bool
	status backends.ExitStatus
}

func (e *ending) known() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ended
}

func (e *ending) set(status backends.ExitStatus) backends.ExitStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.ended, e.status = true, status
	}
	return e.status
}

// wait asks for the end unless it is known.
func (e *ending) wait(
	ctx context.Context, in *Instance, ask func(context.Context) (*agentpb.ExitStatus, error),
) (backends.ExitStatus, error) {
	e.mu.Lock()
	ended, status := e.ended, e.status
	e.mu.Unlock()
	if ended {
		return status, nil
	}
	answer, err := ask(ctx)
	switch {
	case err == nil:
		return e.set(answer.Value()), nil
	case in.lost(err):
		return e.set(in.lastStatus()), nil
	}
	return backends.ExitStatus{}, err
}
