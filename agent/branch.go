package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

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
	pid, err := ask(ctx, p.socket)
	if err != nil {
		return nil, err
	}
	if p.process, err = k.in.host(ctx, k.keeper, pid); err != nil {
		return nil, err
	}
	if err := k.in.follow(p, number); err != nil {
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

// take is whether the copy may be woken, for the last time or not.
func (p *parked) take(last bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used {
		return fmt.Errorf("copy was used up or closed: %w", backends.ErrNotFound)
	}
	p.used = last
	return nil
}

// Wake makes the copy a kernel.
func (p *parked) Wake(ctx context.Context, cfg backends.WakeConfig) (_ backends.KernelProcess, err error) {
	in := p.in
	if cfg.Into != nil {
		into, ok := cfg.Into.(interface{ Agent() *Instance })
		if !ok || into.Agent().place.Family != in.place.Family {
			return nil, fmt.Errorf("wake into %s: %w: it was not forked from here", cfg.Into.ID(), backends.ErrUnsupported)
		}
		in = into.Agent()
	}
	started, err := in.starts(ctx)
	if err != nil {
		return nil, err
	}
	defer started()
	if err := p.take(cfg.Last); err != nil {
		return nil, err
	}
	wake := func(ctx context.Context) (*kernelProcess, error) { return p.wake(ctx, in, cfg) }
	k, err := whole(ctx, in, wake, func(ctx context.Context, k *kernelProcess) {
		if err := k.Signal(ctx, backends.Kill); err != nil {
			in.agent.config.Logger.Warn("end kernel that nobody waited for", "sandbox", in.place.ID, "error", err)
		}
	})
	if err != nil {
		return nil, in.explain(p.spec, err)
	}
	return k, nil
}

func (p *parked) wake(ctx context.Context, in *Instance, cfg backends.WakeConfig) (_ *kernelProcess, err error) {
	dir, number, err := in.newKernelDir()
	if err != nil {
		return nil, err
	}
	k := &kernelProcess{in: in, spec: p.spec, number: number, dir: dir, maxFrame: cfg.MaxFrame, start: backends.StartFork}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.removeKernelDir(number))
		}
	}()
	connection, err := k.writeConnection()
	if err != nil {
		return nil, err
	}
	output, write, err := newTail()
	if err != nil {
		return nil, err
	}
	defer func() { _ = write.Close() }()
	k.output = output
	order := wakeOrder{Op: "wake", Connection: connection, Stay: !cfg.Last, Restored: cfg.Restored, Random: "keep"}
	if cfg.Fresh {
		order.Random = "fresh"
	}
	if in != p.in {
		order.Moved = in.moves(p.in)
		order.Env = in.differing(p.in)
	}
	if in != p.in {
		in.startEarly(ctx)
	}
	pid, err := p.order(ctx, &order, write)
	if err == nil {
		if err = p.settle(ctx, k, in, pid, cfg.Last); err == nil {
			err = in.adopt(k)
		}
		if err != nil { // it lives, and is nobody's: its instance was closed meanwhile, for one
			err = errors.Join(err, p.process.keeper.endGuest(ctx, pid))
		}
	}
	if err != nil {
		output.close()
		return nil, err
	}
	return k, nil
}

// startEarly starts the keeper, which is wanted when the copy has become a kernel. Who wants it then hears of an error.
func (in *Instance) startEarly(ctx context.Context) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.closed {
		in.finishing.Go(func() { _, _ = in.currentKeeper(ctx) })
	}
}

// settle makes the process the kernel's.
func (p *parked) settle(ctx context.Context, k *kernelProcess, in *Instance, pid int, last bool) (err error) {
	switch {
	case !last:
		k.process, err = in.host(ctx, p.process.keeper, pid)
	case pid != p.process.pid:
		err = fmt.Errorf("copy answered for process %d", pid)
	case in != p.in:
		k.process = p.process
		if err = p.process.keeper.handOver(ctx, p.process, in); err == nil {
			err = in.welcome(p.process)
		}
		p.in.farewell(p.process)
		close(p.moved)
	default:
		k.process = p.process
	}
	if err == nil {
		k.tree.pid, k.tree.spare = pid, func() []int { return k.keeper.others(in) }
	}
	return err
}

// handOver makes a guest one of another instance.
func (k *keeper) handOver(ctx context.Context, p *process, in *Instance) error {
	k.mu.Lock()
	if k.running[p.pid] == p {
		k.apart[p.pid], p.verdict = in, in.judge
	}
	k.mu.Unlock()
	return k.markGuest(ctx, p.pid, true)
}

// wakeOrder and wakeAnswer are what dskernel/parked.py reads and writes.
type wakeOrder struct {
	Op         string            `json:"op"`
	Connection string            `json:"connection"`
	Stay       bool              `json:"stay"`
	Restored   bool              `json:"restored,omitempty"`
	Random     string            `json:"random"`
	Moved      [][2]string       `json:"moved,omitempty"`
	Env        map[string]string `json:"env,omitempty"`
}

type wakeAnswer struct {
	PID   int    `json:"pid"`
	Error string `json:"error"`
}

// maxWakeAnswer bounds what a copy may answer, bytes; wakePatience how long it may take: the code in the sandbox may be at
// the other end of its socket.
const (
	maxWakeAnswer = 64 << 10
	wakePatience  = 20 * time.Second
)

// order sends the copy what it is to become, and returns the process that became it.
func (p *parked) order(ctx context.Context, order *wakeOrder, output *os.File) (int, error) {
	line, err := json.Marshal(order)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wakePatience, fmt.Errorf("the copy did not answer within %v", wakePatience))
	defer cancel()
	dialled, err := new(net.Dialer).DialContext(ctx, "unix", p.socket)
	if err != nil {
		return 0, p.because(ctx, err)
	}
	defer func() { _ = dialled.Close() }()
	defer context.AfterFunc(ctx, func() { _ = dialled.SetDeadline(time.Unix(1, 0)) })()
	conn, ok := dialled.(*net.UnixConn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	line = append(line, '\n')
	n, _, err := conn.WriteMsgUnix(line, syscall.UnixRights(int(output.Fd())), nil)
	if err == nil && n < len(line) {
		_, err = conn.Write(line[n:])
	}
	if err != nil {
		return 0, p.because(ctx, err)
	}
	reply, err := bufio.NewReader(io.LimitReader(conn, maxWakeAnswer)).ReadBytes('\n')
	if err != nil {
		return 0, p.because(ctx, err)
	}
	var answer wakeAnswer
	switch err := json.Unmarshal(reply, &answer); {
	case err != nil:
		return 0, fmt.Errorf("the copy answered nonsense: %w", err)
	case answer.Error != "":
		return 0, fmt.Errorf("the copy could not become a kernel: %s", answer.Error)
	}
	return answer.PID, nil
}

// because is why the copy could not be asked.
func (p *parked) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-p.process.done:
		return fmt.Errorf("the copy has ended: %w", &backends.ExitError{Status: p.process.status})
	default:
		return err
	}
}
