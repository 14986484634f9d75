package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// watch is a watch by inotify. Package fsnotify is not used here: it names folders by path, follows links on the way, and tells
// neither which renames belong together nor from when on a folder is watched.
//
// A watch has one goroutine, which reads the system's events, keeps up the tree of watched folders and queues what is to be told.
// It never waits for the reader.
type watch struct {
	files   *files
	name    string      // of the watched folder, without links
	full    string      // its path in the workspace
	self    fs.FileInfo // the watched folder, so that another in its place is not taken for it
	options backends.WatchOptions
	inotify *os.File
	queue   eventQueue
	life    context.Context // ends with the watch
	stop    context.CancelFunc
	done    chan struct{} // closed when the goroutine has ended

	// What follows belongs to startWatch and then to the goroutine.
	watchTree
	ours map[uint32]string // our own temporary files on their way to their places, by the cookie of the move
}

// watchMask is what is asked of every folder. Files that are unlinked but still written to are not reported.
const watchMask = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// errGone ends a watch whose own folder is no more where it was.
var errGone = fmt.Errorf("the watched folder was removed or moved: %w", fs.ErrNotExist)

func startWatch(
	ctx context.Context, f *files, name, full string, self fs.FileInfo, options backends.WatchOptions,
) (backends.Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if errors.Is(err, unix.EMFILE) {
		return nil, fmt.Errorf("%w: %w: this user's programs hold as many watches, or this program as many files, as they may: "+
			"close some, or raise fs.inotify.max_user_instances by sysctl, or `ulimit -n`", backends.ErrWatchLimit, err)
	}
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	w := &watch{
		files: f, name: name, full: full, self: self, options: options, inotify: os.NewFile(uintptr(fd), "inotify"),
		done: make(chan struct{}), ours: make(map[uint32]string),
	}
	w.life, w.stop = context.WithCancel(context.Background())
	if err = f.watches.add(w); err == nil {
		w.reset()
		err = w.enter(ctx, w.top, tellNothing)
	}
	if err != nil {
		close(w.done)
		return nil, errors.Join(told(err), w.Close())
	}
	go w.run()
	return w, nil
}

// Next waits for an event.
func (w *watch) Next(ctx context.Context) (backends.FileEvent, error) {
	event, err := w.queue.next(ctx)
	if err != nil {
		return event, err
	}
	if w.options.Entry {
		switch event.Op {
		case backends.WatchCreate, backends.WatchWrite, backends.WatchChmod:
			_ = w.files.beside(func() { // else it is told of without
				if info, err := w.files.describe(path.Join(w.name, event.Name), path.Join(w.full, event.Name)); err == nil {
					event.Entry = &info
				}
			})
		}
	}
	event.Name = shown(event.Name)
	return event, nil
}

// Close ends the watch.
func (w *watch) Close() error { return w.end(io.EOF) }

// end lets readers have err from now on, and waits for the goroutine.
func (w *watch) end(err error) error {
	w.queue.close(err)
	w.stop()
	err = w.inotify.Close()
	<-w.done
	w.files.watches.remove(w)
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// run reads events until the watch ends.
func (w *watch) run() {
	defer close(w.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := w.inotify.Read(buf)
		if err == nil {
			w.arrived += int64(n)
			if refused := w.files.beside(func() { err = w.handleAll(buf[:n]) }); refused != nil {
				err = refused
			}
		}
		if err != nil {
			w.queue.end(told(err))
			_ = w.inotify.Close() // the system forgets the folders at once
			return
		}
	}
}

func (w *watch) handleAll(data []byte) error {
	for len(data) >= unix.SizeofInotifyEvent {
		wd := int(int32(binary.NativeEndian.Uint32(data)))
		mask, cookie := binary.NativeEndian.Uint32(data[4:]), binary.NativeEndian.Uint32(data[8:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(data[12:]))
		name := strings.TrimRight(string(data[unix.SizeofInotifyEvent:size]), "\x00")
		data = data[size:]
		if err := w.handle(wd, mask, cookie, name); err != nil {
			return err
		}
		w.handled += int64(size)
		w.settle()
	}
	return nil
}

// handle tells of one event of the system, and keeps the tree up with it.
func (w *watch) handle(wd int, mask, cookie uint32, name string) error {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		return w.resume()
	}
	dir := w.folders[wd]
	switch {
	case dir == nil: // not watched any more
		return nil
	case name == "":
		return w.handleSelf(dir, mask)
	case archive.IsTemporary(name):
		if mask&unix.IN_MOVED_FROM != 0 {
			if len(w.ours) == maxOurs { // removed by others, so that they never arrive
				clear(w.ours)
			}
			w.ours[cookie] = name
		}
		return nil
	}
	isDir := mask&unix.IN_ISDIR != 0
	switch {
	case mask&unix.IN_CREATE != 0:
		return w.appeared(dir, name, isDir, tellWritten)
	case mask&unix.IN_MOVED_TO != 0:
		placed := w.ours[cookie]
		delete(w.ours, cookie)
		if !archive.Replaces(placed) {
			if err := w.appeared(dir, name, isDir, tellCreated); err != nil {
				return err
			}
		}
		if placed != "" && !isDir {
			w.tell(dir, name, backends.WatchWrite)
		}
	case mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
		if child := dir.children[name]; child != nil {
			w.leave(child)
		}
		if !dir.vanishes(name) {
			return nil
		}
		if mask&unix.IN_DELETE != 0 {
			w.tell(dir, name, backends.WatchRemove)
		} else {
			w.tell(dir, name, backends.WatchRename)
		}
	case mask&unix.IN_MODIFY != 0:
		if dir.knows(name) {
			w.tell(dir, name, backends.WatchWrite)
		}
	case mask&unix.IN_ATTRIB != 0:
		if dir.knows(name) && !w.nameless(dir, name) {
			w.tell(dir, name, backends.WatchChmod)
		}
		if isDir && w.options.Recursive && dir.children[name] == nil { // it could not be read before
			return w.enter(w.life, &folder{parent: dir, name: name}, tellCreated)
		}
	}
	return nil
}

// nameless reports whether an event is of a file without a name (O_TMPFILE), for which the system makes one up: # and a number.
func (w *watch) nameless(dir *folder, name string) bool {
	if !strings.HasPrefix(name, "#") {
		return false
	}
	_, err := w.files.root.Lstat(path.Join(w.name, dir.path(name)))
	return errors.Is(err, fs.ErrNotExist)
}

// maxOurs bounds how many of our own files are on their way at once.
const maxOurs = 256

// appeared tells of a new entry, and of what it holds.
func (w *watch) appeared(dir *folder, name string, isDir bool, how telling) error {
	if dir.appears(name) {
		return nil
	}
	w.tell(dir, name, backends.WatchCreate)
	if !isDir || !w.options.Recursive {
		return nil
	}
	return w.enter(w.life, &folder{parent: dir, name: name}, how)
}

// handleSelf is handle of what happened to a watched folder itself. Of those below the first, the folder they are in tells.
func (w *watch) handleSelf(dir *folder, mask uint32) error {
	switch {
	case mask&unix.IN_IGNORED != 0: // the system has stopped: the folder is gone
		w.leave(dir)
	case dir != w.top:
		return nil
	case mask&unix.IN_ATTRIB != 0:
		w.queue.add(".", backends.WatchChmod)
	case mask&unix.IN_MOVE_SELF != 0:
		w.queue.add(".", backends.WatchRename)
		return errGone
	case mask&unix.IN_DELETE_SELF != 0:
		w.queue.add(".", backends.WatchRemove)
		return errGone
	}
	if w.top.wd == 0 {
		return errGone
	}
	return nil
}

func (w *watch) tell(dir *folder, name string, op backends.WatchOp) {
	w.queue.add(dir.path(name), op)
}

// resume watches everything anew after the system has lost events. Then only the loss is told: who lists the folder when it
// hears of it misses nothing.
func (w *watch) resume() error {
	begin := time.Now()
	before := w.folders
	w.reset()
	if err := w.enter(w.life, w.top, tellNothing); err != nil {
		return err
	}
	for wd := range before { // those that are still there kept their watches; removing one makes an event
		if w.folders[wd] == nil {
			w.removeWatch(wd)
		}
	}
	w.queue.lose()
	// A flood of events in a large tree takes no more than half of a processor.
	select {
	case <-time.After(time.Since(begin)):
		return nil
	case <-w.life.Done():
		return context.Cause(w.life)
	}
}
