package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path"
	"strconv"
	"sync"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Stat describes an entry without following a last link.
func (f *files) Stat(_ context.Context, name string) (backends.FileInfo, error) {
	full, err := f.clean(name)
	if err != nil {
		return backends.FileInfo{}, err
	}
	in, name, err := f.lead(full, false)
	if err != nil {
		return backends.FileInfo{}, err
	}
	info, err := in.describe(name, full)
	if info.Type == backends.TypeLink {
		info.End = f.end(full)
	}
	return info, err
}

// end is what a link of the workspace leads to; nil when that is nothing, or out of reach.
func (f *files) end(full string) *backends.LinkEnd {
	in, at, err := f.resolve(full, true)
	if err != nil {
		return nil
	}
	info, err := in.root.Lstat(at)
	if err != nil {
		return nil
	}
	return &backends.LinkEnd{
		Path: shown(path.Join(in.real, at)), Type: typeOf(info.Mode()), Size: info.Size(), Mode: info.Mode().Perm(), ModTime: info.ModTime(),
	}
}

// describe is Stat of a name here; full is its path in the workspace.
func (f *files) describe(name, full string) (backends.FileInfo, error) {
	name, err := f.place(name)
	if err != nil {
		return backends.FileInfo{}, err
	}
	info, err := f.info(f.root, name, full)
	return info, told(err)
}

// info describes what name is in an open folder; full is its path in the workspace.
func (f *files) info(dir *os.Root, name, full string) (backends.FileInfo, error) {
	info, err := dir.Lstat(name)
	if err != nil {
		return backends.FileInfo{}, err
	}
	out := backends.FileInfo{
		Name: shown(path.Base(full)), Path: shown(full),
		Type: typeOf(info.Mode()), Size: info.Size(), Mode: info.Mode().Perm(), ModTime: info.ModTime(),
	}
	f.owners.describe(&out, info)
	switch out.Type {
	case backends.TypeLink:
		target, _ := dir.Readlink(name) // it may be gone by now
		out.Target = shown(target)
	case backends.TypeFile, backends.TypeDir:
		out.Metadata = metadataOf(dir, name)
	}
	return out, nil
}

// metadataOf reads an entry's user metadata; none when it can't be opened.
func metadataOf(dir *os.Root, name string) map[string]string {
	file, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	metadata, err := archive.Metadata(file)
	if err != nil {
		return nil
	}
	return metadata
}

// SetMetadata replaces an entry's user metadata.
func (f *files) SetMetadata(_ context.Context, name string, metadata map[string]string) error {
	f, name, err := f.at(name, true)
	if err != nil {
		return err
	}
	if err := archive.CheckMetadata(metadata); err != nil {
		return err
	}
	var file *os.File
	err = f.inside(name, true, func(name string) (err error) {
		file, err = f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err == nil && !info.IsDir() {
		err = regular(info)
	}
	if err == nil {
		err = archive.SetMetadata(file, metadata)
	}
	return told(err)
}

func typeOf(mode fs.FileMode) backends.FileType {
	switch {
	case mode.IsRegular():
		return backends.TypeFile
	case mode.IsDir():
		return backends.TypeDir
	case mode&fs.ModeSymlink != 0:
		return backends.TypeLink
	}
	return backends.TypeOther
}

// owners knows the names of users and groups.
type owners struct {
	mu     sync.Mutex // guards what follows
	users  map[uint32]string
	groups map[uint32]string
}

// describe fills in what only the system's own record of a file tells.
func (o *owners) describe(out *backends.FileInfo, info fs.FileInfo) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	out.AccessTime, out.ChangeTime = times(st)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users == nil {
		o.users, o.groups = make(map[uint32]string), make(map[uint32]string)
	}
	out.Owner = remember(o.users, st.Uid, func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
	out.Group = remember(o.groups, st.Gid, func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

// remember looks a name up once. The number stands for one that has none.
func remember(names map[uint32]string, id uint32, look func(id string) (string, error)) string {
	if name, ok := names[id]; ok {
		return name
	}
	number := strconv.FormatUint(uint64(id), 10)
	name, err := look(number)
	if err != nil {
		name = number
	}
	names[id] = name
	return name
}

// maxListed bounds a listing: code can make millions of files in seconds.
const maxListed = 100_000

// List lists a folder, and what is below it as deep as depth says.
func (f *files) List(ctx context.Context, name string, depth int) ([]backends.FileInfo, error) {
	if depth < 0 {
		return nil, fmt.Errorf("%w: depth %d", fs.ErrInvalid, depth)
	}
	full, err := f.clean(name)
	if err != nil {
		return nil, err
	}
	top := f
	f, name, err = f.lead(full, true)
	if err != nil {
		return nil, err
	}
	var dir *os.Root
	err = f.inside(name, true, func(name string) (err error) {
		dir, err = f.root.OpenRoot(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	l := &lister{top: top, files: f, ctx: ctx}
	if err := l.folder(dir, full, max(1, depth)); err != nil {
		return nil, told(err)
	}
	return l.infos, nil
}

// lister is a List under way.
type lister struct {
	top   *files // that was asked
	files *files // where it lies
	ctx   context.Context
	infos []backends.FileInfo
}

func (l *lister) folder(dir *os.Root, full string, depth int) error {
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	names, err := archive.Names(dir, ".", maxListed-len(l.infos))
	if errors.Is(err, fs.ErrNotExist) && len(l.infos) > 0 {
		return nil // removed since
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := l.files.info(dir, name, path.Join(full, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			return err
		}
		if info.Type == backends.TypeLink {
			info.End = l.top.end(path.Join(full, name))
		}
		l.infos = append(l.infos, info)
		if info.Type != backends.TypeDir || depth == 1 {
			continue
		}
		if err := l.below(dir, name, path.Join(full, name), depth-1); err != nil {
			return err
		}
	}
	return nil
}

// below lists a folder in an open one. One that can't be entered is listed itself, and nothing below it.
func (l *lister) below(dir *os.Root, name, full string, depth int) error {
	before, err := dir.Lstat(name)
	if err != nil || !before.IsDir() {
		return nil //nolint:nilerr // replaced since
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return nil //nolint:nilerr // replaced since, or without permission
	}
	defer func() { _ = sub.Close() }()
	if now, err := sub.Stat("."); err != nil || !os.SameFile(before, now) {
		return nil //nolint:nilerr // replaced since
	}
	return l.folder(sub, full, depth)
}
