package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// errKeeperDied says that the process above a sandbox's processes died, and they with it. The code in the sandbox may
// have killed it.
var errKeeperDied = errors.New("the sandbox's keeper process died, and its processes with it")

// keeper is the process above one sandbox's processes, seen from the host.
type keeper struct {
	pid  int
	wire *wire

	mu      sync.Mutex
	running map[int]*process
	early   map[int]backends.ExitStatus // of processes that ended before their start was answered
	dead    bool
}

// process is one process that a keeper started.
type process struct {
	keeper *keeper
	pid    int
	done   chan struct{} // closed when status or err is set
	status backends.ExitStatus
	err    error
}

// maxEarly bounds what a lying keeper makes us remember.
const maxEarly = 1024

func (a *Agent) startKeeper(ctx context.Context, name string) (*keeper, error) {
	conn, pid, err := a.keep(ctx, name)
	if err != nil {
		return nil, err
	}
	k := &keeper{pid: pid, running: make(map[int]*process), early: make(map[int]backends.ExitStatus)}
	k.wire = newWire(conn, k.onEvent, k.onEnd)
	return k, nil
}

func (k *keeper) onEvent(e event) {
	if e.Event != "exit" {
		return
	}
	status := backends.ExitStatus{Code: e.Code, Signal: e.Signal, Time: time.Now()}
	if e.Signal != "" {
		status.Code = -1
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.running[e.PID]
	if !ok {
		if len(k.early) < maxEarly {
			k.early[e.PID] = status
		}
		return
	}
	delete(k.running, e.PID)
	p.status = status
	close(p.done)
}

// onEnd ends every process: a keeper takes them along.
func (k *keeper) onEnd() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
	for pid, p := range k.running {
		delete(k.running, pid)
		p.err = errKeeperDied
		close(p.done)
	}
}

// startError is a program that could not be started.
type startError struct {
	stage string // "fork", "chdir" or "exec"
	errno syscall.Errno
	text  string
}

func (e *startError) Error() string { return e.text }
func (e *startError) Unwrap() error { return e.errno }

// start starts a program with the given standard files, in a session of its own.
func (k *keeper) start(ctx context.Context, argv []string, env map[string]string, dir string, files ...*os.File) (*process, error) {
	if env == nil {
		env = map[string]string{} // the wire knows no null here
	}
	r, err := k.wire.call(ctx, request{Op: "start", Argv: argv, Env: env, Cwd: dir}, files...)
	if err != nil {
		return nil, k.reason(err)
	}
	if r.Error != "" {
		return nil, &startError{stage: r.Stage, errno: syscall.Errno(r.Errno), text: r.Error}
	}
	p := &process{keeper: k, pid: r.PID, done: make(chan struct{})}
	k.mu.Lock()
	defer k.mu.Unlock()
	if status, ok := k.early[r.PID]; ok {
		delete(k.early, r.PID)
		p.status = status
		close(p.done)
		return p, nil
	}
	if k.dead {
		p.err = errKeeperDied
		close(p.done)
		return p, nil
	}
	k.running[r.PID] = p
	return p, nil
}

func (k *keeper) reason(err error) error {
	if errors.Is(err, errWireClosed) {
		return errKeeperDied
	}
	return err
}

// killAll ends everything below the keeper.
func (k *keeper) killAll(ctx context.Context) error {
	r, err := k.wire.call(ctx, request{Op: "kill_all"})
	switch {
	case err != nil:
		return k.reason(err)
	case r.Error != "":
		return errors.New(r.Error)
	case r.Left > 0:
		return fmt.Errorf("%d processes could not be ended", r.Left)
	}
	return nil
}

// ID is the process id.
func (p *process) ID() string { return strconv.Itoa(p.pid) }

// Signal sends a signal to the process and its group.
func (p *process) Signal(ctx context.Context, sig backends.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	r, err := p.keeper.wire.call(ctx, request{Op: "signal", PID: p.pid, Signal: string(sig), Group: true})
	if errors.Is(err, errWireClosed) {
		return nil // the keeper's end is the process's
	}
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	if err != nil {
		return fmt.Errorf("agent: send %s: %w", sig, err)
	}
	return nil
}

// Wait waits for the end.
func (p *process) Wait(ctx context.Context) (backends.ExitStatus, error) {
	select {
	case <-p.done:
		return p.status, p.err
	case <-ctx.Done():
		return backends.ExitStatus{}, context.Cause(ctx)
	}
}
