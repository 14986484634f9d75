package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Open opens a regular file, or a part of it.
func (f *files) Open(_ context.Context, name string, opts *backends.OpenOptions) (io.ReadCloser, error) {
	f, name, err := f.at(name, true)
	if err != nil {
		return nil, err
	}
	file, err := f.openRegular(name)
	if err != nil || opts == nil {
		return file, err
	}
	if opts.Offset < 0 || opts.Length < 0 {
		_ = file.Close()
		return nil, fmt.Errorf("%w: range of %d bytes from %d", fs.ErrInvalid, opts.Length, opts.Offset)
	}
	if _, err := file.Seek(opts.Offset, io.SeekStart); err != nil {
		_ = file.Close()
		return nil, told(err)
	}
	if opts.Length == 0 {
		return file, nil
	}
	return &part{io.LimitReader(file, opts.Length), file}, nil
}

// part is a range of a file.
type part struct {
	io.Reader
	io.Closer
}

func (f *files) openRegular(name string) (file *os.File, err error) {
	err = f.inside(name, true, func(name string) (err error) {
		// Not blocking: a FIFO would wait for a writer for ever.
		file, err = f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	})
	if errors.Is(err, syscall.ENXIO) { // a socket
		return nil, backends.ErrNotRegular
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		_ = file.Close()
		return nil, told(err)
	}
	return file, nil
}

// regular is the error of what is no regular file.
func regular(info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return backends.ErrIsDir
	case !info.Mode().IsRegular():
		return backends.ErrNotRegular
	}
	return nil
}

// defaultMode is that of a new file.
const defaultMode fs.FileMode = 0o644

// Write stores a file: beside its place first, and then moved there. A link is followed, so that it stays one.
func (f *files) Write(ctx context.Context, name string, r io.Reader, opts *backends.WriteOptions) (int64, error) {
	var o backends.WriteOptions
	if opts != nil {
		o = *opts
	}
	if err := archive.CheckMetadata(o.Metadata); err != nil {
		return 0, err
	}
	var err error
	if refused := f.beside(func() { f, name, err = f.at(name, true) }); refused != nil || err != nil {
		return 0, errors.Join(refused, err)
	}
	return f.write(name, o, func(file *os.File, room *room) (int64, error) {
		return io.Copy(file, &roomReader{room: room, ctx: ctx, r: &contextReader{ctx: ctx, r: r}})
	})
}

// write replaces a file by what fill puts into a new one. Who fills it may take their time, and needs no rights to files.
func (f *files) write(name string, o backends.WriteOptions, fill func(*os.File, *room) (int64, error)) (n int64, err error) {
	var staged *archive.Staged
	if refused := f.beside(func() { staged, name, err = f.stage(name, &o) }); refused != nil || err != nil {
		return 0, errors.Join(refused, err)
	}
	defer func() {
		if f.beside(staged.Discard) != nil {
			staged.Discard()
		}
	}()
	room := f.disk.room(staged.Nameless())
	defer room.settle()
	if n, err = fill(staged.File, room); err != nil {
		return 0, told(err)
	}
	if refused := f.beside(func() { err = commit(staged, name, &o) }); refused != nil || err != nil {
		return 0, errors.Join(refused, told(err))
	}
	room.keep()
	return n, nil
}

// stage makes a new file beside the one that it is to replace, whose name without links it returns, and completes the options.
func (f *files) stage(name string, o *backends.WriteOptions) (*archive.Staged, string, error) {
	if name == "." {
		return nil, "", fmt.Errorf("%w: it is the workspace", backends.ErrIsDir)
	}
	info, err := f.root.Lstat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if name, err = f.within(name, true); err != nil {
			return nil, "", err
		}
		info, err = f.root.Lstat(name)
	}
	if err == nil {
		err = regular(info)
	}
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, "", told(err)
	case o.Mode == 0 && err == nil:
		o.Mode = info.Mode()
	case o.Mode == 0:
		o.Mode = defaultMode
	}
	if err := f.parents(name); err != nil {
		return nil, "", told(err)
	}
	staged, err := archive.Stage(f.root, path.Dir(name), err == nil)
	return staged, name, told(err)
}

// commit gives a file that is complete its name.
func commit(staged *archive.Staged, name string, o *backends.WriteOptions) error {
	if len(o.Metadata) > 0 {
		if err := archive.SetMetadata(staged.File, o.Metadata); err != nil {
			return err
		}
	}
	if err := staged.Chmod(o.Mode.Perm()); err != nil { // whatever the host's umask
		return err
	}
	return staged.Commit(name)
}

// contextReader ends reading when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// Copy copies a file or a tree.
func (f *files) Copy(ctx context.Context, oldName, newName string) error {
	from, to, err := f.both("copied", oldName, newName)
	if err != nil || from == to {
		return err
	}
	info, err := from.in.root.Lstat(from.name)
	if err != nil {
		return told(err)
	}
	switch {
	case info.IsDir():
		return copyTree(ctx, from, to)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := from.in.root.Readlink(from.name)
		if err == nil {
			err = to.in.parents(to.name)
		}
		if err == nil {
			err = to.in.root.Symlink(target, to.name)
		}
		return told(err)
	}
	return copyContents(ctx, from, to)
}

// copyPiece is how much is copied before the context is looked at, bytes. Within a piece the system copies by itself.
const copyPiece = 64 << 20

func copyContents(ctx context.Context, from, to entry) error {
	source, err := from.in.openRegular(from.name)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	info, err := source.Stat()
	if err != nil {
		return told(err)
	}
	metadata, err := archive.Metadata(source)
	if err != nil {
		return told(err)
	}
	opts := backends.WriteOptions{Mode: info.Mode(), Metadata: metadata}
	_, err = to.in.write(to.name, opts, func(file *os.File, room *room) (total int64, err error) {
		for err == nil {
			if ctx.Err() != nil {
				return total, context.Cause(ctx)
			}
			piece := min(copyPiece, max(info.Size()-total, 1))
			if err := room.take(ctx, piece); err != nil {
				return total, err
			}
			var n int64
			n, err = io.CopyN(file, source, piece)
			total += n
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return total, err
	})
	return err
}

// copyTree copies a folder by way of a stream, so that there is one place that walks and one that makes.
func copyTree(ctx context.Context, from, to entry) error {
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		var err error
		if refused := from.in.beside(func() { err = archive.Pack(ctx, from.in.root, from.name, w, nil) }); refused != nil {
			err = refused
		}
		_ = w.CloseWithError(archive.EndOf(err)) // nil is io.EOF
		packed <- err
	}()
	err := to.in.unpack(ctx, to.name, r)
	_ = r.CloseWithError(err) // ends the packer
	if packErr := <-packed; packErr != nil && err == nil {
		err = packErr
	}
	return told(err)
}
