package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// ErrKeeperDied says that the process above a sandbox's processes died, and they with it. The code in the sandbox may
// have killed it. It is what [Instance]'s processes answer to Wait and what later starts fail with.
var ErrKeeperDied = errors.New("the sandbox's keeper process died, and its processes with it")

// keeper is the process above one sandbox's processes, seen from the host.
type keeper struct {
	pid     int
	wire    *wire
	confine func() *confinement // what the next start is shut in by; nil for nothing

	warm *warmth // the fork server it is a fork of, if so

	exited <-chan struct{} // closed when the supervisor has seen it exit
	// lost is closed when nobody can say that any more.
	lost <-chan struct{}

	mu sync.Mutex // guards what follows
	// What every program is started with, and what tells which limit ended one; set before the first start.
	limits   *programLimits
	rank     int
	verdict  verdict
	owner    *Instance // set before the first start
	running  map[int]*process
	starting int                         // starts under way
	early    map[int]backends.ExitStatus // of processes that ended before start had taken in the answer
	dead     bool
	// Processes of other instances, which were forked from ours, see adopt; and whether we live for these alone.
	apart     map[int]*Instance
	abandoned bool
	twin      *keeper // see twin.go
}

// process is one process that a keeper started.
type process struct {
	keeper *keeper
	pid    int
	done   chan struct{} // closed when status or err is set
	status backends.ExitStatus
	err    error
	begun  time.Time
	killed atomic.Bool // by a call of ours
	// verdict is the keeper's, unless the process belongs to another instance.
	verdict verdict
}

// verdict tells which limits ended a process, and were enforced while it lived. It is given once for each, as it ends.
type verdict func(e ending, status *backends.ExitStatus)

// ending is of which process the end is told.
type ending struct {
	pid    int
	begun  time.Time
	killed bool // by a call of ours
}

// maxEarly bounds what a lying keeper makes us remember.
const maxEarly = 1024

func (a *Agent) startKeeper(ctx context.Context, name string, confine func() *confinement) (*keeper, error) {
	from, err := a.keep(ctx, name)
	if err != nil {
		return nil, err
	}
	k := &keeper{
		pid: from.pid, warm: from.warm, exited: from.exited, lost: from.lost, confine: confine,
		running: make(map[int]*process), early: make(map[int]backends.ExitStatus), apart: make(map[int]*Instance),
	}
	k.wire = newWire(from.conn, k.onEvent, k.onEnd)
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
	end := ending{pid: e.PID, begun: status.Time.Add(-justBegun)}
	k.mu.Lock()
	verdict := k.verdict
	if p := k.running[e.PID]; p != nil {
		end.begun, end.killed = p.begun, p.killed.Load()
		if p.verdict != nil {
			verdict = p.verdict
		}
	}
	k.mu.Unlock()
	if verdict != nil {
		verdict(end, &status)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.running[e.PID]
	if !ok {
		if k.starting > 0 && len(k.early) < maxEarly {
			k.early[e.PID] = status
		}
		return
	}
	delete(k.running, e.PID)
	p.status = status
	close(p.done)
	k.leave(e.PID)
}

// onEnd ends every process: a keeper takes them along.
func (k *keeper) onEnd() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
	for pid, p := range k.running {
		delete(k.running, pid)
		p.err = ErrKeeperDied
		close(p.done)
	}
}

// justBegun is how long ago a process may have begun that has ended before its start was answered.
const justBegun = 100 * time.Millisecond

// startError is a program that could not be started.
type startError struct {
	stage string // "fork", "limits", "chdir", "confine" or "exec"
	errno syscall.Errno
	text  string
}

func (e *startError) Error() string { return e.text }
func (e *startError) Unwrap() error { return e.errno }

// program is what a keeper is to start.
type program struct {
	argv []string
	env  map[string]string // the whole environment
	dir  string
	tty  bool // the standard input is a terminal, to be the controlling one
	fork bool // a Python kernel that is to be a fork of the keeper
}

// start starts a program with the given standard files, in a session of its own.
func (k *keeper) start(ctx context.Context, p program, files ...*os.File) (*process, error) {
	if p.env == nil {
		p.env = map[string]string{} // the wire knows no null here
	}
	if k.owner != nil {
		k.owner.watch((*watchdog).catchUp)
	}
	begun := time.Now()
	k.mu.Lock()
	k.starting++
	limits := k.limits
	k.mu.Unlock()
	r, err := k.wire.ask(ctx, request{
		Op: "start", Argv: p.argv, Env: p.env, Cwd: p.dir, TTY: p.tty, Fork: p.fork, Limits: limits, Confine: k.confine(),
	}, k.abandon, files)
	k.mu.Lock()
	defer k.mu.Unlock()
	status, ended := k.early[r.PID]
	delete(k.early, r.PID)
	if k.starting--; k.starting == 0 {
		clear(k.early) // of starts that were given up; the ids may come again
	}
	switch {
	case err != nil:
		return nil, k.reason(err)
	case r.Error != "":
		return nil, &startError{stage: r.Stage, errno: syscall.Errno(r.Errno), text: r.Error}
	case r.PID <= 1 || k.running[r.PID] != nil:
		_ = k.wire.conn.Close() // this is no keeper of ours any more
		return nil, fmt.Errorf("%w: it answered nonsense", ErrKeeperDied)
	}
	started := &process{keeper: k, pid: r.PID, begun: begun, done: make(chan struct{})}
	if k.rank != 0 {
		setRank(r.PID, k.rank)
	}
	switch {
	case ended:
		started.status = status
		close(started.done)
	case k.dead:
		started.err = ErrKeeperDied
		close(started.done)
	default:
		k.running[r.PID] = started
	}
	return started, nil
}

// started reports whether a live process is one that was started by start.
func (k *keeper) started(pid int) bool {
	k.mu.Lock()
	twin, found := k.twin, k.running[pid] != nil
	k.mu.Unlock()
	return found || twin != nil && twin.started(pid)
}

// abandon ends a process whose start was given up before it was answered.
func (k *keeper) abandon(r response) {
	if r.Error == "" && r.PID > 1 {
		k.wire.post(request{Op: "signal", PID: r.PID, Signal: string(backends.Kill), Group: true})
	}
}

// close ends the keeper, if it still lives, and reports whether it certainly has ended and all below it. patience bounds it.
func (k *keeper) close(patience time.Duration) bool {
	k.wire.close()
	select {
	case <-k.exited:
		return true
	case <-k.lost:
	case <-time.After(patience):
	}
	return false
}

func (k *keeper) reason(err error) error {
	if errors.Is(err, errWireClosed) {
		return ErrKeeperDied
	}
	return err
}

// killAll ends everything below the keeper, and its twin.
func (k *keeper) killAll(ctx context.Context) error {
	return k.both(func(k *keeper) error { return k.killOwn(ctx) })
}

func (k *keeper) killOwn(ctx context.Context) error {
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

// PID is the process id.
func (p *process) PID() int { return p.pid }

// signalPatience bounds a signal: a keeper is under the same user as the code it keeps, which may have stopped it.
const signalPatience = 10 * time.Second

// Signal sends a signal to the process and its group.
func (p *process) Signal(ctx context.Context, sig backends.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
		return p.send(ctx, sig)
	}
}

// send sends a signal to what is left of the process's group.
func (p *process) send(ctx context.Context, sig backends.Signal) error {
	if sig == backends.Kill {
		p.killed.Store(true)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, signalPatience, errors.New("keeper does not answer"))
	defer cancel()
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
	default:
	}
	select {
	case <-p.done:
		return p.status, p.err
	case <-ctx.Done():
		return backends.ExitStatus{}, context.Cause(ctx)
	}
}

// pause stops everything below the keeper, which stays awake itself. freezer is the file of a control group; empty without.
func (k *keeper) pause(ctx context.Context, freezer string) error {
	return k.both(func(k *keeper) error { return k.answered(k.wire.call(ctx, request{Op: "pause", Freezer: freezer})) })
}

// resume lets everything go on.
func (k *keeper) resume(ctx context.Context) error {
	return k.both(func(k *keeper) error { return k.answered(k.wire.call(ctx, request{Op: "resume"})) })
}

func (k *keeper) answered(r response, err error) error {
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	return k.reason(err)
}
