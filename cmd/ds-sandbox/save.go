package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// A save that takes longer than slowSave is done less often than after every cell, but every longestLag at least.
const (
	slowSave   = 100 * time.Millisecond
	longestLag = 10 * time.Second
)

// sessionFile is the notebook that a session is saved as; the file is a whole one at any time.
type sessionFile struct {
	path string    // empty: nothing is saved
	next time.Time // not before, unless it is the last
}

// check finds out whether the file can be written, before anything runs for nothing.
func (f *sessionFile) check() error {
	if f.path == "" {
		return nil
	}
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() {
		return usagef("--save: %s is not a regular file", f.path)
	}
	if err := checkWritable(filepath.Dir(f.path)); err != nil {
		return usagef("--save: %w", err)
	}
	return nil
}

// save saves all that was run in c, unless the last save took long and was a moment ago.
func (f *sessionFile) save(c *sandbox.Context, last bool) error {
	start := time.Now()
	if f.path == "" || !last && start.Before(f.next) {
		return nil
	}
	nb, err := notebook.FromContext(c)
	if err == nil {
		err = nb.WriteFile(f.path)
	}
	if err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	if took := time.Since(start); took > slowSave {
		f.next = time.Now().Add(min(10*took, longestLag))
	}
	return nil
}
