package daemon

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// reapPause is how long the dead are left to who waits for them. Our own children have a goroutine each that waits, and takes them at
// once; those that are still there after the pause are orphans, which the system has given to process 1. Waiting for any child
// would take ours away from package os/exec.
const reapPause = time.Second

// reap buries orphans.
func reap(ctx context.Context) {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	before := make(map[int]bool)
	for {
		if len(before) == 0 {
			select {
			case <-died:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-time.After(reapPause):
		case <-ctx.Done():
			return
		}
		dead := make(map[int]bool)
		for _, pid := range zombies() {
			if before[pid] {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
			} else {
				dead[pid] = true
			}
		}
		before = dead
	}
}

// zombies are the children of ours that have ended.
func zombies() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	own := strconv.Itoa(os.Getpid())
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		data, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state parent ...; the name may hold anything.
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) > 1 && fields[0] == "Z" && fields[1] == own {
			found = append(found, pid)
		}
	}
	return found
}
