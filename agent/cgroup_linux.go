package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// cgroup is a sandbox's control group: one folder in each hierarchy that its limits use. The caller ends it with remove.
type cgroup struct {
	dirs map[string]string // by controller; several may have one
	v2   map[string]bool   // by controller
}

// groupName is the name of a sandbox's groups.
func groupName(mark string) string { return "ds-sandbox-" + mark }

// makeCgroup makes a group with as many of the controllers as there are; nil when there is none.
func makeCgroup(from []hierarchy, mark string) *cgroup {
	g := &cgroup{dirs: make(map[string]string), v2: make(map[string]bool)}
	for _, name := range controllers {
		for _, h := range from {
			if !h.controllers[name] || g.dirs[name] != "" {
				continue
			}
			dir := filepath.Join(h.dir, groupName(mark))
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				continue // a limit that needs it says that it is not there
			}
			g.dirs[name], g.v2[name] = dir, h.v2
		}
	}
	if len(g.dirs) == 0 {
		return nil
	}
	return g
}

// apply sets the limits that have their controller, and tells which.
func (g *cgroup) apply(l backends.Limits) (map[backends.LimitName]backends.Enforcer, error) {
	const period = 100_000 // microseconds in which a share is counted
	done := make(map[backends.LimitName]backends.Enforcer)
	var errs []error
	set := func(limit backends.LimitName, controller string, wanted bool, v1, v2 [][2]string) {
		dir, ok := g.dirs[controller]
		if !wanted || !ok {
			return
		}
		settings, by := v1, backends.ByCgroup1
		if g.v2[controller] {
			settings, by = v2, backends.ByCgroup2
		}
		for i, s := range settings {
			// The first setting is the limit. Those after it are about swap, which a system may not count.
			if err := writeControl(dir, s[0], s[1]); err != nil && i == 0 {
				errs = append(errs, fmt.Errorf("limit %s: %w", limit, err))
				return
			}
		}
		done[limit] = by
	}
	memory, processes := strconv.FormatInt(l.Memory, 10), strconv.Itoa(l.Processes)
	quota := strconv.FormatInt(max(1000, int64(l.CPUs*period)), 10)
	set(backends.LimitMemory, "memory", l.Memory > 0,
		[][2]string{{"memory.limit_in_bytes", memory}, {"memory.memsw.limit_in_bytes", memory}},
		[][2]string{{"memory.max", memory}, {"memory.swap.max", "0"}})
	set(backends.LimitCPUs, "cpu", l.CPUs > 0,
		[][2]string{{"cpu.cfs_quota_us", quota}, {"cpu.cfs_period_us", strconv.Itoa(period)}},
		[][2]string{{"cpu.max", quota + " " + strconv.Itoa(period)}})
	set(backends.LimitProcesses, "pids", l.Processes > 0,
		[][2]string{{"pids.max", processes}}, [][2]string{{"pids.max", processes}})
	return done, errors.Join(errs...)
}

// members are the files that a process writes 0 to in order to join.
func (g *cgroup) members() []string {
	var files []string
	seen := make(map[string]bool)
	for _, name := range controllers {
		if dir := g.dirs[name]; dir != "" && !seen[dir] {
			seen[dir] = true
			files = append(files, filepath.Join(dir, "cgroup.procs"))
		}
	}
	return files
}

// add moves a process into the group, with what it will start. The memory that it has already used stays charged where it was.
func (g *cgroup) add(pid int) error {
	for _, file := range g.members() {
		if err := os.WriteFile(file, strconv.AppendInt(nil, int64(pid), 10), 0); err != nil {
			return fmt.Errorf("move process into control group: %w", err)
		}
	}
	return nil
}

// freezer is the file that stops and continues the group; empty without one.
func (g *cgroup) freezer() string {
	switch dir := g.dirs["freezer"]; {
	case dir == "":
		return ""
	case g.v2["freezer"]:
		return filepath.Join(dir, "cgroup.freeze")
	default:
		return filepath.Join(dir, "freezer.state")
	}
}

// cpu is what the group's processes have used, those that are gone among them.
func (g *cgroup) cpu() (time.Duration, bool) {
	dir := g.dirs["cpuacct"]
	if g.v2["cpuacct"] {
		n, ok := readControl(dir, "cpu.stat", "usage_usec")
		return time.Duration(n) * time.Microsecond, ok
	}
	n, ok := readControl(dir, "cpuacct.usage", "")
	return time.Duration(n), ok
}

// memory is what the group uses without file pages that the system would give up first.
func (g *cgroup) memory() (int64, bool) {
	dir, current, cache := g.dirs["memory"], "memory.usage_in_bytes", "total_inactive_file"
	if g.v2["memory"] {
		current, cache = "memory.current", "inactive_file"
	}
	used, ok := readControl(dir, current, "")
	spare, _ := readControl(dir, "memory.stat", cache)
	return max(0, used-spare), ok
}

// pids are the processes in the group, or nil when that can't be told.
func (g *cgroup) pids() []int {
	files := g.members()
	var found []int
	for _, field := range strings.Fields(string(readAll(files[len(files)-1]))) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			found = append(found, pid)
		}
	}
	return found
}

// kills counts the processes that the system killed for the limit of memory.
func (g *cgroup) kills() (int64, bool) {
	if g.v2["memory"] {
		return readControl(g.dirs["memory"], "memory.events", "oom_kill")
	}
	return readControl(g.dirs["memory"], "memory.oom_control", "oom_kill")
}

// shortages counts how often memory was not to be had within the limit, whether or not somebody was killed for it. Version 1 counts
// only how often something had to be given up first (failcnt), which caches do all the time; since Linux 4.19 it kills, too, before it
// refuses.
func (g *cgroup) shortages() (int64, bool) {
	if !g.v2["memory"] {
		return 0, false
	}
	return readControl(g.dirs["memory"], "memory.events", "oom")
}

// refusals counts the forks that the system refused for the limit of processes.
func (g *cgroup) refusals() (int64, bool) { return readControl(g.dirs["pids"], "pids.events", "max") }

// noLimit is what version 1 shows for none, or more than any machine has.
const noLimit = 1 << 60

// limit is what the group holds its processes to; false when it does not.
func (g *cgroup) limit(name backends.LimitName) (int64, bool) {
	controller, file := "pids", "pids.max"
	if name == backends.LimitMemory {
		controller, file = "memory", "memory.limit_in_bytes"
		if g.v2[controller] {
			file = "memory.max"
		}
	}
	n, ok := readControl(g.dirs[controller], file, "")
	return n, ok && n < noLimit // "max" is no number
}

// enclosingCgroup is the group that this program is in, as it is shown to a container: at root, or in a folder there for each
// controller. It is only to be read; nil when there is none.
func enclosingCgroup(root string) *cgroup {
	g := &cgroup{dirs: make(map[string]string), v2: make(map[string]bool)}
	for controller, files := range map[string][2]string{
		"memory": {"memory.events", "memory.oom_control"}, "pids": {"pids.events", "pids.events"},
	} {
		below := filepath.Join(root, controller)
		if _, err := os.Stat(filepath.Join(root, files[0])); err == nil {
			g.dirs[controller], g.v2[controller] = root, true
		} else if _, err := os.Stat(filepath.Join(below, files[1])); err == nil {
			g.dirs[controller] = below
		}
	}
	if len(g.dirs) == 0 {
		return nil
	}
	return g
}

// MemoryBounded reports whether the control group that this program is in has a limit of memory, as it is shown to a container at root.
func MemoryBounded(root string) bool {
	g := enclosingCgroup(root)
	if g == nil {
		return false
	}
	_, ok := g.limit(backends.LimitMemory)
	return ok
}

// writeControl writes to a file of a group that is there.
func writeControl(dir, name, value string) error {
	path := filepath.Join(dir, name)
	if err := writeProc(path, value); err != nil {
		return &os.PathError{Op: "write " + value + " to", Path: path, Err: err}
	}
	return nil
}

// readControl reads a number: the value of a key, or the whole file when key is empty.
func readControl(dir, name, key string) (int64, bool) {
	if dir == "" {
		return 0, false
	}
	var buf [8 << 10]byte
	for line := range strings.Lines(string(readProc(filepath.Join(dir, name), buf[:]))) {
		fields := strings.Fields(line)
		if key != "" && (len(fields) < 2 || fields[0] != key) || len(fields) == 0 {
			continue
		}
		n, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
		return n, err == nil
	}
	return 0, false
}
