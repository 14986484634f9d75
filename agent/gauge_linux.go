package agent

import (
	"bytes"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// gauge reads what a process and its descendants use, from /proc.
type gauge struct {
	pid int
	cpu time.Duration
}

// tick is the unit of times in /proc, which Linux fixes for all programs.
const tick = time.Second / 100

// startGauge begins a span. Writing 5 to clear_refs sets the peak of memory back to what is used now.
func startGauge(pid int) gauge {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/clear_refs", []byte("5"), 0)
	return gauge{pid: pid, cpu: treeCPU(pid, 0)}
}

// stop ends the span. A process that is gone has used what we can't see any more: zero.
func (g gauge) stop() (cpu time.Duration, peak int64) {
	return max(0, treeCPU(g.pid, 0)-g.cpu), peakMemory(g.pid)
}

// maxDepth bounds how deep a tree of processes is followed, maxTasks how wide.
const (
	maxDepth = 16
	maxTasks = 256
)

// treeCPU is the user and system time of a process, its reaped children and its live descendants.
func treeCPU(pid, depth int) time.Duration {
	root := "/proc/" + strconv.Itoa(pid)
	data, err := os.ReadFile(root + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 15 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.ParseInt(f, 10, 64)
		ticks += n
	}
	total := time.Duration(ticks) * tick
	if depth == maxDepth {
		return total
	}
	tasks, err := os.ReadDir(root + "/task")
	if err != nil {
		return total
	}
	for _, task := range tasks[:min(len(tasks), maxTasks)] {
		children, err := os.ReadFile(root + "/task/" + task.Name() + "/children")
		if err != nil {
			continue
		}
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				total += treeCPU(n, depth+1)
			}
		}
	}
	return total
}

// peakMemory is the highest resident set since the span began, bytes.
func peakMemory(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(data), "VmHWM:")
	if !ok {
		return 0
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.ParseInt(fields[0], 10, 64)
	return kilobytes << 10
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), ctime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode, s.ctime = st.Ino, st.Ctim.Nano()
	}
	return s
}
