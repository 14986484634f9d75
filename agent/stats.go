package agent

import (
	"context"
	"maps"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Stats tells what the instance uses.
func (in *Instance) Stats(ctx context.Context) (backends.Stats, error) {
	k, err := in.knownKeeper()
	if err != nil {
		return backends.Stats{}, err
	}
	s := backends.Stats{Time: time.Now()}
	if k != nil {
		c := in.limiter.census(k)
		s.CPU, _ = in.limiter.account.spent(&c)
		s.Memory, s.Processes, s.Threads = c.memory+c.shared(in.shared).bytes, c.processes, c.threads
	}
	if group := in.limiter.group; group != nil {
		if cpu, ok := group.cpu(); ok {
			s.CPU = cpu
		}
		if memory, ok := group.memory(); ok {
			s.Memory = memory
		}
	}
	disk := in.disk.figures(ctx)
	s.Disk, s.Files, s.DiskPartial, s.DiskTime = disk.bytes, disk.entries, disk.partial, disk.time
	return s, context.Cause(ctx)
}

// Enforcement tells what makes each limit hold.
func (in *Instance) Enforcement() map[backends.LimitName]backends.Enforcer {
	return maps.Clone(in.limiter.by)
}

// watch tells the watchdog something, if there is one.
func (in *Instance) watch(tell func(*watchdog)) {
	in.mu.Lock()
	w := in.watchdog
	in.mu.Unlock()
	if w != nil {
		tell(w)
	}
}

// nameless is what files without a name take that processes of the instance hold open.
func (in *Instance) nameless() int64 {
	k, err := in.knownKeeper()
	if k == nil || err != nil {
		return 0
	}
	c := in.limiter.census(k)
	return c.unlinkedBytes(in.place.Workspace)
}

// freeShared removes what is left in shared memory when the control group has little room after a process was killed.
func (in *Instance) freeShared() {
	limit, bounded := in.limiter.allowed(backends.LimitMemory)
	if used, ok := in.limiter.counting(backends.LimitMemory).memory(); ok && bounded && used > limit/2 {
		in.shared.remove()
	}
}
