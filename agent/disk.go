package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// diskUse is what folders take on disk.
type diskUse struct {
	bytes   int64 // allocated; a file with several names counts once
	last    int64 // of these, in the last folder
	entries int
	partial bool // there is more: what could not be looked into counts as when it last could
	full    bool // there are more entries than are counted
	folders map[inode]int64
	time    time.Time
	took    time.Duration // of a processor
}

// inode is one file or folder of this machine.
type inode struct{ device, number uint64 }

func inodeOf(st *unix.Stat_t) inode { return inode{uint64(st.Dev), st.Ino} } //nolint:unconvert // narrower elsewhere

const (
	// maxCounted is up to how many entries folders are counted.
	maxCounted = 1_000_000
	// maxRemembered is of how many folders it is remembered what is in them.
	maxRemembered = 100_000
)

// measureDisk counts the folders, without following links; entries are counted in the first one only. What a folder that
// can't be looked into holds is taken from the count before.
func measureDisk(ctx context.Context, before map[inode]int64, dirs ...string) diskUse {
	taken := stopwatch()
	c := counter{ctx: ctx, buf: make([]byte, 32<<10), linked: make(map[inode]bool), tops: make(map[inode]bool), before: before}
	c.use.folders = make(map[inode]int64)
	entries := 0
	full := false
	for _, dir := range dirs {
		var st unix.Stat_t
		if unix.Lstat(dir, &st) == nil {
			c.tops[inodeOf(&st)] = true
		}
	}
	for i, dir := range dirs {
		began := c.use.bytes
		if !c.tree(dir) {
			c.use.partial = true
		}
		if i == 0 {
			entries = c.use.entries
		}
		full = full || c.use.full
		c.use.last, c.use.entries, c.use.full = c.use.bytes-began, 0, false
	}
	c.use.entries, c.use.full = entries, full
	c.use.time, c.use.took = time.Now(), taken()
	return c.use
}

// counter is a measureDisk under way. Code nests folders as deep as it likes, so the way back up from those that lie deep
// is "..", and only the upper ones stay open.
type counter struct {
	ctx    context.Context // ends the count early
	use    diskUse
	buf    []byte
	linked map[inode]bool // files with several names
	tops   map[inode]bool // the folders that are counted by themselves
	before map[inode]int64
	path   []level // from the top to the folder that is open
}

// level is a folder on the way down.
type level struct {
	id      inode
	fd      int      // -1 when it is not kept open
	folders []string // that are in it and yet to be counted
	began   int64    // bytes counted before it
}

const openFolderFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

// tree counts a folder; it reports whether that could be opened.
func (c *counter) tree(dir string) bool {
	fd, err := unix.Open(dir, openFolderFlags, 0)
	if err != nil {
		return false
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return false
	}
	c.down(fd, &st)
	for len(c.path) > 0 {
		at := &c.path[len(c.path)-1]
		if len(at.folders) == 0 || c.use.full || c.ctx.Err() != nil {
			fd = c.up(fd)
			continue
		}
		name := at.folders[0]
		at.folders = at.folders[1:]
		if sub := c.open(fd, name); sub >= 0 {
			if at.fd < 0 {
				_ = unix.Close(fd)
			}
			fd = sub
		}
	}
	c.use.partial = c.use.partial || c.use.full || c.ctx.Err() != nil
	return true
}

// open goes into a folder of the open one; -1 when it can't be.
func (c *counter) open(fd int, name string) int {
	sub, err := unix.Openat(fd, name, openFolderFlags, 0)
	var st unix.Stat_t
	if err == nil {
		if err = unix.Fstat(sub, &st); err == nil {
			c.down(sub, &st)
			return sub
		}
		_ = unix.Close(sub)
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return -1 // removed or replaced since
	case unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil:
		c.recall(inodeOf(&st))
	}
	c.use.partial = true
	return -1
}

// recall counts a folder as it was when it could be looked into.
func (c *counter) recall(id inode) {
	if was, ok := c.before[id]; ok {
		c.use.bytes += was
		c.remember(id, was)
	}
}

func (c *counter) remember(id inode, bytes int64) {
	if len(c.use.folders) < maxRemembered {
		c.use.folders[id] = bytes
	}
}

// down counts what the open folder holds, and makes it the last one on the way.
func (c *counter) down(fd int, st *unix.Stat_t) {
	l := level{id: inodeOf(st), fd: -1, began: c.use.bytes}
	if len(c.path) < maxOpenFolders {
		l.fd = fd
	}
	for c.ctx.Err() == nil && !c.use.full {
		n, err := unix.ReadDirent(fd, c.buf)
		if err != nil {
			c.use.partial = true
			break
		}
		if n <= 0 {
			break
		}
		_, _, names := unix.ParseDirent(c.buf[:n], -1, nil)
		for _, name := range names {
			if c.use.entries >= maxCounted {
				c.use.full = true
				break
			}
			var st unix.Stat_t
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // removed since
			}
			c.add(&st)
			if st.Mode&unix.S_IFMT == unix.S_IFDIR && !c.tops[inodeOf(&st)] {
				l.folders = append(l.folders, name)
			}
		}
	}
	c.path = append(c.path, l)
}

// up leaves the open folder, and returns the one above it. When that was moved away meanwhile, the last one that is kept open is
// gone on with, and what is between them is left out.
func (c *counter) up(fd int) int {
	c.leave()
	if len(c.path) == 0 {
		_ = unix.Close(fd)
		return -1
	}
	above := &c.path[len(c.path)-1]
	parent := above.fd
	if parent < 0 {
		var st unix.Stat_t
		var err error
		parent, err = unix.Openat(fd, "..", openFolderFlags, 0)
		if err == nil && (unix.Fstat(parent, &st) != nil || inodeOf(&st) != above.id) {
			_ = unix.Close(parent)
			err = unix.ENOENT
		}
		if err != nil {
			c.use.partial = true
			for c.path[len(c.path)-1].fd < 0 {
				c.leave()
			}
			parent = c.path[len(c.path)-1].fd
		}
	}
	_ = unix.Close(fd)
	return parent
}

// leave takes the last folder off the way.
func (c *counter) leave() {
	l := c.path[len(c.path)-1]
	c.path = c.path[:len(c.path)-1]
	c.remember(l.id, c.use.bytes-l.began)
}

func (c *counter) add(st *unix.Stat_t) {
	c.use.entries++
	if st.Nlink > 1 && st.Mode&unix.S_IFMT == unix.S_IFREG {
		key := inodeOf(st)
		if c.linked[key] {
			return
		}
		c.linked[key] = true
	}
	c.use.bytes += st.Blocks * 512
}

// disk is what an instance has on disk, and may have. Whoever asks shares one count.
type disk struct {
	dirs  []string // the workspace without links first, and our own
	limit int64    // 0 for none
	// base is what a user's folder held at the start, which is not held against the code. When that is more than can be counted,
	// only our own folder is counted for the limit.
	base diskUse

	mu      sync.Mutex // held while they are counted; guards what follows
	use     diskUse    // last counted
	held    int64      // by processes then, in files without a name
	spent   int64      // that our own calls have written since
	pending int64      // that they have written to files without a name yet

	extra func() int64 // what files without a name take that processes hold; nil for nothing
}

// newDisk is the disk of a place, whose workspace a user's folder may be.
func newDisk(place *Place, workspace string) *disk {
	d := &disk{dirs: append([]string{workspace, place.Private}, place.Measured...), limit: place.Limits.Disk}
	if d.limit > 0 && isLink(place.Workspace) {
		d.base = measureDisk(context.Background(), nil, workspace)
	}
	return d
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// figures are those of the last count, which is done anew unless it was lately.
func (d *disk) figures(ctx context.Context) diskUse {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recent(ctx)
	return d.use
}

// charge counts anew, and returns how much is held against the limit and the count itself.
func (d *disk) charge(ctx context.Context) (int64, diskUse) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count(ctx)
	return d.charged(), d.use
}

// count counts anew. The caller holds the lock.
func (d *disk) count(ctx context.Context) {
	use := measureDisk(ctx, d.use.folders, d.dirs...)
	if ctx.Err() != nil {
		return
	}
	d.use, d.spent = use, 0
	if d.extra != nil {
		d.held = d.extra()
	}
}

// How old a count may be that is asked for.
const (
	minDiskAge = time.Second
	diskShare  = 20
	maxDiskAge = 30 * time.Second
)

// recent counts unless that was done lately: counting takes at most a twentieth of the time, up to a point. The caller
// holds the lock.
func (d *disk) recent(ctx context.Context) {
	if d.use.time.IsZero() || time.Since(d.use.time) > min(max(minDiskAge, diskShare*d.use.took), maxDiskAge) {
		d.count(ctx)
	}
}

// charged is how much of the last count is held against the limit. The caller holds the lock.
func (d *disk) charged() int64 {
	used := max(0, d.use.bytes-d.base.bytes)
	if d.base.full {
		used = d.use.last
	}
	return used + d.held
}
