package agent

import (
	"slices"
	"sync"
	"time"
)

// account adds up the CPU time of an instance's processes from one census to the next. The system adds that of a child to its
// parent's when the parent waits for it, and drops it when the parent has said that it never will (SIGCHLD ignored): so who
// vanishes without that anybody's time grows by theirs is carried forward as they were last seen.
type account struct {
	mu   sync.Mutex // guards what follows
	last map[int]procStat
	owed map[int]time.Duration // of those that vanished by the last census, by who may yet have waited for them
	lost time.Duration         // that the system has dropped
}

// spent is what all processes have used, and whether time was found lost. Each census is given once.
func (a *account) spent(c *census) (total time.Duration, lost bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.partial {
		return c.cpu + a.lost, false
	}
	owed := make(map[int]time.Duration)
	for pid, was := range a.last {
		if now, ok := c.stats[pid]; ok && now.start == was.start {
			continue
		}
		if s, ok := readStat(pid); !ok || s.start != was.start {
			owed[a.payer(c, pid)] += was.cpu
		} else if s.ended { // and the control group lists it no more
			c.stats[pid] = s
			c.cpu += s.cpu
		}
	}
	late := make(map[int]time.Duration) // from the census before, in which a parent may have been seen just before it waited
	for pid, amount := range a.owed {
		late[a.payer(c, pid)] += amount
	}
	before := a.lost
	a.settle(c, late, owed)
	a.last = c.stats
	return c.cpu + a.lost, a.lost > before
}

// payer is the last one above a process, or the process itself, that is there still; a root, who is given the orphans, if
// there is none.
func (a *account) payer(c *census, pid int) int {
	for range maxAncestors {
		was, ok := a.last[pid]
		if !ok {
			break
		}
		if now, ok := c.stats[pid]; ok && now.start == was.start {
			return pid
		}
		pid = was.parent
	}
	return c.roots[0]
}

// settle takes off what is owed by how much those who owe it have grown. What is late then is lost.
func (a *account) settle(c *census, late, owed map[int]time.Duration) {
	growth := func(pid int) time.Duration {
		now, was := c.stats[pid], a.last[pid]
		if now.start != was.start {
			return now.reaped
		}
		return now.reaped - was.reaped
	}
	// The roots', too, takes off what others owe: their children may have been orphans when they ended.
	spare := time.Duration(0)
	for _, root := range c.roots {
		spare += growth(root)
	}
	pay := func(amount, from time.Duration) (due, left time.Duration) {
		paid := min(amount, from)
		return amount - paid, from - paid
	}
	a.owed = make(map[int]time.Duration)
	payers := make(map[int]bool)
	for _, debts := range []map[int]time.Duration{late, owed} {
		for pid := range debts {
			payers[pid] = true
		}
	}
	for pid := range payers {
		grown := time.Duration(0)
		if !slices.Contains(c.roots, pid) {
			grown = growth(pid)
		}
		var first, second time.Duration
		first, grown = pay(late[pid], grown)
		second, _ = pay(owed[pid], grown)
		first, spare = pay(first, spare)
		second, spare = pay(second, spare)
		// The times that parents are given count in ticks.
		if first > 2*tick {
			a.lost += first
		}
		if second > 0 {
			a.owed[pid] = second
		}
	}
}
