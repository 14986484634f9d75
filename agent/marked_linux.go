package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// KillMarked ends the processes of this user whose environment carries the mark of one of these sandboxes ([Place]), in
// 2 s at most, and all in the control groups of these, which it removes. It is the means of last resort, when the
// processes above them are gone: code can wipe its environment.
func KillMarked(marks ...string) error {
	return errors.Join(removeMarked(marks), killMarked(marks))
}

func killMarked(marks []string) error {
	entries := make(map[string]bool, len(marks))
	for _, mark := range marks {
		if mark != "" {
			entries[MarkVariable+"="+mark] = true
		}
	}
	if len(entries) == 0 {
		return nil
	}
	deadline := time.Now().Add(killPatience)
	for {
		found := marked(entries)
		if len(found) == 0 {
			return nil
		}
		for _, p := range found {
			_ = p.Signal(syscall.SIGSTOP) // all of them first, so that a fork bomb does not outrun us
		}
		for _, p := range found {
			_ = p.Kill()
			_ = p.Release()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("agent: %d processes of sandboxes could not be ended", len(found))
		}
		time.Sleep(time.Millisecond) // the kernel takes a moment to remove them
	}
}

// marked lists the live processes of this user with one of these entries in their environment. The caller releases them.
func marked(entries map[string]bool) []*os.Process {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var found []*os.Process
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || !carries(dir, entries) {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		if !carries(dir, entries) { // the handle is bound to one process, so now the id can't have passed on
			_ = p.Release()
			continue
		}
		found = append(found, p)
	}
	return found
}

func carries(dir string, entries map[string]bool) bool {
	info, err := os.Stat(dir)
	if err != nil || ownerOf(info) != os.Geteuid() {
		return false
	}
	env, err := os.ReadFile(dir + "/environ") // a zombie has none any more
	if err != nil {
		return false
	}
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if entries[string(entry)] {
			return true
		}
	}
	return false
}
