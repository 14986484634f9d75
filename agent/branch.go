package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

var _ backends.Brancher = (*kernelProcess)(nil)

// parked is a copy of a kernel that waits, as dskernel/parked.py has it.
type parked struct {
	in       *Instance
	process  *process
	spec     *messaging.KernelSpec
	socket   string
	maxFrame int64
	moved    chan struct{} // closed when it has become a kernel of another instance

	mu   sync.Mutex // guards used
	used bool       // it became a kernel, or was closed
}

// Park has the kernel fork a copy, which becomes a guest of its keeper.
func (k *kernelProcess) Park(
	ctx context.Context, ask func(ctx context.Context, socket string) (int, error),
) (backends.Parked, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("copy a kernel: %w on %s", backends.ErrUnsupported, runtime.GOOS)
	}
	started, err := k.in.starts(ctx)
	if err != nil {
		return nil, err
	}
	defer started()
	p, err := whole(ctx, k.in, func(ctx context.Context) (*parked, error) { return k.park(ctx, ask) }, func(ctx context.Context, p *parked) {
		if err := p.Close(ctx); err != nil {
			k.in.agent.config.Logger.Warn("end copy that nobody waited for", "sandbox", k.in.place.ID, "error", err)
		}
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (k *kernelProcess) park(ctx context.Context, ask func(ctx context.Context, socket string) (int, error)) (_ *parked, err error) {
	dir, number, err := k.in.newKernelDir()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.in.removeKernelDir(number))
		}
	}()
	p := &parked{in: k.in, spec: k.spec, socket: filepath.Join(dir, "p"), maxFrame: k.maxFrame, moved: make(chan struct{})}
	// Whatever goes wrong from here on, with or without an answer: a copy that nobody has kept ends when its folder is gone.
	pid, err := ask(ctx, p.socket)
	if err != nil {
		return nil, err
	}
	if p.process, err = k.in.host(ctx, k.keeper, pid); err != nil {
		return nil, err
	}
	if err = p.keep(ctx); err == nil {
		err = k.in.follow(p, number)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close(ctx))
	}
	return p, nil
}

// host adopts a process below a keeper, be it ours or not.
func (in *Instance) host(ctx context.Context, k *keeper, pid int) (*process, error) {
	own, err := in.currentKeeper(ctx) // which counts and ends its guests elsewhere too
	if err != nil {
		return nil, err
	}
	p, err := k.adopt(ctx, pid, in)
	if err != nil || k == own || k.owner == in { // our own, or its twin
		return p, err
	}
	if err := in.welcome(p); err != nil {
		return nil, errors.Join(err, k.endGuest(ctx, pid))
	}
	return p, nil
}

// follow removes a copy's folder when it has ended or left.
func (in *Instance) follow(p *parked, number string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return backends.ErrDestroyed
	}
	in.finishing.Go(func() {
		select {
		case <-p.process.done:
		case <-p.moved:
		}
		if err := in.removeKernelDir(number); err != nil {
			in.agent.config.Logger.Warn("remove kernel's folder", "sandbox", in.place.ID, "error", err)
		}
	})
	return nil
}

// Close ends the copy, unless it has become a kernel.
func (p *parked) Close(ctx context.Context) error {
	p.mu.Lock()
	used := p.used
	p.used = true
	p.mu.Unlock()
	if used {
		return nil
	}
	return p.process.Signal(ctx, backends.Kill)
}

// take is whether the copy may be woken, for the last time or not. A copy that is woken for the last time in vain has ended.
func (p *parked) take(last bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used {
		return fmt.Errorf("copy was used up or closed: %w", backends.ErrNotFound)
	}
	p.used = last
	return nil
}
