package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// walker is a Walk under way.
type walker struct {
	ctx  context.Context
	hash bool
	each func(*backends.TreeEntry) error
	buf  []byte
}

// Walk tells what is in the folder name and below it, or of the file name alone, in Pack's order: see backends.FileSystem. Names of
// ours that are for a moment are not told.
func Walk(ctx context.Context, root *os.Root, name string, opts *backends.WalkOptions, each func(*backends.TreeEntry) error) error {
	w := &walker{ctx: ctx, each: each}
	if opts != nil && opts.Hash {
		w.hash, w.buf = true, make([]byte, 256<<10)
	}
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	at := name
	if !info.IsDir() {
		at = path.Dir(name)
	}
	dir, err := root.OpenRoot(at)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if info.IsDir() {
		return w.folder(dir, "", 0)
	}
	open, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = open.Close() }()
	return w.entry(dir, open, path.Base(name), path.Base(name), 0)
}

func (w *walker) folder(dir *os.Root, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: folders lie deeper than %d", prefix, maxDepth)
	}
	open, names, err := list(dir, ".", maxEntries)
	switch {
	case depth > 0 && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)):
		return nil
	case err != nil:
		return err
	}
	defer func() { _ = open.Close() }()
	for _, name := range names {
		if IsTemporary(name) {
			continue
		}
		if err := w.entry(dir, open, name, prefix+name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(dir *os.Root, open *os.File, name, full string, depth int) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	e := describe(full, info)
	switch e.Type {
	case backends.TypeLink:
		if e.Target, err = dir.Readlink(name); err != nil {
			return nil //nolint:nilerr // it is a link no more
		}
	case backends.TypeFile:
		if w.hash {
			if e.Hash, err = w.sum(open, name); err != nil {
				return err
			}
		}
	}
	if err := w.each(e); err != nil || e.Type != backends.TypeDir {
		return err
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return nil //nolint:nilerr // replaced since, or without permission
	}
	defer func() { _ = sub.Close() }()
	if now, err := sub.Stat("."); err != nil || !os.SameFile(info, now) {
		return nil //nolint:nilerr // the name may have become a link to elsewhere below
	}
	return w.folder(sub, full+"/", depth+1)
}

// sum is the hash of a file; nil of what can't be read, or is one no more.
func (w *walker) sum(dir *os.File, name string) ([]byte, error) {
	f, err := openIn(dir, name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil //nolint:nilerr // a file without a hash differs from all
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, nil //nolint:nilerr // as above
	}
	return hashOf(w.ctx, f, w.buf)
}

// hashOf reads an open file from its beginning, wherever its offset is, and leaves that where it was.
func hashOf(ctx context.Context, f *os.File, buf []byte) ([]byte, error) {
	h := sha256.New()
	for offset := int64(0); ; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n, err := f.ReadAt(buf, offset)
		h.Write(buf[:n])
		offset += int64(n)
		if errors.Is(err, io.EOF) {
			return h.Sum(nil), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// describe says what an entry is, but for a link's target and a hash.
func describe(full string, info fs.FileInfo) *backends.TreeEntry {
	e := &backends.TreeEntry{Name: full, Type: backends.TypeOther, Mode: info.Mode().Perm(), ModTime: info.ModTime()}
	switch {
	case info.IsDir():
		e.Type = backends.TypeDir
	case info.Mode()&fs.ModeSymlink != 0:
		e.Type = backends.TypeLink
	case info.Mode().IsRegular():
		e.Type, e.Size = backends.TypeFile, info.Size()
	}
	return e
}
