package sandbox

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Start is how an interpreter came to be.
type Start struct {
	Kind backends.StartKind `json:"kind"` // "spare", "fork" or "cold"; empty before there is one
	// Time is how long who asked for it waited: of a sandbox, Create or Fork.
	Time time.Duration `json:"time"`
}

// Occasion is what an interpreter was started for.
type Occasion string

// The occasions.
const (
	OnCreate   Occasion = "create"   // a sandbox
	OnFork     Occasion = "fork"     // a sandbox that is a fork of another
	OnContext  Occasion = "context"  // CreateContext, or the first run of a language
	OnRestart  Occasion = "restart"  // by the caller, or after a death
	OnRollback Occasion = "rollback" // Rollback, Undo, or a run that was undone
)

// StartCount counts starts of one kind.
type StartCount struct {
	Count int           `json:"count"`
	Total time.Duration `json:"total"`
}

// Metrics are figures of an engine.
type Metrics struct {
	Live   int                               `json:"live"`   // sandboxes, without spares
	Spares int                               `json:"spares"` // ready to be given away
	Starts map[backends.StartKind]StartCount `json:"starts"` // of sandboxes that were created, since the engine was opened
	// Occasions has the starts of all interpreters that somebody asked for.
	Occasions map[Occasion]map[backends.StartKind]StartCount `json:"occasions"`
	// NotPreloaded are modules of Config.Preload that could not be imported, with the reasons.
	NotPreloaded map[string]string `json:"not_preloaded,omitempty"`
}

// Metrics tells the engine's figures.
func (e *Engine) Metrics() Metrics {
	m := Metrics{Live: len(e.live()), Spares: e.spares.depth(), Occasions: e.starts.counts()}
	if m.Starts = m.Occasions[OnCreate]; m.Starts == nil {
		m.Starts = make(map[backends.StartKind]StartCount)
	}
	if preloader, ok := e.backend.(backends.Preloader); ok {
		m.NotPreloaded = preloader.NotPreloaded()
	}
	return m
}

// starts counts the starts of interpreters.
type starts struct {
	mu    sync.Mutex
	count map[Occasion]map[backends.StartKind]StartCount
}

func (s *starts) add(why Occasion, start Start) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil {
		s.count = make(map[Occasion]map[backends.StartKind]StartCount)
	}
	if s.count[why] == nil {
		s.count[why] = make(map[backends.StartKind]StartCount)
	}
	c := s.count[why][start.Kind]
	s.count[why][start.Kind] = StartCount{Count: c.Count + 1, Total: c.Total + start.Time}
}

func (s *starts) counts() map[Occasion]map[backends.StartKind]StartCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[Occasion]map[backends.StartKind]StartCount, len(s.count))
	for why, byKind := range s.count {
		out[why] = maps.Clone(byKind)
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

// Start is how the context's present interpreter came to be.
func (c *Context) Start() Start {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.began
}

// note remembers how the interpreter came to be, which was asked for at a time.
func (c *Context) note(begun time.Time) Start {
	start := Start{Kind: backends.StartCold, Time: time.Since(begun)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if teller, ok := c.kernel.Process().(backends.StartTeller); ok {
		start.Kind = teller.StartKind()
	}
	c.began = start
	return start
}

// noteStart remembers how the sandbox came to be.
func (s *Sandbox) noteStart(start Start) {
	s.mu.Lock()
	s.start = start
	c := s.defaults["python"]
	s.mu.Unlock()
	if c != nil && start.Kind == backends.StartSpare {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.began = start
	}
}
