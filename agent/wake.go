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
	"syscall"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

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
	defer func() {
		if err != nil && cfg.Last { // it was used up, see take
			err = errors.Join(err, p.process.Signal(ctx, backends.Kill))
		}
	}()
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
	if err := p.become(ctx, k, in, &order, write); err != nil {
		output.close()
		return nil, err
	}
	return k, nil
}

// become has the copy, or a fork of it, become the kernel. What was forked belongs to nobody until all is done: it ends by itself
// when the connection by which it was ordered closes before.
func (p *parked) become(ctx context.Context, k *kernelProcess, in *Instance, order *wakeOrder, output *os.File) error {
	pid, conn, err := p.order(ctx, order, output)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := p.settle(ctx, k, in, pid, !order.Stay); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(writePatience))
	if _, err = conn.Write([]byte("\n")); err == nil {
		err = in.adopt(k)
	}
	if err != nil { // its instance was closed meanwhile, for one
		return errors.Join(err, k.keeper.endGuest(ctx, pid))
	}
	return nil
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

// keep tells the copy that it is ours.
func (p *parked) keep(ctx context.Context) error {
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(writePatience))
	if _, err := conn.Write([]byte(`{"op": "keep"}` + "\n")); err != nil {
		return p.because(ctx, err)
	}
	return nil
}

func (p *parked) dial(ctx context.Context) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, wakePatience, fmt.Errorf("the copy did not listen within %v", wakePatience))
	defer cancel()
	dialled, err := new(net.Dialer).DialContext(ctx, "unix", p.socket)
	if err != nil {
		return nil, p.because(ctx, err)
	}
	conn, ok := dialled.(*net.UnixConn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return conn, nil
}

// order sends the copy what it is to become, and returns the process that became it. That is ours when the connection has brought
// it another line.
func (p *parked) order(ctx context.Context, order *wakeOrder, output *os.File) (pid int, _ *net.UnixConn, err error) {
	line, err := json.Marshal(order)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wakePatience, fmt.Errorf("the copy did not answer within %v", wakePatience))
	defer cancel()
	conn, err := p.dial(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	line = append(line, '\n')
	n, _, err := conn.WriteMsgUnix(line, syscall.UnixRights(int(output.Fd())), nil)
	if err == nil && n < len(line) {
		_, err = conn.Write(line[n:])
	}
	if err != nil {
		return 0, nil, p.because(ctx, err)
	}
	reply, err := bufio.NewReader(io.LimitReader(conn, maxWakeAnswer)).ReadBytes('\n')
	if err != nil {
		return 0, nil, p.because(ctx, err)
	}
	var answer wakeAnswer
	switch err := json.Unmarshal(reply, &answer); {
	case err != nil:
		return 0, nil, fmt.Errorf("the copy answered nonsense: %w", err)
	case answer.Error != "":
		return 0, nil, fmt.Errorf("the copy could not become a kernel: %s", answer.Error)
	}
	return answer.PID, conn, nil
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
