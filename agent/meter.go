package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// maxCompared is how many entries of a workspace are compared to tell what a run changed.
const maxCompared = 10_000

// meter measures one span of a kernel's work.
type meter struct {
	in     *Instance
	gauge  gauge
	before snapshot
}

// Meter starts measuring.
func (k *kernelProcess) Meter(context.Context) (backends.Meter, error) {
	m := &meter{in: k.in, gauge: startGauge(k.pid)}
	m.before = k.in.files.snapshot()
	return m, nil
}

// Stop ends the measuring.
func (m *meter) Stop(context.Context) (backends.Usage, error) {
	cpu, peak := m.gauge.stop()
	after := m.in.files.snapshot()
	return backends.Usage{
		CPU: cpu, PeakMemory: peak, Files: changes(m.before.entries, after.entries), FilesPartial: m.before.partial || after.partial,
	}, nil
}

// snapshot is what a workspace holds at one moment.
type snapshot struct {
	entries map[string]stamp
	partial bool
}

// stamp tells whether a file is still the same. The change time can't be set back by the code.
type stamp struct {
	inode uint64
	size  int64
	ctime int64
}

// snapshot looks at the workspace's files, without following links.
func (f *files) snapshot() snapshot {
	s := snapshot{entries: make(map[string]stamp)}
	if err := f.walk(".", &s); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.partial = true
	}
	return s
}

func (f *files) walk(name string, s *snapshot) error {
	dir, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(maxCompared)
	_ = dir.Close()
	if err != nil && len(entries) > 0 {
		return err
	}
	for _, e := range entries {
		if len(s.entries) >= maxCompared {
			s.partial = true
			return nil
		}
		child := path.Join(name, e.Name())
		if e.IsDir() {
			if err := f.walk(child, s); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.partial = true
			}
			continue
		}
		info, err := f.root.Lstat(child)
		if err != nil {
			continue // removed since
		}
		s.entries[child] = stampOf(info)
	}
	return nil
}

// changes compares two snapshots.
func changes(before, after map[string]stamp) []backends.FileChange {
	var out []backends.FileChange
	add := func(name string, op backends.ChangeKind, size int64) {
		out = append(out, backends.FileChange{Path: strings.ToValidUTF8(name, "\uFFFD"), Op: op, Size: size})
	}
	for name, now := range after {
		was, ok := before[name]
		switch {
		case !ok:
			add(name, backends.FileCreated, now.size)
		case was != now:
			add(name, backends.FileChanged, now.size)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			add(name, backends.FileRemoved, 0)
		}
	}
	slices.SortFunc(out, func(a, b backends.FileChange) int { return strings.Compare(a.Path, b.Path) })
	return out
}
