package agent

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Watch watches a folder; see watch_linux.go for how.
func (f *files) Watch(ctx context.Context, name string, opts *backends.WatchOptions) (backends.Watch, error) {
	full, err := f.clean(name)
	if err != nil {
		return nil, err
	}
	if f, name, err = f.lead(full, true); err != nil {
		return nil, err
	}
	if name, err = f.within(name, true); err != nil {
		return nil, err
	}
	dir, err := openDir(f.root, name)
	if err != nil {
		return nil, told(err)
	}
	info, err := dir.Stat()
	_ = dir.Close()
	if err != nil {
		return nil, told(err)
	}
	var o backends.WatchOptions
	if opts != nil {
		o = *opts
	}
	return startWatch(ctx, f, name, full, info, o)
}

// openDir opens a folder to read what it holds.
func openDir(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
}

// watches are those of one workspace; they end with it.
type watches struct {
	mu     sync.Mutex // guards what follows
	live   map[*watch]bool
	closed bool
}

func (w *watches) add(one *watch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return backends.ErrDestroyed
	}
	if w.live == nil {
		w.live = make(map[*watch]bool)
	}
	w.live[one] = true
	return nil
}

func (w *watches) remove(one *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.live, one)
}

// close ends all watches with backends.ErrDestroyed and waits for them.
func (w *watches) close() error {
	w.mu.Lock()
	w.closed = true
	live := w.live
	w.live = nil
	w.mu.Unlock()
	var errs []error
	for one := range live {
		errs = append(errs, one.end(backends.ErrDestroyed))
	}
	return errors.Join(errs...)
}
