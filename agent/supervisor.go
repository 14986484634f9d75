package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// supervisor is the process above all keepers, seen from the host.
type supervisor struct {
	wire   *wire
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has exited and was reaped

	mu      sync.Mutex
	keepers map[int]chan struct{} // by process id; closed when that keeper has exited
	asking  int                   // keeps under way
	early   map[int]bool          // keepers that exited before keep had taken in the answer
}

// kept is a keeper as its supervisor hands it out.
type kept struct {
	conn   *net.UnixConn
	pid    int
	exited <-chan struct{} // closed when the keeper has exited, as its supervisor says
	lost   <-chan struct{} // closed when the supervisor can't tell any more
	warm   *warmth         // the fork server it is of, nil for another's
}

// startSupervisor starts the process. Its own output goes nowhere: it has nothing to say but on its socket. onEvent hears of
// events that are not about keepers.
func startSupervisor(argv []string, env map[string]string, onEvent func(event)) (*supervisor, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.ExtraFiles = []*os.File{theirs} // descriptor 3
	cmd.Env = make([]string, 0, len(env))
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("start supervisor with %s: %w", argv[0], err)
	}
	s := &supervisor{cmd: cmd, exited: make(chan struct{}), keepers: make(map[int]chan struct{}), early: make(map[int]bool)}
	go func() {
		defer close(s.exited)
		_ = cmd.Wait() // how it ended matters to nobody
	}()
	s.wire = newWire(ours, func(e event) {
		if e.Event == "keeper_exit" {
			s.keeperExited(e)
		} else {
			onEvent(e)
		}
	}, func() {})
	return s, nil
}

func (s *supervisor) keeperExited(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if exited, ok := s.keepers[e.PID]; ok {
		delete(s.keepers, e.PID)
		close(exited)
	} else if s.asking > 0 {
		s.early[e.PID] = true
	}
}

// keepNudge is how long a supervisor may take before it is taken to be stopped, keepPatience before it is given up.
const (
	keepNudge    = time.Second
	keepPatience = 20 * time.Second
)

// keep asks for a keeper.
func (s *supervisor) keep(ctx context.Context, name string) (*kept, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, keepPatience, fmt.Errorf("supervisor did not answer within %v", keepPatience))
	defer cancel()
	// Code in a sandbox can stop us all; going on hurts nobody.
	nudge := time.AfterFunc(keepNudge, func() { _ = s.cmd.Process.Signal(syscall.SIGCONT) })
	defer nudge.Stop()
	s.mu.Lock()
	s.asking++
	s.mu.Unlock()
	r, err := s.wire.call(ctx, request{Op: "keep", Name: name}, theirs)
	_ = theirs.Close()
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	exited := make(chan struct{})
	s.mu.Lock()
	if err == nil && s.early[r.PID] {
		close(exited)
	} else if err == nil {
		s.keepers[r.PID] = exited
	}
	if s.asking--; s.asking == 0 {
		clear(s.early)
	}
	s.mu.Unlock()
	if err != nil {
		_ = ours.Close() // which ends a keeper that comes late
		return nil, fmt.Errorf("start keeper: %w", err)
	}
	return &kept{conn: ours, pid: r.PID, exited: exited, lost: s.wire.done}, nil
}

// dead reports whether the process has exited or its socket is broken.
func (s *supervisor) dead() bool {
	select {
	case <-s.exited:
	case <-s.wire.done:
	default:
		return false
	}
	return true
}

// end ends a supervisor that is dead already, as far as its socket goes.
func (s *supervisor) end() {
	s.wire.close()
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// closePatience bounds how long a supervisor may take to end everything and itself.
const closePatience = 4 * time.Second

// close ends the supervisor and all below it; it reports false when force was needed.
func (s *supervisor) close() bool {
	s.wire.close() // the supervisor takes this as its end
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-s.exited:
		return true
	case <-time.After(closePatience):
		s.end()
		return false
	}
}
