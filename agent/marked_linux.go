package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// KillMarked ends the processes of this user whose environment carries the mark of a sandbox, and their keeper's
// other children by the same mark. It is the means of last resort: code can wipe its environment.
func KillMarked(id string) error {
	mark := []byte(MarkVariable + "=" + id + "\x00")
	deadline := time.Now().Add(killPatience)
	for {
		pids := marked(mark)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGSTOP) // so that a fork bomb does not outrun us
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("agent: %d processes of sandbox %s could not be ended", len(pids), id)
		}
		time.Sleep(time.Millisecond) // the kernel takes a moment to remove them
	}
}

// marked lists the live processes with a mark in their environment.
func marked(mark []byte) []int {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var pids []int
	for _, name := range names {
		// Read first: another user's process gives an error, a zombie nothing.
		env, err := os.ReadFile(name + "/environ")
		if err != nil || !bytes.Contains(append([]byte{0}, env...), append([]byte{0}, mark...)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(name)); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
