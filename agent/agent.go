package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Config of an Agent.
type Config struct {
	Python     *Python // runs the supervisor and the Python kernels; required
	RuntimeDir string  // private folder (0700) with a short path, for sockets; required, made by the caller
	Logger     *slog.Logger
	// NoCgroup makes limits hold without control groups: by the limits of processes and a watchdog.
	NoCgroup bool
	// NoForkServer has every kernel started afresh. Else, from the second sandbox on, Python kernels are forks of a process
	// that has imported Preload and what kernels need.
	NoForkServer bool
	Preload      []string // names of modules; those that are missing are left out
	// Launcher is put before the command of every process that the agent itself starts: a program that makes it the user's.
	Launcher []string
	// Alone says that there is one instance: its first kernels are started afresh, and once the fork server is ready, later ones are
	// forks.
	Alone bool
	// Enclosure is the folder where the control groups are shown that the agent itself is in with all that it starts, a container's,
	// and which it may only read. What the system does there for their limits is told as done to the processes. None when empty. All
	// that the code runs then comes before the agent when the system has to kill.
	Enclosure string
	// Trace sees each message sent ("->") and received ("<-") on kernels' sockets. It must not block.
	Trace func(direction string, m *messaging.Message)
}

// Agent starts and ends what runs in sandboxes. The caller ends it with Close.
type Agent struct {
	config  Config
	scripts string // folder of the embedded Python
	others  others
	shared  sharedWatch

	lookAround sync.Once
	readable   []string // see systemFolders

	mu         sync.Mutex
	supervisor *supervisor
	warm       *warmth           // the fork server, nil before it is needed
	heated     int               // fork servers started
	missing    map[string]string // modules that the latest could not preload, with the reasons
	closed     bool
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
	if a.supervisor != nil && !a.supervisor.dead() {
		return a.supervisor, nil
	}
	if a.supervisor != nil {
		a.config.Logger.Warn("supervisor died, starting another")
		a.supervisor.end()
	}
	s, err := startSupervisor(
		a.launched(a.config.Python.Executable, "-I", "-S", "-B", filepath.Join(a.scripts, "supervisor.py")),
		map[string]string{"PATH": os.Getenv("PATH"), "LANG": "C.UTF-8"}, func(event) {})
	if err != nil {
		a.supervisor = nil
		return nil, err
	}
	a.supervisor = s
	return s, nil
}

// launched is a command as it is executed.
func (a *Agent) launched(argv ...string) []string { return slices.Concat(a.config.Launcher, argv) }

// Close ends every process of every instance, and the supervisors, and waits for it, at most 5 s. It is idempotent.
func (a *Agent) Close() error {
	a.mu.Lock()
	a.closed = true
	var ending []*supervisor
	if a.supervisor != nil {
		ending = append(ending, a.supervisor)
	}
	if a.warm != nil {
		ending = append(ending, a.warm.supervisor)
	}
	a.supervisor, a.warm = nil, nil
	a.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range ending {
		wg.Go(func() {
			if !s.close() {
				a.config.Logger.Warn("supervisor did not end by itself and was killed")
			}
		})
	}
	wg.Wait()
	a.shared.close()
	return nil
}

// keep asks for a keeper, one of the fork server's if that is ready; a supervisor that dies over it is replaced once.
func (a *Agent) keep(ctx context.Context, name string) (*kept, error) {
	if w := a.hot(); w != nil {
		k, err := w.supervisor.keep(ctx, name)
		if err == nil {
			k.warm = w
			return k, nil
		}
		a.config.Logger.Warn("fork server gave no keeper", "error", err)
	}
	for again := true; ; again = false {
		s, err := a.current()
		if err != nil {
			return nil, err
		}
		k, err := s.keep(ctx, name)
		if err == nil || !again || !errors.Is(err, errWireClosed) {
			return k, err
		}
	}
}
