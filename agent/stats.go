package agent

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// diskCache is what the folders took when they were last counted.
type diskCache struct {
	counting sync.Mutex // held while they are counted; guards use
	use      diskUse
}

// How old the count of the disk may be: counting takes at most a twentieth of the time, up to a point.
const (
	minDiskAge = time.Second
	diskShare  = 20
	maxDiskAge = 30 * time.Second
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
		s.CPU, s.Memory, s.Processes, s.Threads = c.cpu, c.memory, c.processes, c.threads
	}
	if group := in.limiter.group; group != nil {
		if cpu, ok := group.cpu(); ok {
			s.CPU = cpu
		}
		if memory, ok := group.memory(); ok {
			s.Memory = memory
		}
	}
	disk := in.diskUse(ctx)
	s.Disk, s.Files, s.DiskPartial, s.DiskTime = disk.bytes, disk.entries, disk.partial, disk.time
	return s, context.Cause(ctx)
}

func (in *Instance) diskUse(ctx context.Context) diskUse {
	in.use.counting.Lock()
	defer in.use.counting.Unlock()
	if known := in.use.use; known.time.IsZero() || time.Since(known.time) > min(max(minDiskAge, diskShare*known.took), maxDiskAge) {
		counted := measureDisk(ctx, in.place.measured()...)
		if ctx.Err() != nil {
			return counted
		}
		in.use.use = counted
	}
	return in.use.use
}

// measured are the folders whose contents count as disk, the workspace first.
func (p *Place) measured() []string { return append([]string{p.Workspace, p.Private}, p.Measured...) }

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
