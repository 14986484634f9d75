package agent

import (
	"bytes"
	"errors"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// gauge is a span of a process's and its descendants' use of the machine, from /proc.
type gauge struct {
	tree  *tree
	begin uint64         // ticks since boot
	cpu   time.Duration  // used until then by the process and those in known
	known map[int]uint64 // descendants that were measured, with when they started
	rss   int64          // at the beginning, bytes; set where the system keeps no peak that can be set back
}

// tree is a process with its descendants as they were last found. Looking for them takes longest of all, so a span
// begins with those that the one before ended with.
type tree struct {
	pid   int
	spare func() []int // processes that are another's, with all below them

	mu      sync.Mutex // guards what follows
	looked  bool
	members []int
}

// start begins a span.
func (t *tree) start() gauge {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := gauge{tree: t, begin: ticksNow(), known: make(map[int]uint64)}
	if !t.looked {
		t.look(func(int, procStat) {})
	}
	if s, ok := readStat(t.pid); ok {
		g.cpu = s.cpu
	}
	for _, pid := range t.members {
		if s, ok := readStat(pid); ok {
			g.known[pid] = s.start
			g.cpu += s.cpu
		}
	}
	// Writing 5 sets the peak of memory back to what is used now.
	if writeProc(procFile(t.pid, "clear_refs"), "5") != nil {
		g.rss, _ = memory(t.pid, "VmRSS:")
	}
	return g
}

// stop ends the span. A process that is gone has used what can't be seen any more: zero.
func (g gauge) stop() (cpu time.Duration, peak int64) {
	g.tree.mu.Lock()
	defer g.tree.mu.Unlock()
	var total time.Duration
	g.tree.look(func(pid int, s procStat) {
		// Who was there before, unseen, has used an unknown part of its time in this span.
		if start, ok := g.known[pid]; pid == g.tree.pid || ok && start == s.start || s.start >= g.begin {
			total += s.cpu
		}
	})
	if g.rss > 0 {
		now, _ := memory(g.tree.pid, "VmRSS:")
		return max(0, total-g.cpu), max(g.rss, now)
	}
	peak, _ = memory(g.tree.pid, "VmHWM:")
	return max(0, total-g.cpu), peak
}

// maxMembers bounds how many processes and threads are looked at.
const maxMembers = 1024

// look finds the live descendants and visits them, the process itself first.
func (t *tree) look(visit func(pid int, s procStat)) {
	t.looked, t.members = true, t.members[:0]
	seen, buf := map[int]bool{t.pid: true}, make([]byte, 16<<10)
	for _, pid := range t.spare() {
		seen[pid] = true
	}
	budget := maxMembers
	for todo := []int{t.pid}; len(todo) > 0 && budget > 0; budget-- {
		pid := todo[0]
		todo = todo[1:]
		s, ok := readStat(pid)
		if !ok {
			continue
		}
		visit(pid, s)
		if pid != t.pid {
			t.members = append(t.members, pid)
		}
		for _, task := range taskNames(pid, buf) {
			if budget--; budget < 0 {
				return
			}
			for _, field := range bytes.Fields(readProc(procFile(pid, "task/"+task+"/children"), buf)) {
				if child, err := strconv.Atoi(string(field)); err == nil && !seen[child] {
					seen[child] = true
					todo = append(todo, child)
				}
			}
		}
	}
}

// taskNames lists the threads of a process, as many as fit buf.
func taskNames(pid int, buf []byte) []string {
	fd, err := unix.Open(procFile(pid, "task"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.ReadDirent(fd, buf)
	if err != nil {
		return nil
	}
	_, _, names := unix.ParseDirent(buf[:n], -1, nil)
	return names
}

// procStat is what we need of /proc/PID/stat.
type procStat struct {
	cpu     time.Duration // of the process and its reaped children
	reaped  time.Duration // of these, those children's
	start   uint64        // ticks since boot
	threads int
	memory  int64 // resident, bytes
	ended   bool  // but not reaped
	parent  int
}

// tick is the unit of times in /proc, which Linux fixes for all programs.
const tick = time.Second / 100

func ticksNow() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return uint64(now.Nano()) / uint64(tick)
}

func readStat(pid int) (procStat, bool) {
	var buf [1024]byte
	data := readProc(procFile(pid, "stat"), buf[:])
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:]) // a name may hold anything
	if len(fields) < 20 {
		return procStat{}, false
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
		return n
	}
	s := procStat{
		reaped: time.Duration(number(13)+number(14)) * tick, start: uint64(number(19)), parent: int(number(1)),
		threads: int(number(17)), ended: fields[0][0] == 'Z' || fields[0][0] == 'X',
	}
	if len(fields) > 21 {
		s.memory = number(21) * int64(unix.Getpagesize())
	}
	s.cpu = s.reaped
	// A process's own clock counts nanoseconds, the file only ticks.
	var own unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &own) == nil {
		s.cpu += time.Duration(own.Nano())
	} else {
		s.cpu += time.Duration(number(11)+number(12)) * tick
	}
	return s, true
}

// memory reads a line of /proc/PID/status, bytes.
func memory(pid int, name string) (int64, bool) {
	var buf [4096]byte
	_, rest, ok := bytes.Cut(readProc(procFile(pid, "status"), buf[:]), []byte(name))
	if !ok {
		return 0, false
	}
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, false
	}
	kilobytes, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return kilobytes << 10, err == nil
}

func procFile(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// readProc reads as much of a small file of /proc as buf holds. Package os would take three times as long.
func readProc(path string, buf []byte) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

func writeProc(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(text))
	return errors.Join(err, unix.Close(fd))
}

// parentOf is the parent of a process; 0 when it is gone.
func parentOf(pid int) int {
	s, _ := readStat(pid)
	return s.parent
}
