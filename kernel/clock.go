package kernel

import (
	"sync"
	"time"
)

// Clock is the time of things that can be paused: it stands still between Pause and Resume, and so do its timers.
// The zero value runs. It has no goroutine and needs no end.
type Clock struct {
	mu      sync.Mutex // guards what follows
	paused  bool
	since   time.Time     // of the last change of paused, or of the first use
	elapsed time.Duration // until since
	timers  map[*Timer]struct{}
}

// Timer calls a function after a time on a Clock. The caller may Stop it.
type Timer struct {
	clock *Clock
	due   time.Duration // on the clock
	call  func()
	timer *time.Timer // nil while the clock is paused
}

// Now is the time that has run on the clock since its first use.
func (c *Clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Clock) now() time.Duration {
	if c.since.IsZero() {
		c.since = time.Now()
	}
	if c.paused {
		return c.elapsed
	}
	return c.elapsed + time.Since(c.since)
}

// Paused reports whether the clock stands still.
func (c *Clock) Paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// AfterFunc calls f on a goroutine of its own once d has run on the clock.
func (c *Clock) AfterFunc(d time.Duration, f func()) *Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &Timer{clock: c, due: c.now() + d, call: f}
	if c.timers == nil {
		c.timers = make(map[*Timer]struct{})
	}
	c.timers[t] = struct{}{}
	if !c.paused {
		t.arm()
	}
	return t
}

// arm sets the real timer; the clock runs and its lock is held.
func (t *Timer) arm() { t.timer = time.AfterFunc(t.due-t.clock.now(), t.fire) }

func (t *Timer) fire() {
	c := t.clock
	c.mu.Lock()
	_, waits := c.timers[t]
	// Paused, or paused and resumed, since the real timer ran out.
	early := c.paused || c.now() < t.due
	if waits && !early {
		delete(c.timers, t)
	}
	c.mu.Unlock()
	if waits && !early {
		t.call()
	}
}

// Stop keeps the timer from calling; it reports whether it was in time for that.
func (t *Timer) Stop() bool {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waits := c.timers[t]
	delete(c.timers, t)
	if t.timer != nil {
		t.timer.Stop()
	}
	return waits
}

// Pause stops the clock. It is idempotent.
func (c *Clock) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused {
		return
	}
	c.elapsed = c.now()
	c.paused, c.since = true, time.Now()
	for t := range c.timers {
		t.timer.Stop()
		t.timer = nil
	}
}

// Resume lets the clock run on. It is idempotent.
func (c *Clock) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.paused {
		return
	}
	c.paused, c.since = false, time.Now()
	for t := range c.timers {
		t.arm()
	}
}
