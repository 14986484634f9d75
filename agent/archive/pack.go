package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Options of Pack and Unpack. Nil and zero fields are the defaults.
type Options struct {
	// OnProgress hears of every entry before it is copied, and of long files as they go. It must not block.
	OnProgress func(backends.Progress)
	// OutwardLinks lets Unpack make symbolic links that lead out of the folder. Without it these are ErrOutside.
	OutwardLinks bool
	// SkipOutward lets Unpack leave these out instead, and go on.
	SkipOutward bool
	// Inside are absolute paths that the folder had where it was packed. Unpack makes links to what is in it relative.
	Inside []string
	// Take is asked by Unpack for room on the disk, in bytes, before it is used. An error ends the Unpack.
	Take func(n int64) error
}

// What one folder may hold, and how deep folders may lie.
const (
	maxEntries = 1_000_000
	maxDepth   = 1_000
)

// ErrTooMany says that a folder holds more than is gone through.
var ErrTooMany = errors.New("too many entries: go through them by code in the sandbox")

// packer is a Pack under way.
type packer struct {
	ctx context.Context
	tar *tar.Writer
	buf []byte
	progress
	skipped backends.SkippedError
}

// Pack writes what is in the folder name, or the file name alone, to w as a tar stream, in the order of names. Links are kept as
// they are; sockets, FIFOs and devices are left out. Modes, times to the second and user metadata go along, owners don't.
// What below the folder may not be read is left out too, but for the folders themselves, and told of when the stream is
// complete: *backends.SkippedError.
func Pack(ctx context.Context, root *os.Root, name string, w io.Writer, opts *Options) error {
	// Who reads at the other end of a pipe is woken for each piece, and tar writes small ones.
	out := bufio.NewWriterSize(w, 256<<10)
	p := &packer{ctx: ctx, tar: tar.NewWriter(out), buf: make([]byte, 256<<10), progress: newProgress(opts)}
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		dir, err := root.OpenRoot(name)
		if err != nil {
			return err
		}
		defer func() { _ = dir.Close() }()
		err = p.folder(dir, "", 0)
		if err != nil {
			return err
		}
	} else if err := p.single(root, name); err != nil {
		return err
	} else if p.skipped.Count > 0 {
		return p.skipped.Skipped[0].Err // it is all there is
	}
	p.tell()
	if err := errors.Join(p.tar.Close(), out.Flush()); err != nil {
		return err
	}
	return p.skipped.OrNil()
}

// single packs a file alone.
func (p *packer) single(root *os.Root, name string) error {
	dir, err := root.OpenRoot(path.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	open, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = open.Close() }()
	return p.entry(dir, open, path.Base(name), path.Base(name), 0)
}

// EndOf is the error that ends a stream which came to err: what was left out does not make it end early.
func EndOf(err error) error {
	if skipped := new(backends.SkippedError); errors.As(err, &skipped) {
		return nil
	}
	return err
}

// skip notes an entry that may not be read, and returns any other error.
func (p *packer) skip(name string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	p.skipped.Add(name, err)
	return nil
}

// folder packs what an open folder holds.
func (p *packer) folder(dir *os.Root, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: folders lie deeper than %d", prefix, maxDepth)
	}
	open, names, err := list(dir, ".", maxEntries)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since
	}
	if err != nil && depth > 0 {
		return p.skip(prefix, err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = open.Close() }()
	for _, name := range names {
		if err := p.entry(dir, open, name, prefix+name, depth); err != nil {
			return err
		}
	}
	return nil
}

// Names lists a folder of at most so many entries, sorted. Error: ErrTooMany.
func Names(root *os.Root, name string, most int) ([]string, error) {
	dir, names, err := list(root, name, most)
	if err != nil {
		return nil, err
	}
	_ = dir.Close()
	return names, nil
}

// list is Names, and the folder, which the caller closes.
func list(root *os.Root, name string, most int) (*os.File, []string, error) {
	dir, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, nil, err
	}
	names, err := dir.Readdirnames(most + 1)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
	case len(names) > most:
		err = ErrTooMany
	default:
		slices.Sort(names)
		return dir, names, nil
	}
	_ = dir.Close()
	return nil, nil, err
}

// entry packs what name is in an open folder, which is given in two ways.
func (p *packer) entry(dir *os.Root, open *os.File, name, full string, depth int) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since
	}
	if err != nil {
		return p.skip(full, err)
	}
	switch {
	case info.IsDir():
		return p.subfolder(dir, name, full, info, depth)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := dir.Readlink(name)
		if err != nil {
			return nil //nolint:nilerr // it is a link no more
		}
		return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: full, Linkname: target, Mode: 0o777, ModTime: info.ModTime()})
	case info.Mode().IsRegular():
		return p.file(open, name, full)
	}
	return nil
}

func (p *packer) subfolder(dir *os.Root, name, full string, info fs.FileInfo, depth int) error {
	sub, err := dir.OpenRoot(name)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			p.skipped.Add(full, err)
			return p.folderHeader(full, info)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil // replaced since
		}
		return err
	}
	defer func() { _ = sub.Close() }()
	// The name may have become a link to a folder elsewhere below, which is not to be followed.
	now, err := sub.Stat(".")
	if errors.Is(err, fs.ErrPermission) { // it may be listed and not be gone into
		p.skipped.Add(full, err)
		return p.folderHeader(full, info)
	}
	if err != nil || !os.SameFile(info, now) {
		return nil //nolint:nilerr // replaced since
	}
	if err := p.folderHeader(full, info); err != nil {
		return err
	}
	return p.folder(sub, full+"/", depth+1)
}

func (p *packer) folderHeader(full string, info fs.FileInfo) error {
	p.begin(full)
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: full + "/", Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()})
}

func (p *packer) file(dir *os.File, name, full string) error {
	f, err := openIn(dir, name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) {
		return nil // replaced since
	}
	if err != nil {
		return p.skip(full, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	p.begin(full)
	metadata, err := Metadata(f)
	if err != nil {
		return err
	}
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: full, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime(),
		PAXRecords: records(metadata),
	}
	if err := p.tar.WriteHeader(header); err != nil {
		return err
	}
	return p.contents(f, info.Size())
}

// contents writes exactly size bytes.
func (p *packer) contents(f io.Reader, size int64) error {
	for left := size; left > 0; {
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		part := p.buf[:min(int64(len(p.buf)), left)]
		n, err := io.ReadFull(f, part)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			clear(part[n:]) // it has shrunk
		} else if err != nil {
			return err
		}
		if _, err := p.tar.Write(part); err != nil {
			return err
		}
		left -= int64(len(part))
		p.add(int64(len(part)))
	}
	return nil
}
