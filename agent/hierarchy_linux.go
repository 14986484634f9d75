package agent

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A hierarchy is a place where control groups may be made: the group of this program itself, if that is ours to divide,
// see divisible. The program itself is never moved.
type hierarchy struct {
	dir         string // the group that ours are made in
	v2          bool
	controllers map[string]bool
}

// controllers that a sandbox's group uses, as far as they are there.
var controllers = []string{"memory", "cpu", "cpuacct", "pids", "freezer"}

// hierarchies of this machine; looked for once.
var hierarchies = sync.OnceValue(func() []hierarchy {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	return findHierarchies(string(mounts), string(groups))
})

// findHierarchies reads the tables of mounts and of this program's groups.
func findHierarchies(mounts, groups string) []hierarchy {
	own := make(map[string]string) // group by controllers; "" is v2
	for line := range strings.Lines(groups) {
		if fields := strings.SplitN(strings.TrimSpace(line), ":", 3); len(fields) == 3 {
			own[fields[1]] = fields[2]
		}
	}
	var found []hierarchy
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(line, " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(place) < 5 || len(kind) < 3 {
			continue
		}
		root, mount := place[3], place[4] // what of the hierarchy is mounted, and where
		switch kind[0] {
		case "cgroup2":
			if below, ok := groupBelow(own[""], root); ok {
				found = append(found, divideV2(mount, below)...)
			}
		case "cgroup":
			for list, group := range own {
				below, ok := groupBelow(group, root)
				dir := filepath.Join(mount, below)
				if !ok || list == "" || !sameOptions(kind[2], list) || !divisible(dir, below == "") {
					continue
				}
				h := hierarchy{dir: dir, controllers: make(map[string]bool)}
				for name := range strings.SplitSeq(list, ",") {
					h.controllers[name] = true
				}
				found = append(found, h)
			}
		}
	}
	return found
}

// groupBelow is the part of a group's path below root.
func groupBelow(group, root string) (string, bool) {
	if group == "" {
		return "", false
	}
	below, ok := strings.CutPrefix(group, strings.TrimSuffix(root, "/"))
	return strings.Trim(below, "/"), ok && (below == "" || below[0] == '/')
}

// sameOptions reports whether all controllers of a list are among the options of a mount.
func sameOptions(options, list string) bool {
	given := strings.Split(options, ",")
	for name := range strings.SplitSeq(list, ",") {
		found := false
		for _, option := range given {
			found = found || option == name
		}
		if !found {
			return false
		}
	}
	return true
}

// divideV2 is where groups of version 2 can be made. One with processes in it can't have groups with controllers below it,
// except the root, so a user's program goes beside its own group, where that belongs to the user.
func divideV2(mount, below string) []hierarchy {
	dirs := []string{filepath.Join(mount, below)}
	if below != "" && os.Geteuid() != 0 {
		dirs = append(dirs, filepath.Dir(dirs[0]))
	}
	for _, dir := range dirs {
		if !divisible(dir, dir == filepath.Clean(mount)) {
			continue
		}
		h := hierarchy{dir: dir, v2: true, controllers: passedOn(dir)}
		available, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		for _, name := range strings.Fields(string(available)) {
			if !h.controllers[name] && writeControl(dir, "cgroup.subtree_control", "+"+name) == nil {
				h.controllers[name] = true
			}
		}
		if len(h.controllers) > 0 {
			h.controllers["freezer"], h.controllers["cpuacct"] = true, true // every group has these
			return []hierarchy{h}
		}
	}
	return nil
}

// passedOn are the controllers that groups below one of version 2 have.
func passedOn(dir string) map[string]bool {
	names, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	found := make(map[string]bool)
	for _, name := range strings.Fields(string(names)) {
		found[name] = true
	}
	return found
}

// divisible reports whether a group is ours to divide. Each group has one manager. We are it where the group is the top of
// what we see, as in a container; where it was given to this user; or where it is marked as delegated. Root could write
// in groups that somebody else manages too, and would be in the way there.
func divisible(dir string, top bool) bool {
	if unix.Access(dir, unix.W_OK) != nil || unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) != nil {
		return false
	}
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	if top || os.Geteuid() != 0 && ownerOf(info) == os.Geteuid() {
		return true
	}
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		value := make([]byte, 8)
		if n, err := unix.Getxattr(dir, name, value); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}
