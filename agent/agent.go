package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Config of an Agent.
type Config struct {
	Python     *Python // runs the supervisor and the Python kernels; required
	RuntimeDir string  // private folder (0700) with a short path, for sockets; required, made by the caller
	Logger     *slog.Logger
	// Trace sees each message sent ("->") and received ("<-") on kernels' sockets. It must not block.
	Trace func(direction string, m *messaging.Message)
}

// Agent starts and ends what runs in sandboxes. The caller ends it with Close.
type Agent struct {
	config  Config
	scripts string // folder of the embedded Python

	mu         sync.Mutex
	supervisor *supervisor
	closed     bool
}

// supervisor is the process above all keepers.
type supervisor struct {
	wire   *wire
	cmd    *exec.Cmd
	exited chan struct{}
}

// errClosed says that the agent was closed.
var errClosed = errors.New("agent is closed")

// New stores the embedded Python and starts the supervisor, without waiting for it.
func New(config Config) (*Agent, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	scripts, err := writePython(config.RuntimeDir)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a := &Agent{config: config, scripts: scripts}
	if _, err := a.current(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return a, nil
}

// current is the supervisor, started anew if it died.
func (a *Agent) current() (*supervisor, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosed
	}
	if a.supervisor != nil {
		select {
		case <-a.supervisor.exited:
			a.config.Logger.Warn("supervisor died, starting another")
			a.supervisor.wire.close()
		default:
			return a.supervisor, nil
		}
	}
	s, err := startSupervisor(a.config.Python.Executable, filepath.Join(a.scripts, "supervisor.py"))
	if err != nil {
		return nil, err
	}
	a.supervisor = s
	return s, nil
}

// startSupervisor starts the process. Its own output goes nowhere: it has nothing to say but on its socket.
func startSupervisor(python, script string) (*supervisor, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	cmd := exec.Command(python, "-I", "-S", "-B", script)
	cmd.ExtraFiles = []*os.File{theirs} // descriptor 3
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("start supervisor with %s: %w", python, err)
	}
	s := &supervisor{cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(s.exited)
		_ = cmd.Wait() // how it ended matters to nobody
	}()
	s.wire = newWire(ours, func(event) {}, func() {})
	return s, nil
}

// closePatience bounds how long a supervisor may take to end everything and itself.
const closePatience = 4 * time.Second

// Close ends every process of every instance, and the supervisor, and waits for it. It is idempotent.
func (a *Agent) Close() error {
	a.mu.Lock()
	a.closed = true
	s := a.supervisor
	a.supervisor = nil
	a.mu.Unlock()
	if s == nil {
		return nil
	}
	s.wire.close() // the supervisor takes this as its end
	select {
	case <-s.exited:
	case <-time.After(closePatience):
		a.config.Logger.Warn("supervisor did not end, killing it")
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	return nil
}

// keep asks for a keeper and returns our end of its control socket and its process id.
func (a *Agent) keep(ctx context.Context, name string) (*net.UnixConn, int, error) {
	s, err := a.current()
	if err != nil {
		return nil, 0, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, 0, err
	}
	r, err := s.wire.call(ctx, request{Op: "keep", Name: name}, theirs)
	_ = theirs.Close()
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	if err != nil {
		_ = ours.Close()
		return nil, 0, fmt.Errorf("start keeper: %w", err)
	}
	return ours, r.PID, nil
}
