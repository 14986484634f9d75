package agent

import (
	"slices"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// record is what limits were enforced lately, and what the system has told of that.
type record struct {
	strikes []strike // the oldest first
	counts  counts   // as far as they are noted
}

// counts is what the system has done for the limits of a control group.
type counts struct {
	kills   int64 // of processes, for memory
	short   int64 // of times that memory was not to be had; of version 2 alone
	refused int64 // forks
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
	killNews = 3 * time.Second
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
	return w.record.counts.kills
}

// catchUp is takeNote before something is started, which has nothing to do with what was before.
func (w *watchdog) catchUp() { w.takeNote() }

// noteSystem is takeNote for who holds the lock.
func (w *watchdog) noteSystem() {
	now, before := w.limiter.counts(), w.record.counts
	w.record.counts = now
	if killed := now.kills - before.kills; killed > 0 {
		w.noteOf(backends.LimitMemory, "", int(killed))
	} else if now.short > before.short {
		w.noteOf(backends.LimitMemory, "and memory was refused", 0)
	}
	if now.refused > before.refused {
		w.noteOf(backends.LimitProcesses, "and forks were refused", 0)
	}
}

// noteOf notes what the system has done for a limit, unless there is none: the machine itself may be short of memory.
func (w *watchdog) noteOf(name backends.LimitName, what string, kills int) {
	if allowed, ok := w.limiter.allowed(name); ok {
		w.note(strike{limit: &backends.LimitError{Limit: name, Allowed: allowed, Used: allowed, Note: what}, kills: kills})
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
	case w.all != nil && w.allTo.IsZero():
		status.Limit = w.all
	case reason != nil:
		status.Limit = reason
	case e.killed: // no limit did
	case w.all != nil && e.begun.Before(w.allTo):
		status.Limit = w.all
	default:
		status.Limit = w.claim(e)
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
