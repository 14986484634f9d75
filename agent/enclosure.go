package agent

import "github.com/ds-sandbox/ds-sandbox/backends"

// Limits of memory and processes may hold in two places: a control group of the sandbox's own, and one around the agent and all that
// it starts, the container's. There is one of the two at most.

// counts reads what the system has done for our limits.
func (b *limiter) counts() (c counts) {
	if g := b.counting(backends.LimitMemory); g != nil {
		c.kills, _ = g.kills()
		c.short, _ = g.shortages()
	}
	if g := b.counting(backends.LimitProcesses); g != nil {
		c.refused, _ = g.refusals()
	}
	return c
}

// counting is the group whose deeds for a limit concern us; nil when there is none.
func (b *limiter) counting(name backends.LimitName) *cgroup {
	if b.group != nil && b.asked(name) > 0 && !b.watched(name) {
		return b.group
	}
	return b.outer
}

// allowed is a limit as the sandbox's owner knows it: a container's has room for the agent, too, or is there for the machine's sake.
func (b *limiter) allowed(name backends.LimitName) (int64, bool) {
	asked := b.asked(name)
	if b.counting(name) != b.outer || b.outer == nil {
		return asked, asked > 0
	}
	held, ok := b.outer.limit(name)
	if ok && asked > 0 {
		held = min(held, asked)
	}
	return held, ok
}

func (b *limiter) asked(name backends.LimitName) int64 {
	switch name {
	case backends.LimitMemory:
		return b.limits.Memory
	case backends.LimitProcesses:
		return int64(b.limits.Processes)
	}
	return 0
}
