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
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

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
	trail   trail
	steps   int // entries, counted where links are followed
}

// Pack writes what is in the folder name, or the file name alone, to w as a tar stream, in the order of names. Links are kept as
// they are; sockets, FIFOs and devices are left out. Modes, times to the nanosecond and user metadata go along, owners don't.
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
		if err := p.trail.begin(p.opts.Follow, filepath.Join(root.Name(), name), dir, info); err != nil {
			return err
		}
		err = p.folder(dir, p.trail.top, "", 0)
		if err != nil {
			return err
		}
	} else if err := p.single(root, name); err != nil {
		return err
	} else if p.skipped.Count > 0 {
		return p.skipped.Skipped[0].Err // it is all there is
	}
	if p.opts.Difference != nil && info.IsDir() {
		if err := p.upTo(""); err != nil {
			return err
		}
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
	return p.entry(dir, open, "", path.Base(name), path.Base(name), 0)
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
	return p.spare(name)
}

// left notes an entry that is left out for another reason, which is told of on wish.
func (p *packer) left(name string, err error) error {
	if p.opts.Strict {
		p.skipped.Add(name, err)
	}
	return p.spare(name)
}

// folder packs what an open folder holds, which has the path real where links are followed.
func (p *packer) folder(dir *os.Root, real, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: folders lie deeper than %d", prefix, maxDepth)
	}
	open, names, err := list(dir, ".", maxEntries)
	if errors.Is(err, fs.ErrNotExist) && depth > 0 {
		return p.left(strings.TrimSuffix(prefix, "/"), backends.ErrVanished)
	}
	if err != nil && depth > 0 {
		return p.skip(strings.TrimSuffix(prefix, "/"), err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = open.Close() }()
	for _, name := range names {
		if err := p.entry(dir, open, real, name, prefix+name, depth); err != nil {
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
func (p *packer) entry(dir *os.Root, open *os.File, real, name, full string, depth int) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return p.left(full, backends.ErrVanished)
	}
	if err != nil {
		return p.skip(full, err)
	}
	switch {
	case info.IsDir():
		return p.subfolder(dir, real, name, full, info, depth)
	case info.Mode()&fs.ModeSymlink != 0 && p.opts.Follow != "":
		return p.follow(real, name, full, depth)
	case info.Mode()&fs.ModeSymlink != 0:
		return p.link(dir, name, full, info)
	case info.Mode().IsRegular():
		return p.file(open, name, full)
	}
	return p.left(full, fmt.Errorf("%w but a %s", backends.ErrNotRegular, kind(info.Mode())))
}

// kind names what is neither a file, a folder nor a link.
func kind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

func (p *packer) link(dir *os.Root, name, full string, info fs.FileInfo) error {
	target, err := dir.Readlink(name)
	if err != nil {
		return p.left(full, backends.ErrVanished)
	}
	e := describe(full, info)
	e.Target = target
	if send, err := p.differs(e, nil); err != nil || !send {
		p.count.Unchanged++
		return err
	}
	p.count.Sent++
	return p.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeSymlink, Name: full, Linkname: target, Mode: 0o777, ModTime: info.ModTime(), Format: tar.FormatPAX,
	})
}

func (p *packer) subfolder(dir *os.Root, real, name, full string, info fs.FileInfo, depth int) error {
	sub, err := dir.OpenRoot(name)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return p.closed(full, info, err)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return p.left(full, backends.ErrVanished)
		}
		return err
	}
	defer func() { _ = sub.Close() }()
	// The name may have become a link to a folder elsewhere below, which is not to be followed.
	now, err := sub.Stat(".")
	if errors.Is(err, fs.ErrPermission) { // it may be listed and not be gone into
		return p.closed(full, info, err)
	}
	if err != nil || !os.SameFile(info, now) {
		return p.left(full, backends.ErrVanished)
	}
	if !p.trail.push(info) {
		return p.left(full, backends.ErrLoop)
	}
	defer p.trail.pop()
	if err := p.folderHeader(full, info); err != nil {
		return err
	}
	return p.folder(sub, filepath.Join(real, name), full+"/", depth+1)
}

// closed packs a folder that may not be gone into, and so is empty.
func (p *packer) closed(full string, info fs.FileInfo, err error) error {
	if err := p.folderHeader(full, info); err != nil {
		return err
	}
	return p.skip(full, err)
}

func (p *packer) folderHeader(full string, info fs.FileInfo) error {
	p.begin(full)
	if send, err := p.differs(describe(full, info), nil); err != nil || !send {
		return err
	}
	return p.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: full + "/", Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(), Format: tar.FormatPAX,
	})
}

// A file that changes while it is read is read again, so often and up to that size.
const (
	maxReads  = 3
	maxReread = 64 << 20
)

func (p *packer) file(dir *os.File, name, full string) error {
	f, err := openIn(dir, name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) {
		return p.left(full, backends.ErrVanished)
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
		return p.left(full, backends.ErrVanished)
	}
	p.begin(full)
	if send, err := p.differs(describe(full, info), f); err != nil || !send {
		p.count.Unchanged++
		return err
	}
	p.count.Sent++
	for reads := 1; ; reads++ {
		if err := p.whole(f, full, info); err != nil || !p.opts.Strict {
			return err
		}
		now, err := f.Stat()
		if err != nil {
			return err
		}
		if now.Size() == info.Size() && now.ModTime().Equal(info.ModTime()) {
			return nil
		}
		if info = now; reads == maxReads || now.Size() > maxReread {
			return p.left(full, backends.ErrChanged)
		}
		// The same name once more in the stream replaces what came before.
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// whole packs an open file of which info is known.
func (p *packer) whole(f *os.File, full string, info fs.FileInfo) error {
	metadata, err := Metadata(f)
	if err != nil {
		return err
	}
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: full, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime(),
		Format: tar.FormatPAX, PAXRecords: records(metadata),
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
