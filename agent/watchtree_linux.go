package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// watchTree is what a watch knows of the folders it watches. Nothing in it is a path: a folder is opened from the first one down, name
// by name and never by a link, and handed to inotify by its descriptor. So what is swapped on the way can't lead anywhere else.
type watchTree struct {
	top     *folder
	folders map[int]*folder // by watch descriptor

	// Bytes of the system's events. A folder that was listed when arrived had a value is settled when handled has it.
	arrived, handled int64
	unsettled        []*folder // in the order in which they settle
	listed           int       // names in them
	missed           bool      // entries were found that could not be told
}

// What a watch can hold.
const (
	maxFolders      = 100_000
	maxWatchedDepth = 128
	maxUnsettled    = 100_000 // names
)

// folder is one that is watched.
type folder struct {
	parent   *folder // nil in the first
	name     string
	wd       int // watch descriptor; 0 is none
	children map[string]*folder

	// A folder is watched first and listed then, so events of what the list told of may still come. Until they have, this
	// holds what was told of, and whether by the list.
	told    map[string]bool
	listed  int // names in it by the list
	settled int64
}

// appears notes that an event says that a name is new, and reports whether that has been told already.
func (d *folder) appears(name string) bool {
	byList := d.told[name]
	if d.told != nil {
		d.told[name] = false
	}
	return byList
}

// vanishes notes that an event says that a name is gone, and reports whether anybody was ever told of it.
func (d *folder) vanishes(name string) bool {
	known := d.knows(name)
	delete(d.told, name)
	return known
}

func (d *folder) knows(name string) bool {
	_, known := d.told[name]
	return known || d.told == nil
}

// path is the path of an entry below the watched folder.
func (d *folder) path(name string) string { return strings.Join(append(d.names(), name), "/") }

// names are the elements of the folder's own path.
func (d *folder) names() []string {
	var names []string
	for ; d.parent != nil; d = d.parent {
		names = append(names, d.name)
	}
	slices.Reverse(names)
	return names
}

func (t *watchTree) reset() {
	t.top, t.folders = &folder{}, make(map[int]*folder)
	t.unsettled, t.listed = nil, 0
}

// settle forgets what is needed no more.
func (t *watchTree) settle() {
	for len(t.unsettled) > 0 && t.unsettled[0].settled <= t.handled {
		t.listed -= t.unsettled[0].listed
		t.unsettled[0].told = nil
		t.unsettled = t.unsettled[1:]
	}
}

// telling says what is told of the entries that are found in a folder.
type telling int

const (
	tellNothing telling = iota
	tellCreated         // they are new
	tellWritten         // and what is in files was written since
)

// enter watches a folder and all below it, and tells of what it finds there. Folders that are gone meanwhile, or can't be read,
// are no error.
func (w *watch) enter(ctx context.Context, dir *folder, how telling) error {
	for todo := []*folder{dir}; len(todo) > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		below, err := w.enterOne(next, how)
		if err != nil {
			return err
		}
		todo = append(todo, below...)
	}
	if w.missed { // who lists the folder now misses nothing
		w.missed = false
		w.queue.lose()
	}
	return nil
}

// passedOver are the errors of folders that are gone, or something else by now, of which there will be events; and of those
// that can't be read.
var passedOver = []unix.Errno{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EACCES}

// enterOne is enter of the folder itself; it returns those in it.
func (w *watch) enterOne(dir *folder, how telling) ([]*folder, error) {
	file, err := w.open(dir)
	if err != nil {
		if dir != w.top && slices.ContainsFunc(passedOver, func(e unix.Errno) bool { return errors.Is(err, e) }) {
			return nil, nil
		}
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if err := w.watchFolder(dir, file); err != nil || !w.options.Recursive {
		return nil, err
	}
	return w.list(dir, file, how)
}

// open opens a folder of the tree.
func (w *watch) open(dir *folder) (*os.File, error) {
	file, err := openDir(w.files.root, w.name)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !os.SameFile(info, w.self) {
		_ = file.Close()
		return nil, errGone
	}
	for _, name := range dir.names() {
		fd, err := unix.Openat(int(file.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		_ = file.Close()
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path.Join(append([]string{w.name}, dir.names()...)...), Err: err}
		}
		file = os.NewFile(uintptr(fd), name)
	}
	return file, nil
}

// watchFolder adds an open folder to the tree and to what the system watches.
func (w *watch) watchFolder(dir *folder, file *os.File) error {
	if len(w.folders) == maxFolders || len(dir.names()) > maxWatchedDepth {
		return fmt.Errorf("%w: a watch takes %d folders and a depth of %d: watch a folder further down, or not recursively",
			backends.ErrWatchLimit, maxFolders, maxWatchedDepth)
	}
	wd, err := w.addWatch(file)
	// The system watches a folder once. It has come here from elsewhere in the tree: what we knew of it is void.
	if other := w.folders[wd]; err == nil && other != nil {
		w.leave(other)
		wd, err = w.addWatch(file)
	}
	if err != nil {
		return err
	}
	if dir.parent != nil {
		if old := dir.parent.children[dir.name]; old != nil {
			w.leave(old)
		}
		if dir.parent.children == nil {
			dir.parent.children = make(map[string]*folder)
		}
		dir.parent.children[dir.name] = dir
	}
	dir.wd = wd
	w.folders[wd] = dir
	return nil
}

func (w *watch) addWatch(file *os.File) (wd int, err error) {
	controlErr := w.control(func(inotify int) {
		wd, err = unix.InotifyAddWatch(inotify, "/proc/self/fd/"+strconv.Itoa(int(file.Fd())), watchMask)
	})
	if controlErr != nil {
		return 0, controlErr
	}
	if errors.Is(err, unix.ENOSPC) {
		return 0, fmt.Errorf("%w: this user's programs watch as many folders as they may: watch fewer, or raise "+
			"fs.inotify.max_user_watches by sysctl", backends.ErrWatchLimit)
	}
	return wd, os.NewSyscallError("inotify_add_watch", err)
}

// control lends the descriptor of inotify, which may be closed at any time and must not be another file by then.
func (w *watch) control(use func(inotify int)) error {
	conn, err := w.inotify.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Control(func(fd uintptr) { use(int(fd)) })
}

// leave takes a folder and all below it out of the tree.
func (w *watch) leave(dir *folder) {
	if dir.parent != nil && dir.parent.children[dir.name] == dir {
		delete(dir.parent.children, dir.name)
	}
	for todo := []*folder{dir}; len(todo) > 0; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, child := range next.children {
			todo = append(todo, child)
		}
		w.removeWatch(next.wd)
		delete(w.folders, next.wd)
		next.wd, next.children = 0, nil
	}
}

// removeWatch ends what addWatch began; a folder that is gone already is no error.
func (w *watch) removeWatch(wd int) {
	_ = w.control(func(inotify int) { _, _ = unix.InotifyRmWatch(inotify, uint32(wd)) })
}

// list reads what a folder holds, tells of it, and returns the folders.
func (w *watch) list(dir *folder, file *os.File, how telling) ([]*folder, error) {
	if how != tellNothing {
		dir.told = make(map[string]bool)
	}
	var below []*folder
	err := readEntries(int(file.Fd()), func(name string, kind uint8) {
		if archive.IsTemporary(name) {
			return
		}
		if how != tellNothing {
			w.found(dir, file, name, kind, how)
		}
		if kind == unix.DT_DIR {
			below = append(below, &folder{parent: dir, name: name})
		}
	})
	if err != nil || how == tellNothing {
		return below, err
	}
	// All events until now concern what this list has seen.
	err = w.control(func(inotify int) {
		pending, ioctlErr := unix.IoctlGetInt(inotify, unix.TIOCINQ)
		dir.settled, err = w.arrived+int64(pending), os.NewSyscallError("ioctl", ioctlErr)
	})
	w.unsettled = append(w.unsettled, dir)
	return below, err
}

// found tells of one entry of a new folder.
func (w *watch) found(dir *folder, file *os.File, name string, kind uint8, how telling) {
	if w.listed == maxUnsettled {
		dir.told, w.missed = nil, true // too many at once to remember that they were told
	}
	if dir.told == nil {
		return
	}
	w.listed++
	dir.listed++
	dir.told[name] = true
	w.tell(dir, name, backends.WatchCreate)
	var st unix.Stat_t
	if how == tellWritten && kind == unix.DT_REG && unix.Fstatat(int(file.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Size > 0 {
		w.tell(dir, name, backends.WatchWrite)
	}
}

// readEntries visits the entries of an open folder. Package os would look again, by path, where the kind is not in the list.
func readEntries(fd int, visit func(name string, kind uint8)) error {
	const nameAt = 19 // in struct linux_dirent64
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.ENOENT) {
			return nil // the folder is removed
		}
		if err != nil || n <= 0 {
			return os.NewSyscallError("getdents64", err)
		}
		for rest := buf[:n]; len(rest) > nameAt; {
			size := binary.NativeEndian.Uint16(rest[16:])
			kind := rest[18]
			name, _, _ := strings.Cut(string(rest[nameAt:size]), "\x00")
			rest = rest[size:]
			if name == "." || name == ".." {
				continue
			}
			if kind == unix.DT_UNKNOWN {
				kind = kindOf(fd, name)
			}
			visit(name, kind)
		}
	}
}

// kindOf is an entry's kind where the file system does not list it.
func kindOf(fd int, name string) uint8 {
	var st unix.Stat_t
	if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return unix.DT_UNKNOWN
	}
	return uint8(st.Mode & unix.S_IFMT >> 12)
}
