package sandbox

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Start is how a sandbox came to be.
type Start struct {
	Kind backends.StartKind `json:"kind"` // of its first interpreter: "spare", "fork" or "cold"; empty with Options.Lazy
	// Time is how long Create took.
	Time time.Duration `json:"time"`
}

// StartCount counts starts of one kind.
type StartCount struct {
	Count int           `json:"count"`
	Total time.Duration `json:"total"`
}

// Metrics are figures of an engine.
type Metrics struct {
	Live   int                               `json:"live"`   // sandboxes, without spares
	Spares int                               `json:"spares"` // ready to be given away
	Starts map[backends.StartKind]StartCount `json:"starts"` // of sandboxes, since the engine was opened
}

// Metrics tells the engine's figures.
func (e *Engine) Metrics() Metrics {
	m := Metrics{Live: len(e.live()), Spares: e.spares.depth()}
	m.Starts = e.starts.counts()
	return m
}

// starts counts the starts of sandboxes.
type starts struct {
	mu     sync.Mutex
	byKind map[backends.StartKind]StartCount
}

func (s *starts) add(start Start) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKind == nil {
		s.byKind = make(map[backends.StartKind]StartCount)
	}
	c := s.byKind[start.Kind]
	s.byKind[start.Kind] = StartCount{Count: c.Count + 1, Total: c.Total + start.Time}
}

func (s *starts) counts() map[backends.StartKind]StartCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[backends.StartKind]StartCount, len(s.byKind))
	for kind, c := range s.byKind {
		out[kind] = c
	}
	return out
}

// Warm waits until the engine can start Python interpreters by forking, which else is the case some time after the first sandbox
// was created. An error says why they start afresh instead; that is none for who does not care.
func (e *Engine) Warm(ctx context.Context) error {
	warmer, ok := e.backend.(backends.Warmer)
	if !ok || e.config.NoForkServer {
		return fmt.Errorf("sandbox: fork server: %w", backends.ErrUnsupported)
	}
	if err := warmer.Warm(ctx); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	return nil
}

// startKind is how the context's interpreter came to be.
func (c *Context) startKind() backends.StartKind {
	if teller, ok := c.current().Process().(backends.StartTeller); ok {
		return teller.StartKind()
	}
	return backends.StartCold
}
