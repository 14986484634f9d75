package envd

import (
	"slices"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// state is what is known of one sandbox that it does not know itself.
type state struct {
	mu        sync.Mutex // guards what follows
	watchers  map[string]*polled
	processes []*process // in the order of their start
}

// process is what was started here.
type process struct {
	*sandbox.Command
	info *envdpb.ProcessInfo
}

// stateOf is the state of a member. Those of members that are gone are forgotten with the next one's beginning.
func (h *Handler) stateOf(m *fleet.Member) *state {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.known[m]; s != nil {
		return s
	}
	for other := range h.known {
		select {
		case <-other.Gone():
			delete(h.known, other)
		default:
		}
	}
	s := &state{watchers: make(map[string]*polled)}
	select {
	case <-m.Gone():
	default:
		h.known[m] = s
	}
	return s
}

// addWatcher takes in a watcher, in the place of another if there are too many.
func (s *state) addWatcher(id string, w *polled) {
	s.mu.Lock()
	var oldest string
	if len(s.watchers) >= maxPolled {
		for id, other := range s.watchers {
			if oldest == "" || other.last.Before(s.watchers[oldest].last) {
				oldest = id
			}
		}
	}
	dropped := s.watchers[oldest]
	delete(s.watchers, oldest)
	s.watchers[id] = w
	s.mu.Unlock()
	if dropped != nil {
		_ = dropped.Close()
	}
}

// watcher finds a watcher, and takes it out if it is to be removed; nil when there is none.
func (s *state) watcher(id string, remove bool) *polled {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watchers[id]
	if w == nil {
		return nil
	}
	w.last = time.Now()
	if remove {
		delete(s.watchers, id)
	}
	return w
}

// addProcess takes in a process, and forgets those that have ended.
func (s *state) addProcess(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = slices.DeleteFunc(s.processes, func(p *process) bool { return p.exited() })
	s.processes = append(s.processes, p)
}

// running are the processes that have not ended.
func (s *state) running() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes = slices.DeleteFunc(s.processes, func(p *process) bool { return p.exited() })
	return slices.Clone(s.processes)
}

func (p *process) exited() bool { return hasExited(p.Command) }

func hasExited(c *sandbox.Command) bool {
	select {
	case <-c.Exited():
		return true
	default:
		return false
	}
}
