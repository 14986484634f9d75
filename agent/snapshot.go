package agent

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// A workspace is compared up to so many entries, folders among them, and so many folders deep.
const (
	maxCompared = 10_000
	maxDepth    = 64
)

// snapshot is what files a workspace holds at one moment.
type snapshot struct {
	entries map[string]stamp
	partial bool // there is more
}

// stamp tells whether a file is still the same. The change time can't be set back by the code.
type stamp struct {
	inode uint64
	size  int64
	ctime int64 // ns
}

// snapshot looks at the workspace's files, without following links. It is made twice a run, so it asks the system
// itself: package os takes several times as long.
func (f *files) snapshot() snapshot {
	w := walk{snapshot: snapshot{entries: make(map[string]stamp)}, buf: make([]byte, 16<<10)}
	dir, err := f.root.OpenFile(".", os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return snapshot{partial: true}
	}
	defer func() { _ = dir.Close() }()
	w.folder(int(dir.Fd()), "", 0)
	return w.snapshot
}

// walk is a snapshot under way.
type walk struct {
	snapshot
	seen int
	buf  []byte
}

// folder takes in what the open folder fd holds, and what is below it.
func (w *walk) folder(fd int, prefix string, depth int) {
	var folders []string
	for {
		n, err := unix.ReadDirent(fd, w.buf)
		if err != nil {
			w.partial = true
			return
		}
		if n == 0 {
			break
		}
		_, _, names := unix.ParseDirent(w.buf[:n], -1, nil)
		for _, name := range names {
			if w.seen++; w.seen > maxCompared {
				w.partial = true
				return
			}
			var st unix.Stat_t
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // removed since
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				folders = append(folders, name)
				continue
			}
			w.entries[prefix+name] = stamp{inode: uint64(st.Ino), size: st.Size, ctime: st.Ctim.Nano()}
		}
	}
	if depth == maxDepth && len(folders) > 0 {
		w.partial = true
		return
	}
	for _, name := range folders {
		sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			w.partial = w.partial || !errors.Is(err, unix.ENOENT) // removed since
			continue
		}
		w.folder(sub, prefix+name+"/", depth+1)
		_ = unix.Close(sub)
		if w.seen > maxCompared {
			return
		}
	}
}

// changes tells what became of the files since. Where a snapshot is partial, what is not in it may have been there all the
// same: only a file that changed after begin can be new then, and none can be known to be gone.
func (s snapshot) changes(after snapshot, begin time.Time) []backends.FileChange {
	var out []backends.FileChange
	add := func(name string, op backends.ChangeKind, size int64) {
		out = append(out, backends.FileChange{Path: shown(name), Op: op, Size: size})
	}
	for name, now := range after.entries {
		was, ok := s.entries[name]
		switch {
		case !ok && (!s.partial || now.ctime >= begin.UnixNano()):
			add(name, backends.FileCreated, now.size)
		case ok && was != now:
			add(name, backends.FileChanged, now.size)
		}
	}
	for name := range s.entries {
		if _, ok := after.entries[name]; !ok && !after.partial {
			add(name, backends.FileRemoved, 0)
		}
	}
	slices.SortFunc(out, func(a, b backends.FileChange) int { return strings.Compare(a.Path, b.Path) })
	return out
}
