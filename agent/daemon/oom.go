package daemon

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// oomWatch knows whether the system has killed for a limit of our container's, from its control group, in which we may only read.
type oomWatch struct {
	root string // of the control groups; /sys/fs/cgroup

	mu     sync.Mutex // guards what follows
	counts map[backends.LimitName]int64
	rose   map[backends.LimitName]time.Time // when a count was first seen higher; zero once that was told
}

// cgroupRoot is where the system shows them.
const cgroupRoot = "/sys/fs/cgroup"

// oomMemory is how long a kill is held against a process that ends: what was killed may have been a child of it, that nobody
// asks about.
const oomMemory = 3 * time.Second

func watchOOM(root string) *oomWatch {
	w := &oomWatch{root: root, counts: make(map[backends.LimitName]int64), rose: make(map[backends.LimitName]time.Time)}
	for name, count := range w.read() {
		w.counts[name] = count
	}
	return w
}

// look takes note of what was killed since it last did.
func (w *oomWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, count := range w.read() {
		if count > w.counts[name] {
			w.rose[name] = time.Now()
		}
		w.counts[name] = count
	}
}

// killed is the limit for which a process was killed that has just ended; nil when there is none.
func (w *oomWatch) killed() *backends.LimitError {
	w.look()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range []backends.LimitName{backends.LimitMemory, backends.LimitProcesses} {
		at := w.rose[name]
		delete(w.rose, name)
		if at.IsZero() || time.Since(at) > oomMemory {
			continue
		}
		if allowed, ok := w.allowed(name); ok {
			return &backends.LimitError{Limit: name, Allowed: allowed, Used: allowed}
		}
	}
	return nil
}

// asked is a limit as the sandbox's owner knows it: the control group's has room for the agent, too.
func asked(limit *backends.LimitError, limits backends.Limits) *backends.LimitError {
	if limit == nil {
		return nil
	}
	owners := map[backends.LimitName]int64{backends.LimitMemory: limits.Memory, backends.LimitProcesses: int64(limits.Processes)}[limit.Limit]
	if owners > 0 {
		limit.Allowed = min(limit.Allowed, owners)
	}
	return limit
}

// Where the counts and limits are, in version 2 and version 1.
var (
	countFiles = map[backends.LimitName][]struct{ file, key string }{
		backends.LimitMemory:    {{"memory.events", "oom_kill"}, {"memory/memory.oom_control", "oom_kill"}},
		backends.LimitProcesses: {{"pids.events", "max"}, {"pids/pids.events", "max"}},
	}
	limitFiles = map[backends.LimitName][]string{
		backends.LimitMemory:    {"memory.max", "memory/memory.limit_in_bytes"},
		backends.LimitProcesses: {"pids.max", "pids/pids.max"},
	}
)

func (w *oomWatch) read() map[backends.LimitName]int64 {
	counts := make(map[backends.LimitName]int64)
	for name, places := range countFiles {
		for _, place := range places {
			data, err := os.ReadFile(filepath.Join(w.root, place.file))
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(data)) {
				fields := strings.Fields(line)
				if len(fields) != 2 || fields[0] != place.key {
					continue
				}
				if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
					counts[name] = n
				}
			}
			break
		}
	}
	return counts
}

// noLimit is what version 1 shows for none, or more than any machine has.
const noLimit = 1 << 60

func (w *oomWatch) allowed(name backends.LimitName) (int64, bool) {
	for _, file := range limitFiles[name] {
		data, err := os.ReadFile(filepath.Join(w.root, file))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return n, err == nil && n < noLimit // "max" is none
	}
	return 0, false
}
