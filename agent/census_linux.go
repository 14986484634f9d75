package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// census is what all processes below a keeper are and use at one moment.
type census struct {
	cpu       time.Duration // those that are gone and were reaped included
	memory    int64         // resident, bytes; pages that processes share are counted for each
	processes int
	threads   int
	largest   member // by memory
	members   []int
	partial   bool // there are more than are counted
}

// member is one process, so that its id is not taken for that of another.
type member struct {
	pid    int
	start  uint64
	memory int64
}

// maxCensus bounds how many processes and threads are counted.
const maxCensus = 1 << 16

// census counts what is below the keeper, and its instance's guests elsewhere. A control group knows its processes.
func (b *limiter) census(k *keeper) census {
	if b.group == nil {
		return takeCensus(k.roots(), k.owner.guestIDs(), k.others(k.owner))
	}
	var c census
	for _, pid := range b.group.pids() {
		if s, ok := readStat(pid); ok && !s.ended {
			c.cpu += s.cpu
			c.add(pid, s)
		}
	}
	return c
}

// takeCensus counts what is below some processes, which themselves only lend the time of children they reaped; and guests with what is
// below them. What is below a spared process is left out.
func takeCensus(roots []int, guests, spared []int) census {
	var c census
	seen, buf := make(map[int]bool), make([]byte, 8<<10)
	for _, pid := range slices.Concat(roots, guests, spared) {
		seen[pid] = true
	}
	visits := 0
	for todo := slices.Concat(roots, guests); len(todo) > 0; {
		pid := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		s, ok := readStat(pid)
		if !ok {
			continue
		}
		c.cpu += s.cpu
		if !slices.Contains(roots, pid) && !s.ended {
			c.add(pid, s)
		}
		eachTask(pid, max(1, s.threads), buf, func(task string) bool {
			for _, field := range bytes.Fields(readAll(procFile(pid, "task/"+task+"/children"))) {
				if child, err := strconv.Atoi(string(field)); err == nil && !seen[child] {
					seen[child] = true
					todo = append(todo, child)
				}
			}
			visits++
			return visits < maxCensus
		})
		if visits >= maxCensus {
			c.partial = true
			return c
		}
	}
	return c
}

func (c *census) add(pid int, s procStat) {
	c.processes++
	c.threads += s.threads
	c.memory += s.memory
	c.members = append(c.members, pid)
	if s.memory > c.largest.memory {
		c.largest = member{pid: pid, start: s.start, memory: s.memory}
	}
}

// exactMemory is what the members use when pages they share are counted once. It takes the system long to tell.
func (c *census) exactMemory() int64 {
	var total int64
	var buf [4096]byte
	for _, pid := range c.members {
		_, rest, ok := bytes.Cut(readProc(procFile(pid, "smaps_rollup"), buf[:]), []byte("\nPss:"))
		if fields := bytes.Fields(rest); ok && len(fields) > 0 {
			kilobytes, _ := strconv.ParseInt(string(fields[0]), 10, 64)
			total += kilobytes << 10
		} else if s, alive := readStat(pid); alive { // a system without this file
			total += s.memory
		}
	}
	return total
}

// kill ends the process, and none that has its id since.
func (m member) kill() {
	p, err := os.FindProcess(m.pid)
	if err != nil {
		return
	}
	defer func() { _ = p.Release() }()
	if s, ok := readStat(m.pid); ok && s.start == m.start { // the handle is bound to one process
		_ = p.Kill()
	}
}

// eachTask visits the threads of a process until visit returns false.
func eachTask(pid, threads int, buf []byte, visit func(task string) bool) {
	if threads == 1 {
		visit(strconv.Itoa(pid))
		return
	}
	fd, err := unix.Open(procFile(pid, "task"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			return
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if !visit(name) {
				return
			}
		}
	}
}

// maxChildren bounds one list of children, bytes.
const maxChildren = 1 << 20

// readAll reads a file of /proc of any length up to maxChildren.
func readAll(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	var all []byte
	var buf [512]byte
	for len(all) < maxChildren {
		n, err := unix.Read(fd, buf[:])
		if err != nil || n <= 0 {
			break
		}
		all = append(all, buf[:n]...)
	}
	return all
}

// canTakeCensus reports whether the system lists the children of processes.
func canTakeCensus() bool {
	return unix.Access("/proc/thread-self/children", unix.R_OK) == nil
}

// unlinkedBytes is what files take on the disk of dir that members hold open and that have no name any more.
func (c *census) unlinkedBytes(dir string) int64 {
	info, err := os.Stat(dir)
	if err != nil {
		return 0
	}
	own, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	var total int64
	seen := make(map[uint64]bool)
	for _, pid := range c.members {
		files, _ := filepath.Glob(procFile(pid, "fd/*"))
		for _, file := range files {
			var st unix.Stat_t
			if unix.Stat(file, &st) != nil || st.Nlink > 0 || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Dev != own.Dev {
				continue
			}
			if !seen[st.Ino] {
				seen[st.Ino] = true
				total += st.Blocks * 512
			}
		}
	}
	return total
}
