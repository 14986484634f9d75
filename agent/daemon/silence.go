package daemon

import (
	"sync"
	"time"
)

// silence counts the time since a host was last heard, in wakings of its own: a container that was frozen for an hour has not been
// left alone for an hour.
type silence struct {
	mu    sync.Mutex // guards what follows
	limit time.Duration
	since time.Duration
}

// silenceTick is how often it counts.
const silenceTick = 250 * time.Millisecond

func newSilence(limit time.Duration) *silence { return &silence{limit: limit} }

func (s *silence) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = 0
}

func (s *silence) set(limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
}

// tick counts, and reports whether it was silent for too long.
func (s *silence) tick() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since += silenceTick
	return s.since >= s.limit
}
