package agent

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// diskUse is what folders take on disk.
type diskUse struct {
	bytes   int64 // allocated; a file with several names counts once
	entries int
	partial bool // there is more
	time    time.Time
	took    time.Duration
}

// Folders are counted up to so many entries, and so many folders deep.
const (
	maxCounted      = 1_000_000
	maxCountedDepth = 64
)

// measureDisk counts the folders, without following links; entries are counted in the first one only.
func measureDisk(ctx context.Context, dirs ...string) diskUse {
	begin := time.Now()
	c := counter{ctx: ctx, buf: make([]byte, 32<<10), linked: make(map[[2]uint64]bool)}
	entries := 0
	for i, dir := range dirs {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			c.use.partial = true
			continue
		}
		c.folder(fd, 0)
		_ = unix.Close(fd)
		if i == 0 {
			entries = c.use.entries
		}
	}
	c.use.entries = entries
	c.use.time, c.use.took = time.Now(), time.Since(begin)
	return c.use
}

// counter is a measureDisk under way.
type counter struct {
	ctx    context.Context // ends the count early
	use    diskUse
	buf    []byte
	linked map[[2]uint64]bool // files with several names, by device and inode
}

// folder counts what the open folder holds, and what is below it.
func (c *counter) folder(fd, depth int) {
	var folders []string
	for {
		n, err := unix.ReadDirent(fd, c.buf)
		if err != nil || c.ctx.Err() != nil {
			c.use.partial = true
			return
		}
		if n <= 0 {
			break
		}
		_, _, names := unix.ParseDirent(c.buf[:n], -1, nil)
		for _, name := range names {
			if c.use.entries >= maxCounted {
				c.use.partial = true
				return
			}
			var st unix.Stat_t
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // removed since
			}
			c.add(&st)
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				folders = append(folders, name)
			}
		}
	}
	if depth == maxCountedDepth && len(folders) > 0 {
		c.use.partial = true
		return
	}
	for _, name := range folders {
		sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			c.use.partial = c.use.partial || !errors.Is(err, unix.ENOENT) && !foreign(fd, name, err)
			continue
		}
		c.folder(sub, depth+1)
		_ = unix.Close(sub)
	}
}

// foreign reports whether a folder that could not be opened is another user's, into which our code can't write either.
func foreign(fd int, name string, err error) bool {
	var st unix.Stat_t
	return errors.Is(err, unix.EACCES) && unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		int(st.Uid) != os.Geteuid() && st.Mode&0o002 == 0
}

func (c *counter) add(st *unix.Stat_t) {
	c.use.entries++
	if st.Nlink > 1 && st.Mode&unix.S_IFMT == unix.S_IFREG {
		key := [2]uint64{uint64(st.Dev), uint64(st.Ino)}
		if c.linked[key] {
			return
		}
		c.linked[key] = true
	}
	c.use.bytes += int64(st.Blocks) * 512
}
