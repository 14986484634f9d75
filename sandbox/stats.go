package sandbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Stats are what a sandbox uses at one moment.
type Stats = backends.Stats

// Limits bound what a sandbox may use.
type Limits = backends.Limits

// Every sandbox's figures are taken so often and the last ones kept, an hour of them.
const (
	HistoryInterval = 5 * time.Second
	HistoryLength   = 720
)

// Stats tells what the sandbox uses now: all its processes together, and its files. Error: ErrKilled.
func (s *Sandbox) Stats(ctx context.Context) (Stats, error) {
	stats, err := s.instance.Stats(ctx)
	if err != nil {
		return stats, fmt.Errorf("sandbox: stats: %w", s.reason(err))
	}
	return stats, nil
}

// History is the figures of the last hour, oldest first, one every HistoryInterval.
func (s *Sandbox) History() []Stats { return s.history.list() }

// history is a ring of figures.
type history struct {
	mu    sync.Mutex // guards what follows
	stats []Stats
	first int // index of the oldest, once the ring is full
}

func (h *history) add(s Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.stats) < HistoryLength {
		h.stats = append(h.stats, s)
		return
	}
	h.stats[h.first] = s
	h.first = (h.first + 1) % HistoryLength
}

func (h *history) list() []Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append(append([]Stats{}, h.stats[h.first:]...), h.stats[:h.first]...)
}

// sample takes the figures of all sandboxes by and by, until ctx ends.
func (e *Engine) sample(ctx context.Context) {
	ticker := time.NewTicker(HistoryInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, s := range e.live() {
			if stats, err := s.instance.Stats(ctx); err == nil {
				s.history.add(stats)
			}
		}
	}
}

// withDefaultLimits fills in the fields that are zero.
func withDefaultLimits(l, fallback Limits) Limits {
	fill(&l.Memory, fallback.Memory)
	fill(&l.CPUs, fallback.CPUs)
	fill(&l.CPUTime, fallback.CPUTime)
	fill(&l.Processes, fallback.Processes)
	fill(&l.FileSize, fallback.FileSize)
	fill(&l.OpenFiles, fallback.OpenFiles)
	fill(&l.Disk, fallback.Disk)
	return l
}

func fill[T comparable](field *T, fallback T) {
	var zero T
	if *field == zero {
		*field = fallback
	}
}
