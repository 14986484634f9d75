package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

var _ backends.FileSaver = (*Instance)(nil)

// savedName is the folder of saved workspaces, in the private folder: there it is on the workspace's file system, which can
// share blocks, and counts for the limit of the disk. The code may touch it, as it may its workspace.
const savedName = "saved"

// saved is a workspace as it was.
type saved struct {
	in    *Instance
	name  string // below the private folder
	files map[string]fileState

	mu     sync.Mutex // held by Restore and Close
	closed bool
}

// fileState is what tells that a file is as it was. Nobody can set the time of a change back.
type fileState struct {
	mode    fs.FileMode
	inode   uint64
	size    int64
	changed time.Time
	link    string
}

// unsure is how long before a look at it a file must have changed last, for a later change to show in its time.
const unsure = 50 * time.Millisecond

// SaveFiles copies the workspace.
func (in *Instance) SaveFiles(ctx context.Context) (_ backends.SavedFiles, err error) {
	if in.place.Home != in.place.Workspace { // what others put there meanwhile is not ours to remove
		return nil, fmt.Errorf("keep the files of a workspace that is a folder of yours: %w", backends.ErrUnsupported)
	}
	in.mu.Lock()
	in.saves++
	s := &saved{in: in, name: filepath.Join(savedName, strconv.Itoa(in.saves))}
	in.mu.Unlock()
	if err := os.MkdirAll(filepath.Join(in.place.Private, s.name), 0o700); err != nil {
		return nil, fmt.Errorf("agent: save files: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("agent: save files: %w", err), s.Close(context.WithoutCancel(ctx)))
		}
	}()
	// First what is there, so that what changes while it is copied counts as changed.
	if s.files, err = in.files.states(ctx); err != nil {
		return nil, err
	}
	if err := cloneTree(ctx, in.files.real, filepath.Join(in.place.Private, s.name)); err != nil {
		return nil, err
	}
	return s, nil
}

// states are those of all things in the workspace, by name.
func (f *files) states(ctx context.Context) (map[string]fileState, error) {
	states, sure := make(map[string]fileState), time.Now().Add(-unsure)
	err := f.each(ctx, func(name string, info fs.FileInfo) error {
		e := f.state(name, info)
		if e.changed.After(sure) {
			e.inode = 0
		}
		states[name] = e
		return nil
	})
	return states, err
}

// each calls do for all things in the workspace, a folder before what is in it; do may return fs.SkipDir.
func (f *files) each(ctx context.Context, do func(name string, info fs.FileInfo) error) error {
	return fs.WalkDir(f.root.FS(), ".", func(name string, found fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case name == "." || errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
		info, err := found.Info()
		if err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		return do(name, info)
	})
}

func (f *files) state(name string, info fs.FileInfo) fileState {
	e := fileState{mode: info.Mode(), size: info.Size()}
	if e.mode&fs.ModeSymlink != 0 {
		e.link, _ = f.root.Readlink(name) // one that is gone is like no other
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.inode = st.Ino
		_, e.changed = times(st)
	}
	return e
}

// same reports whether nothing has to be done to make what is there what was there.
func (e fileState) same(now fileState) bool {
	if e.mode.Type() != now.mode.Type() {
		return false
	}
	switch {
	case e.mode.IsRegular():
		return e == now && e.inode != 0
	case e.mode&fs.ModeSymlink != 0:
		return e.link == now.link
	default: // folders are gone through; sockets and pipes are not copied
		return true
	}
}

// Restore makes the workspace as it was. What has not changed is not touched.
func (s *saved) Restore(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("agent: restore files: closed: %w", backends.ErrNotFound)
	}
	f := s.in.files
	err := f.each(ctx, func(name string, info fs.FileInfo) error {
		if was, ok := s.files[name]; ok && was.same(f.state(name, info)) {
			return nil
		}
		if err := RemoveAll(ctx, f.root, name); err != nil {
			return err
		}
		if info.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err == nil {
		err = cloneTree(ctx, filepath.Join(s.in.place.Private, s.name), f.real)
	}
	if err != nil {
		return fmt.Errorf("agent: restore files: %w", err)
	}
	return nil
}

// Close removes the copy.
func (s *saved) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	private, err := os.OpenRoot(s.in.place.Private)
	if errors.Is(err, fs.ErrNotExist) { // with the instance
		s.closed = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("agent: remove saved files: %w", err)
	}
	defer func() { _ = private.Close() }()
	if err := RemoveAll(ctx, private, s.name); err != nil {
		return fmt.Errorf("agent: remove saved files: %w", err)
	}
	s.closed = true
	return nil
}
