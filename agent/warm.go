package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// A fork server is a supervisor in the chosen Python that has imported what kernels need, see dskernel/warm.py. Its keepers start
// kernels as forks of themselves. It is started when the first kernel is up, and takes over when it is ready: sandboxes opened
// before stay with the supervisor they have.

// warmth is a fork server and what it says about itself.
type warmth struct {
	supervisor *supervisor
	env        map[string]string // its own
	told       chan struct{}     // closed when it has said what it is, or is gone

	mu   sync.Mutex // guards err
	err  error      // why it is of no use
	said bool
}

// heatTime bounds how long a fork server may take to import everything.
const heatTime = 2 * time.Minute

// heat starts the fork server, once.
func (a *Agent) heat() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.config.NoForkServer || !a.config.Python.HasKernel() || a.warm != nil && !a.warm.over() {
		return
	}
	if a.heated >= maxHeated {
		return // it dies of what it imports
	}
	if a.warm != nil {
		a.config.Logger.Warn("fork server died, starting another")
		a.warm.supervisor.end()
	}
	a.heated++
	w, err := a.startWarm()
	if err != nil {
		a.config.Logger.Warn("start fork server", "error", err)
		a.heated = maxHeated
		return
	}
	a.warm = w
}

// maxHeated bounds how many fork servers are started in place of one another.
const maxHeated = 10

func (a *Agent) startWarm() (*warmth, error) {
	dir := filepath.Join(a.config.RuntimeDir, fmt.Sprintf("warm%d", a.heated))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	env, err := makeOverlay(filepath.Join(dir, "venv"), a.config.Python)
	if err != nil {
		return nil, err
	}
	if err := copyFontCache(a.config.Python.FontCache, filepath.Join(dir, "matplotlib")); err != nil {
		return nil, err
	}
	place := Place{Home: dir, Private: dir}
	blank := strings.Repeat("-", 64) // born.py writes each fork's own in their place
	w := &warmth{env: place.environment(env, map[string]string{IDVariable: blank, MarkVariable: blank}), told: make(chan struct{})}
	argv := append([]string{env.python, filepath.Join(a.scripts, "warm.py")}, a.config.Preload...)
	w.supervisor, err = startSupervisor(a.launched(argv...), w.env, func(e event) { a.warmed(w, e) })
	if err != nil {
		return nil, err
	}
	late := time.AfterFunc(heatTime, func() { w.tell(fmt.Errorf("nothing heard of it within %v", heatTime)) })
	go func() {
		select {
		case <-w.told:
		case <-w.supervisor.wire.done:
			w.tell(errWireClosed)
		}
		late.Stop()
	}()
	return w, nil
}

// warmed takes what the fork server says of itself.
func (a *Agent) warmed(w *warmth, e event) {
	if e.Event != "warm" {
		return
	}
	a.mu.Lock()
	a.missing = e.Missing
	a.mu.Unlock()
	for name, reason := range e.Missing {
		a.config.Logger.Info("fork server: not preloaded", "module", name, "reason", reason)
	}
	if e.Error != "" {
		a.config.Logger.Warn("fork server is of no use, kernels start afresh", "reason", e.Error)
		w.tell(fmt.Errorf("fork server: %s", e.Error))
		return
	}
	a.config.Logger.Debug("fork server is ready", "seconds", e.Seconds)
	w.tell(nil)
}

func (w *warmth) tell(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said {
		return
	}
	w.said, w.err = true, err
	close(w.told)
}

// over reports whether it has ended and another may do better: it was killed, and did not say that it is of no use.
func (w *warmth) over() bool {
	select {
	case <-w.supervisor.wire.done: // what it said was read
	default:
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err == nil || errors.Is(w.err, errWireClosed)
}

// ready reports whether it forks kernels, or did until it died.
func (w *warmth) ready() bool {
	select {
	case <-w.told:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err == nil
	default:
		return false
	}
}

// Warm waits for the fork server; it starts one if there is none. An error says why kernels start afresh instead.
func (a *Agent) Warm(ctx context.Context) error {
	for before := (*warmth)(nil); ; {
		if w := a.warmth(); w != nil && w.supervisor.dead() {
			w.supervisor.end() // so that it is over
		}
		a.heat()
		w := a.warmth()
		if w == nil {
			return fmt.Errorf("agent: fork server: %w", backends.ErrUnsupported)
		}
		select {
		case <-w.told:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if w.over() && w != before { // and is replaced, unless too many were
			before = w
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err
	}
}

func (a *Agent) warmth() *warmth {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.warm
}

// NotPreloaded are the modules that the fork server could not preload, with the reasons.
func (a *Agent) NotPreloaded() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.missing)
}

// hot is the fork server if it is ready, else nil. One that died is replaced.
func (a *Agent) hot() *warmth {
	w := a.warmth()
	switch {
	case w == nil || !w.ready():
		return nil
	case w.supervisor.dead():
		w.supervisor.end() // so that it is over
		a.heat()
		return nil
	}
	return w
}

// forkable reports whether a kernel that is started with this command and environment is what a fork of the keeper would be.
func (in *Instance) forkable(k *keeper, argv []string, env map[string]string) bool {
	if k.warm == nil || len(argv) < 2 || argv[0] != in.env.python || argv[1] != filepath.Join(in.agent.scripts, "launch.py") {
		return false
	}
	for name, value := range env {
		known, ok := k.warm.env[name]
		if backends.ReadAtStart(name) && (!ok || value != known) && !slices.Contains(ownNames, name) {
			return false
		}
	}
	return in.env.untouched()
}

// ownNames are variables of each interpreter's own, which nothing has read that a fork has from before.
var ownNames = []string{IDVariable, MarkVariable, PathVariable, noBytecode}

// untouched reports whether nothing was installed into the environment: other versions may hide those that were preloaded.
func (o *overlay) untouched() bool {
	entries, err := os.ReadDir(o.site)
	return err == nil && len(entries) == 1
}
