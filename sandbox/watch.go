package sandbox

import (
	"context"
	"errors"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// WatchOptions of Files.Watch. Nil and zero fields are the defaults.
type WatchOptions = backends.WatchOptions

// FileEvent is one change in a watched folder.
type FileEvent = backends.FileEvent

// WatchOp says what happened to an entry.
type WatchOp = backends.WatchOp

// What can happen to an entry; see the package backends.
const (
	WatchCreate   = backends.WatchCreate
	WatchWrite    = backends.WatchWrite
	WatchRemove   = backends.WatchRemove
	WatchRename   = backends.WatchRename
	WatchChmod    = backends.WatchChmod
	WatchOverflow = backends.WatchOverflow
)

// Watcher tells what changes in a folder of the workspace, by its channel or by Poll; use one of the two. The caller ends it
// with Close; otherwise its context or the end of the sandbox does.
//
// When its reader is slow, writes and mode changes of one file are merged. When more than 16,384 events gather, one of
// backends.WatchOverflow stands for those that were lost: list the folder to know what is there.
type Watcher struct {
	files *Files
	name  string
	watch backends.Watch
	ctx   context.Context // ends with the watcher
	stop  context.CancelCauseFunc
	ended chan struct{} // closed when the backend's watch is

	mu     sync.Mutex // guards what follows
	events chan FileEvent
	pump   chan struct{} // closed when nothing is sent to events any more; nil before Events
}

// errWatcherClosed is the cause of the end that Close is.
var errWatcherClosed = errors.New("watcher is closed")

// Watch watches a folder, "" is the workspace; what happens from when it returns on is told. ctx ends the watch. Errors:
// fs.ErrNotExist, ErrNotDir, ErrWatchLimit, which says what to do, backends.ErrUnsupported, ErrKilled.
func (f *Files) Watch(ctx context.Context, name string, opts *WatchOptions) (*Watcher, error) {
	watch, err := f.fs.Watch(ctx, name, opts)
	if err != nil {
		return nil, f.wrap("watch", name, err)
	}
	w := &Watcher{files: f, name: name, watch: watch, ended: make(chan struct{})}
	w.ctx, w.stop = context.WithCancelCause(ctx)
	unlink := context.AfterFunc(f.sandbox.life, func() { w.stop(ErrKilled) })
	context.AfterFunc(w.ctx, func() {
		defer close(w.ended)
		unlink()
		if err := w.watch.Close(); err != nil {
			f.sandbox.engine.config.Logger.Warn("close watch", "folder", name, "error", err)
		}
	})
	return w, nil
}

// Events is a channel of what happens. It is closed when the watcher ends; Err tells why then. It has no buffer: what is not
// received yet gathers, see Watcher.
func (w *Watcher) Events() <-chan FileEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pump == nil {
		w.events, w.pump = make(chan FileEvent), make(chan struct{})
		go w.send()
	}
	return w.events
}

// send passes events on until the watcher ends.
func (w *Watcher) send() {
	defer close(w.pump)
	defer close(w.events)
	for {
		event, err := w.watch.Next(w.ctx)
		if err != nil {
			w.stop(err)
			return
		}
		select {
		case w.events <- event:
		case <-w.ctx.Done():
			return
		}
	}
}

// maxPolled bounds what Poll returns at once: a flood has no end.
const maxPolled = 20_000

// Poll returns what has gathered since the last time, 20,000 events at most, without waiting. After the end it returns Err.
func (w *Watcher) Poll() ([]FileEvent, error) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	events := []FileEvent{}
	for len(events) < maxPolled {
		event, err := w.watch.Next(now)
		if errors.Is(err, context.Canceled) { // of this call: nothing more has gathered
			return events, w.Err()
		}
		if err != nil {
			w.stop(err)
			return events, w.Err()
		}
		events = append(events, event)
	}
	return events, nil
}

// Err tells why the watcher ended: ErrKilled with the sandbox, the cause of its context, fs.ErrNotExist when the folder
// was removed or moved, ErrWatchLimit. It is nil before the end and after Close.
func (w *Watcher) Err() error {
	cause := context.Cause(w.ctx)
	if errors.Is(cause, errWatcherClosed) {
		return nil
	}
	return w.files.wrap("watch", w.name, cause)
}

// Close ends the watcher and waits for its goroutines; events that were not read are dropped. It is idempotent.
func (w *Watcher) Close() error {
	w.stop(errWatcherClosed)
	<-w.ended
	w.mu.Lock()
	pump := w.pump
	w.mu.Unlock()
	if pump != nil {
		<-pump
	}
	return nil
}
