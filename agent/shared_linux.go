package agent

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Memory that no process shows as its own: files in /dev/shm and those of memfd_create. It is the instance's while one of its
// processes holds the file, and, in /dev/shm, after that too when the file was seen to be made by one.

// sharedDevices are the file systems that such files are on; zero where there are none.
var sharedDevices = sync.OnceValue(func() (devices struct{ shm, nameless uint64 }) {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Statfs(sharedMemory, &fs) == nil && int64(fs.Type) == unix.TMPFS_MAGIC && unix.Stat(sharedMemory, &st) == nil {
		devices.shm = uint64(st.Dev) //nolint:unconvert // narrower elsewhere
	}
	if fd, err := unix.MemfdCreate("ds-sandbox", unix.MFD_CLOEXEC); err == nil {
		if unix.Fstat(fd, &st) == nil {
			devices.nameless = uint64(st.Dev) //nolint:unconvert // narrower elsewhere
		}
		_ = unix.Close(fd)
	}
	return devices
})

// sharedFiles are the files in /dev/shm that an instance has made, as far as that was seen.
type sharedFiles struct {
	mu     sync.Mutex       // guards what follows
	made   map[string]inode // by name below /dev/shm
	barred bool             // the instance's own folders are there, and nothing is taken for shared memory
}

// maxMade bounds how many files are remembered.
const maxMade = 10_000

func newSharedFiles(folders ...string) *sharedFiles {
	s := &sharedFiles{made: make(map[string]inode)}
	for _, folder := range folders {
		if real, err := filepath.EvalSymlinks(folder); err != nil || within(real, sharedMemory) {
			s.barred = true
		}
	}
	return s
}

func (s *sharedFiles) add(name string, id inode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.barred && len(s.made) < maxMade {
		s.made[name] = id
	}
}

// files are those that are there still.
func (s *sharedFiles) files() map[inode]sharedFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[inode]sharedFile)
	for name, id := range s.made {
		st, ok := statShared(name)
		if !ok || inodeOf(&st) != id {
			delete(s.made, name)
			continue
		}
		found[id] = sharedFile{name: name, bytes: st.Blocks * 512}
	}
	return found
}

type sharedFile struct {
	name  string // below /dev/shm
	bytes int64
}

// statShared describes a regular file of this user's in /dev/shm.
func statShared(name string) (unix.Stat_t, bool) {
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(sharedMemory, name), &st)
	return st, err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && int(st.Uid) == os.Geteuid()
}

// remove removes the files that no process holds which we can see, and the folders that this leaves empty.
func (s *sharedFiles) remove() {
	left := s.files()
	if len(left) == 0 {
		return
	}
	wanted := make(map[inode]bool, len(left))
	for id := range left {
		wanted[id] = true
	}
	held := holders(allProcesses(), wanted)
	for id, file := range left {
		if len(held[id]) > 0 {
			continue
		}
		if st, ok := statShared(file.name); ok && inodeOf(&st) == id { // its name may have passed on meanwhile
			_ = unix.Unlink(filepath.Join(sharedMemory, file.name))
			if dir := filepath.Dir(file.name); dir != "." {
				_ = unix.Rmdir(filepath.Join(sharedMemory, dir))
			}
		}
	}
}

// sharedUse is the memory in files that a census does not show.
type sharedUse struct {
	bytes   int64
	unheld  int64  // of these, in files that no member holds
	largest member // with what it holds, which it is counted for
}

// shared counts the files that members hold and those that the instance has made, once each. What of them is mapped stands in
// the census as the members' own.
func (c *census) shared(s *sharedFiles) sharedUse {
	use := sharedUse{largest: c.largest}
	devices, made := sharedDevices(), s.files()
	seen := make(map[inode]bool)
	var mapped int64
	for _, pid := range c.members {
		var held int64
		eachFile(pid, func(st *unix.Stat_t) {
			id := inodeOf(st)
			if st.Mode&unix.S_IFMT != unix.S_IFREG || id.device == 0 || id.device != devices.shm && id.device != devices.nameless {
				return
			}
			held += st.Blocks * 512
			if !seen[id] {
				seen[id] = true
				use.bytes += st.Blocks * 512
			}
		})
		if held == 0 {
			continue
		}
		part := mappedShared(pid)
		mapped += part
		if p := c.stats[pid]; p.memory+held-part > use.largest.memory {
			use.largest = member{pid: pid, start: p.start, memory: p.memory + held - part}
		}
	}
	use.bytes = max(0, use.bytes-mapped)
	for id, file := range made {
		if !seen[id] {
			use.unheld += file.bytes
		}
	}
	use.bytes += use.unheld
	return use
}

// mappedShared is a process's part of the shared memory that it has mapped and used.
func mappedShared(pid int) int64 {
	var buf [4096]byte
	_, rest, ok := bytes.Cut(readProc(procFile(pid, "smaps_rollup"), buf[:]), []byte("\nPss_Shmem:"))
	if fields := bytes.Fields(rest); ok && len(fields) > 0 {
		kilobytes, _ := strconv.ParseInt(string(fields[0]), 10, 64)
		return kilobytes << 10
	}
	whole, _ := memory(pid, "RssShmem:") // a system without that line
	return whole
}

// eachFile visits the open files of a process that we may look at.
func eachFile(pid int, visit func(st *unix.Stat_t)) {
	fd, err := unix.Open(procFile(pid, "fd"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			return
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(fd, name, &st, 0) == nil {
				visit(&st)
			}
		}
	}
}

// holders tells which processes have files open or mapped.
func holders(pids []int, wanted map[inode]bool) map[inode][]int {
	found := make(map[inode][]int)
	for _, pid := range pids {
		seen := make(map[inode]bool)
		take := func(id inode) {
			if wanted[id] && !seen[id] {
				seen[id] = true
				found[id] = append(found[id], pid)
			}
		}
		eachFile(pid, func(st *unix.Stat_t) { take(inodeOf(st)) })
		eachMapped(pid, take)
	}
	return found
}

// maxMaps bounds what is read of a list of mappings, bytes.
const maxMaps = 16 << 20

// eachMapped visits the files in /dev/shm that a process has mapped.
func eachMapped(pid int, visit func(id inode)) {
	f, err := os.Open(procFile(pid, "maps"))
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(io.LimitReader(f, maxMaps))
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(sharedMemory+"/")) {
			continue
		}
		fields := strings.Fields(lines.Text()) // range, mode, offset, device, inode, name
		if len(fields) < 6 {
			continue
		}
		major, minor, _ := strings.Cut(fields[3], ":")
		a, err1 := strconv.ParseUint(major, 16, 32)
		b, err2 := strconv.ParseUint(minor, 16, 32)
		number, err3 := strconv.ParseUint(fields[4], 10, 64)
		if err1 == nil && err2 == nil && err3 == nil {
			visit(inode{device: unix.Mkdev(uint32(a), uint32(b)), number: number})
		}
	}
}

// allProcesses are the ids of all processes.
func allProcesses() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// allShared is what all programs of the machine have in such files, bytes.
func allShared() int64 {
	var buf [4096]byte
	_, rest, _ := bytes.Cut(readProc("/proc/meminfo", buf[:]), []byte("\nShmem:"))
	if fields := bytes.Fields(rest); len(fields) > 0 {
		kilobytes, _ := strconv.ParseInt(string(fields[0]), 10, 64)
		return kilobytes << 10
	}
	return 0
}
