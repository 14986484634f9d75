package agent

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sharedWatch sees which files in /dev/shm the instances of an agent make: as one appears, and a process of an instance and no
// other one holds it. A file that is made and closed at once may be missed; one of another program is never taken for ours.
type sharedWatch struct {
	mu        sync.Mutex // guards what follows
	instances map[*Instance]bool
	file      *os.File      // of inotify; nil before the first instance, and where there is none
	stop      chan struct{} // closed by close
	done      chan struct{} // closed when it has ended
	closed    bool

	stepping sync.Mutex     // held for a step; guards what follows
	folders  map[int]string // by watch, "" is /dev/shm
}

const (
	sharedMask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
	// maxSharedFolders bounds how many folders in /dev/shm are watched.
	maxSharedFolders = 256
	// sharedShare is what part of the time looking takes at the most; sharedPause is the longest pause for that.
	sharedShare = 20
	sharedPause = time.Second
)

// begin has the files of an instance seen.
func (w *sharedWatch) begin(in *Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || in.shared.barred || sharedDevices().shm == 0 {
		return
	}
	if w.instances == nil {
		w.instances = make(map[*Instance]bool)
	}
	w.instances[in] = true
	if w.done != nil {
		return
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return // the user's programs have too many of them; nothing is removed then
	}
	wd, err := unix.InotifyAddWatch(fd, sharedMemory, sharedMask)
	if err != nil {
		_ = unix.Close(fd)
		return
	}
	w.file, w.folders = os.NewFile(uintptr(fd), "inotify"), map[int]string{wd: ""}
	w.done, w.stop = make(chan struct{}), make(chan struct{})
	go w.run()
}

// end forgets an instance.
func (w *sharedWatch) end(in *Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.instances, in)
}

// close ends the watch and waits for it.
func (w *sharedWatch) close() {
	w.mu.Lock()
	running := w.file != nil && !w.closed
	w.closed = true
	w.mu.Unlock()
	if running {
		close(w.stop)
		_ = w.file.Close()
		<-w.done
	}
}

func (w *sharedWatch) run() {
	defer close(w.done)
	raw, err := w.file.SyscallConn()
	if err != nil {
		return
	}
	for {
		var took time.Duration
		if raw.Read(func(fd uintptr) (ready bool) { took, ready = w.step(int(fd)); return ready }) != nil {
			return
		}
		pause := time.NewTimer(min(sharedShare*took, sharedPause))
		select {
		case <-pause.C:
		case <-w.stop:
		}
		pause.Stop()
	}
}

// step looks at what has appeared since the last one, if anything.
func (w *sharedWatch) step(fd int) (took time.Duration, any bool) {
	w.stepping.Lock()
	defer w.stepping.Unlock()
	begin, buf := time.Now(), make([]byte, 64<<10)
	n, err := unix.Read(fd, buf)
	if err != nil || n <= 0 {
		return 0, false
	}
	w.look(w.appeared(buf[:n]))
	return time.Since(begin), true
}

// settle looks at what has appeared before processes end that may have made it.
func (w *sharedWatch) settle() {
	w.mu.Lock()
	file := w.file
	if w.closed || len(w.instances) == 0 {
		file = nil
	}
	w.mu.Unlock()
	if file == nil {
		return
	}
	if raw, err := file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { w.step(int(fd)) })
	}
}

// appeared are the files that events tell of and that are there still. New folders are watched too.
func (w *sharedWatch) appeared(events []byte) map[inode]string {
	found := make(map[inode]string)
	for len(events) >= unix.SizeofInotifyEvent {
		event := (*unix.InotifyEvent)(unsafe.Pointer(&events[0]))
		end := unix.SizeofInotifyEvent + int(event.Len)
		if end > len(events) {
			break
		}
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00")
		events = events[end:]
		folder, ok := w.folders[int(event.Wd)]
		switch {
		case event.Mask&unix.IN_IGNORED != 0:
			delete(w.folders, int(event.Wd))
		case !ok || name == "":
		case event.Mask&unix.IN_ISDIR != 0:
			w.enter(filepath.Join(folder, name), found)
		default:
			note(filepath.Join(folder, name), found)
		}
	}
	return found
}

func note(name string, found map[inode]string) {
	if st, ok := statShared(name); ok {
		found[inodeOf(&st)] = name
	}
}

// enter watches a folder and notes what is in it already.
func (w *sharedWatch) enter(name string, found map[inode]string) {
	dir := filepath.Join(sharedMemory, name)
	var st unix.Stat_t
	if unix.Lstat(dir, &st) != nil || int(st.Uid) != os.Geteuid() || len(w.folders) >= maxSharedFolders {
		return
	}
	raw, err := w.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if wd, err := unix.InotifyAddWatch(int(fd), dir, sharedMask); err == nil {
			w.folders[wd] = name
		}
	})
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			note(filepath.Join(name, entry.Name()), found)
		}
	}
}

// look finds whose the files are.
func (w *sharedWatch) look(found map[inode]string) {
	if len(found) == 0 {
		return
	}
	wanted := make(map[inode]bool, len(found))
	for id := range found {
		wanted[id] = true
	}
	w.mu.Lock()
	instances := make([]*Instance, 0, len(w.instances))
	for in := range w.instances {
		instances = append(instances, in)
	}
	w.mu.Unlock()
	owners, members := make(map[inode]*Instance), make(map[int]*Instance)
	for _, in := range instances {
		k, err := in.knownKeeper()
		if k == nil || err != nil {
			continue
		}
		c := in.limiter.census(k)
		members[k.pid] = in
		for _, pid := range c.members {
			members[pid] = in
		}
		for id := range holders(c.members, wanted) {
			owners[id] = in
		}
	}
	if len(owners) == 0 {
		return
	}
	for id, pids := range holders(allProcesses(), wanted) {
		for _, pid := range pids {
			if in := memberOf(pid, members); in == nil || in != owners[id] {
				delete(owners, id) // another program's, or between two
			}
		}
	}
	for id, in := range owners {
		in.shared.add(found[id], id)
	}
}

// memberOf is whose a process is, which one of theirs may just have forked.
func memberOf(pid int, members map[int]*Instance) *Instance {
	for range maxAncestors {
		if in := members[pid]; in != nil || pid <= 1 {
			return in
		}
		pid = parentOf(pid)
	}
	return nil
}
