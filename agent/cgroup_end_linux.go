package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// groupPatience is how long a group may take to become empty, whose processes were all killed.
const groupPatience = 2 * time.Second

// remove kills what is left in the group, and removes it with groups that the code made in it.
func (g *cgroup) remove() error {
	var errs []error
	seen := make(map[string]bool)
	for _, dir := range g.dirs {
		if !seen[dir] {
			seen[dir] = true
			errs = append(errs, removeGroup(dir))
		}
	}
	return errors.Join(errs...)
}

// removeMarked removes the groups of sandboxes whose engines are dead.
func removeMarked(marks []string) error {
	var errs []error
	for _, mark := range marks {
		if mark == "" || strings.ContainsAny(mark, "/\x00") { // the code can write where we have it from
			continue
		}
		for _, h := range hierarchies() {
			errs = append(errs, removeGroup(filepath.Join(h.dir, groupName(mark))))
		}
	}
	return errors.Join(errs...)
}

// removeGroup kills and thaws what is in a group, and removes it. One that is not there is no error.
func removeGroup(dir string) error {
	for deadline := time.Now().Add(groupPatience); ; time.Sleep(time.Millisecond) {
		err := emptyGroup(dir, 0)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("agent: remove control group: %w", err)
		}
	}
}

// maxGroupDepth bounds how deep the groups are followed that code made in its own.
const maxGroupDepth = 16

func emptyGroup(dir string, depth int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() && depth < maxGroupDepth {
			_ = emptyGroup(filepath.Join(dir, entry.Name()), depth+1) // the last line tells
		}
	}
	members, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for _, field := range strings.Fields(string(members)) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid <= 1 || pid == os.Getpid() { // 0 is a process of another namespace
			continue
		}
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if len(members) > 0 {
		_ = writeControl(dir, "freezer.state", "THAWED")
		_ = writeControl(dir, "cgroup.freeze", "0")
	}
	return unix.Rmdir(dir)
}
