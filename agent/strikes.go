package agent

import (
	"slices"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// record is what limits were enforced lately, and what the system has told of that.
type record struct {
	strikes []strike // the oldest first
	kills   int64    // of the system's for the limit of memory, as far as they are noted
	refused int64    // forks, as far as they are noted
}

// strike is a limit that was enforced.
type strike struct {
	limit  *backends.LimitError
	at     time.Time
	victim int // the process of ours that was ended, or one below it; 0 for all, or for one of them
	kills  int // processes that the system has killed for it, whose ends are not explained yet
}

const (
	maxStrikes = 64
	// A process that the system has killed is heard of after so long at the most.
	killNews = time.Second
)

// struck notes that a limit was enforced.
func (w *watchdog) struck(limit *backends.LimitError, victim int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(strike{limit: limit, victim: victim})
}

// note is struck for who holds the lock.
func (w *watchdog) note(s strike) {
	s.at = time.Now()
	r := &w.record
	if len(r.strikes) == maxStrikes {
		r.strikes = slices.Delete(r.strikes, 0, 1)
	}
	r.strikes = append(r.strikes, s)
}

// takeNote notes what the system has enforced since it was last called, and returns how many it has killed for memory.
func (w *watchdog) takeNote() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteSystem()
	return w.record.kills
}

// noteSystem is takeNote for who holds the lock.
func (w *watchdog) noteSystem() {
	l, r := w.limiter, &w.record
	if l.group == nil {
		return
	}
	if l.limits.Memory > 0 && !l.watched(backends.LimitMemory) {
		if kills, ok := l.group.kills(); ok && kills > r.kills {
			limit := &backends.LimitError{Limit: backends.LimitMemory, Allowed: l.limits.Memory, Used: l.limits.Memory}
			w.note(strike{limit: limit, kills: int(kills - r.kills)})
			r.kills = kills
		}
	}
	if l.limits.Processes > 0 && !l.watched(backends.LimitProcesses) {
		if refused, ok := l.group.refusals(); ok && refused > r.refused {
			allowed := int64(l.limits.Processes)
			limit := &backends.LimitError{Limit: backends.LimitProcesses, Allowed: allowed, Used: allowed, Note: "and forks were refused"}
			w.note(strike{limit: limit})
			r.refused = refused
		}
	}
}

// verdict tells which limit ended a process, and which were enforced while it lived.
func (w *watchdog) verdict(e ending, status *backends.ExitStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteSystem()
	reason := w.reasons[e.pid]
	delete(w.reasons, e.pid)
	switch {
	case status.Signal != "SIGKILL":
		if status.Limit = w.limiter.judge(*status); status.Limit != nil {
			w.note(strike{limit: status.Limit, victim: e.pid})
		}
	case w.all != nil:
		status.Limit = w.all
	case reason != nil:
		status.Limit = reason
	case !e.killed:
		if status.Limit = w.claim(e); status.Limit == nil && w.killed != nil {
			status.Limit = w.killed()
		}
	}
	status.LimitsHit = w.hitSince(e.begun, e.pid)
}

// claim explains the end of a process by one that the system has killed for the limit of memory while it lived, if any.
func (w *watchdog) claim(e ending) *backends.LimitError {
	for i := range w.record.strikes {
		s := &w.record.strikes[i]
		if s.kills > 0 && s.at.After(e.begun) && time.Since(s.at) < killNews {
			if s.kills--; s.kills == 0 {
				s.victim = e.pid
			}
			return s.limit
		}
	}
	return nil
}

// hits are the limits that were enforced on a process of ours, or on what is below it.
func (w *watchdog) hits(since time.Time, pid int) []*backends.LimitError {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteSystem()
	return w.hitSince(since, pid)
}

func (w *watchdog) hitSince(since time.Time, pid int) []*backends.LimitError {
	var hits []*backends.LimitError
	for _, s := range w.record.strikes {
		if s.at.Before(since) || s.victim != 0 && s.victim != pid {
			continue
		}
		hits = slices.DeleteFunc(hits, func(h *backends.LimitError) bool { return h.Limit == s.limit.Limit })
		hits = append(hits, s.limit)
	}
	return hits
}

// ancestor is the process of ours that another is below, or is; 0 when there is none.
func (w *watchdog) ancestor(pid int) int {
	guests := w.keeper.owner.guestIDs()
	for range maxAncestors {
		if pid <= 1 || pid == w.keeper.pid {
			return 0
		}
		if w.keeper.started(pid) || slices.Contains(guests, pid) {
			return pid
		}
		pid = parentOf(pid)
	}
	return 0
}

// maxAncestors bounds how far up is looked.
const maxAncestors = 1000
