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
	"strings"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// slack is what an entry takes besides its contents at the most, bytes: a folder its block, a file the rest of its last one.
const slack = 4096

// unpacker is an Unpack under way.
type unpacker struct {
	ctx  context.Context
	root *os.Root
	buf  []byte
	progress

	skipped backends.SkippedError

	dir  *os.Root // the folder of the entry before, kept open: entries of one folder follow one another
	open *os.File // the same, once a file was made in it
	name string   // of dir
}

// Unpack makes in root what a tar stream holds: folders, files with their modes, times and metadata, symbolic and hard
// links. A file that is there is replaced whole or, on an error, left as it was. Names that lead out of root are
// backends.ErrOutside, devices and FIFOs backends.ErrNotRegular; what came before such an entry stays.
func Unpack(ctx context.Context, root *os.Root, r io.Reader, opts *Options) error {
	u := &unpacker{ctx: ctx, root: root, buf: make([]byte, 256<<10), progress: newProgress(opts)}
	defer u.leave()
	stream := tar.NewReader(bufio.NewReaderSize(r, 256<<10))
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		header, err := stream.Next()
		if errors.Is(err, io.EOF) {
			u.tell()
			return u.skipped.OrNil()
		}
		if err != nil {
			return fmt.Errorf("read tar stream: %w", err)
		}
		if err := u.entry(header, stream); err != nil {
			return fmt.Errorf("%s: %w", shown(header.Name), err)
		}
	}
}

// shown is as much of a name as an error shows.
func shown(name string) string {
	const most = 200
	if len(name) > most {
		name = name[:most] + "..."
	}
	return strings.ToValidUTF8(name, "\uFFFD")
}

// place is an entry's name below the root. A leading slash counts for nothing, as with tar.
func place(name string) (string, error) {
	if strings.ContainsRune(name, 0) || len(name) > 4096 {
		return "", backends.ErrInvalidName
	}
	cleaned := path.Clean(strings.TrimLeft(name, "/"))
	if cleaned == ".." || strings.HasPrefix(cleaned, "../") {
		return "", backends.ErrOutside
	}
	return cleaned, nil
}

func (u *unpacker) entry(header *tar.Header, contents io.Reader) error {
	name, err := place(header.Name)
	if err != nil {
		return err
	}
	if header.PAXRecords[RemoveRecord] != "" && u.opts.Remove != nil {
		return u.remove(name)
	}
	u.begin(name)
	if err := u.take(slack); err != nil {
		return err
	}
	if sparse(header) {
		return fmt.Errorf("%w: sparse files in tar streams, a few bytes of which may fill a disk", backends.ErrUnsupported)
	}
	if header.Typeflag == tar.TypeDir {
		return u.folder(name, header)
	}
	if name == "." {
		return backends.ErrIsDir
	}
	dir, err := u.enter(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	switch header.Typeflag {
	case tar.TypeReg:
		u.count.Sent++
		return u.file(dir, base, header, contents)
	case tar.TypeSymlink:
		target := u.relative(name, header.Linkname)
		if !u.opts.OutwardLinks && !staysInside(name, target) {
			err := fmt.Errorf("%w: a link to %s", backends.ErrOutside, strings.ToValidUTF8(target, "\uFFFD"))
			if u.opts.SkipOutward {
				u.skipped.Add(name, err)
				return nil
			}
			return err
		}
		u.count.Sent++
		return u.replace(dir, base, func(at string) error { return dir.Symlink(target, at) })
	case tar.TypeLink:
		target, err := place(header.Linkname)
		if err != nil {
			return err
		}
		u.count.Sent++
		return u.hardLink(target, name)
	case tar.TypeXGlobalHeader:
		return nil
	}
	return backends.ErrNotRegular
}

// remove removes what an entry stands for.
func (u *unpacker) remove(name string) error {
	if name == "." {
		return backends.ErrInvalidName
	}
	u.leave() // it may be what is open
	return u.opts.Remove(u.root, name)
}

// sparse reports whether an entry's contents are larger than what the stream holds of them.
func sparse(header *tar.Header) bool {
	if header.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for name := range header.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// staysInside reports whether a symbolic link can lead nowhere but to what lies beside and below, as far as names say.
func staysInside(name, target string) bool {
	if path.IsAbs(target) || target == "" {
		return false
	}
	to := path.Join(path.Dir(name), target)
	return to != ".." && !strings.HasPrefix(to, "../")
}

// relative is a link's target seen from where it lies, when it names something in the folder by a whole path.
func (u *unpacker) relative(name, target string) string {
	if !path.IsAbs(target) {
		return target
	}
	for _, dir := range u.opts.Inside {
		rest, ok := strings.CutPrefix(path.Clean(target), path.Clean(dir))
		if ok && (rest == "" || rest[0] == '/') {
			if to, err := filepath.Rel(path.Join("/", path.Dir(name)), path.Join("/", rest)); err == nil {
				return to
			}
		}
	}
	return target
}

// enter opens a folder, made when absent. It stays open for the next entry.
func (u *unpacker) enter(name string) (*os.Root, error) {
	if u.dir != nil && u.name == name {
		return u.dir, nil
	}
	// From a folder to one in it is one step; from the top it would be as many as it is deep.
	if u.dir != nil && path.Dir(name) == u.name {
		if info, err := u.dir.Lstat(path.Base(name)); err == nil && info.IsDir() {
			if dir, err := u.dir.OpenRoot(path.Base(name)); err == nil {
				u.leave()
				u.dir, u.name = dir, name
				return dir, nil
			}
		}
	}
	u.leave()
	if name != "." {
		if err := u.root.MkdirAll(name, 0o755); err != nil {
			return nil, err
		}
	}
	dir, err := u.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	u.dir, u.name = dir, name
	return dir, nil
}

func (u *unpacker) leave() {
	if u.dir != nil {
		_ = u.dir.Close()
		u.dir = nil
	}
	if u.open != nil {
		_ = u.open.Close()
		u.open = nil
	}
}

func (u *unpacker) folder(name string, header *tar.Header) error {
	if name == "." {
		return nil
	}
	dir, err := u.enter(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if err := dir.Mkdir(base, 0o755); errors.Is(err, fs.ErrExist) {
		// A folder, or a link to one, which only the top knows to lead nowhere else.
		if err := u.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		return u.root.Chmod(name, header.FileInfo().Mode().Perm()|0o700)
	} else if err != nil {
		return err
	}
	// What follows must be able to go in.
	return dir.Chmod(base, header.FileInfo().Mode().Perm()|0o700)
}

// file stores a file: under its own name when that is free, else to take the place of what is there.
func (u *unpacker) file(dir *os.Root, name string, header *tar.Header, contents io.Reader) error {
	if u.open == nil {
		open, err := dir.Open(".")
		if err != nil {
			return err
		}
		u.open = open
	}
	f, err := openIn(u.open, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return u.replaceFile(dir, name, header, contents)
	}
	if err != nil {
		return err
	}
	err = u.fill(f, header, contents)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = dir.Remove(name)
	}
	return err
}

func (u *unpacker) replaceFile(dir *os.Root, name string, header *tar.Header, contents io.Reader) error {
	if info, err := dir.Lstat(name); err == nil && info.IsDir() {
		return backends.ErrIsDir
	}
	staged, err := Stage(dir, ".", true)
	if err != nil {
		return err
	}
	defer staged.Discard()
	if err := u.fill(staged.File, header, contents); err != nil {
		return err
	}
	return staged.Commit(name)
}

func (u *unpacker) fill(f *os.File, header *tar.Header, contents io.Reader) error {
	for {
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
		n, err := contents.Read(u.buf)
		if n > 0 {
			if err := u.take(int64(n)); err != nil {
				return err
			}
			if _, err := f.Write(u.buf[:n]); err != nil {
				return err
			}
			u.add(int64(n))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if metadata := fromRecords(header.PAXRecords); len(metadata) > 0 {
		if err := SetMetadata(f, metadata); err != nil {
			return err
		}
	}
	if err := f.Chmod(header.FileInfo().Mode().Perm()); err != nil {
		return err
	}
	if header.ModTime.IsZero() {
		return nil
	}
	return setModTime(f, header.ModTime)
}

// take asks for room.
func (u *unpacker) take(n int64) error {
	if u.opts.Take == nil {
		return nil
	}
	return u.opts.Take(n)
}

// replace makes something under a name that may be taken by a file or a link.
func (u *unpacker) replace(dir *os.Root, name string, create func(at string) error) error {
	err := create(name)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	at := TemporaryName(true)
	if err := create(at); err != nil {
		return err
	}
	if err := dir.Rename(at, name); err != nil {
		_ = dir.Remove(at)
		if errors.Is(err, syscall.EISDIR) || errors.Is(err, fs.ErrExist) {
			return backends.ErrIsDir
		}
		return err
	}
	return nil
}

func (u *unpacker) hardLink(target, name string) error {
	return u.replace(u.root, name, func(at string) error {
		if at != name {
			at = path.Join(path.Dir(name), at)
		}
		return u.root.Link(target, at)
	})
}
