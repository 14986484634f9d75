package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// MaxRead is the size of the largest file that Read returns at once, bytes.
const MaxRead = 1 << 30

// Files is a sandbox's workspace. Names are relative to it; a leading "/" or "/home/user/" means the workspace
// too. Nothing outside it can be reached. In a name that is no UTF-8, which code may give a file, each byte that is out of place
// is told as U+FFFD and its two hexadecimal digits, and may be named so. Errors wrap fs.ErrNotExist, fs.ErrExist, fs.ErrPermission,
// ErrInvalidName, ErrOutside, ErrNotRegular, ErrIsDir, ErrNotDir, ErrNotEmpty, ErrNoSpace, ErrKilled.
type Files struct {
	sandbox *Sandbox
	fs      backends.FileSystem
	whole   bool // see Sandbox.FilesOf
}

// Facts about files.
var (
	ErrInvalidName = backends.ErrInvalidName
	ErrOutside     = backends.ErrOutside
	ErrNotRegular  = backends.ErrNotRegular
	ErrIsDir       = backends.ErrIsDir
	ErrNotDir      = backends.ErrNotDir
	ErrNotEmpty    = backends.ErrNotEmpty
	ErrNoSpace     = backends.ErrNoSpace
	ErrWatchLimit  = backends.ErrWatchLimit
)

// FileInfo describes an entry of the workspace.
type FileInfo = backends.FileInfo

// WriteOptions of WriteFrom.
type WriteOptions = backends.WriteOptions

// File is a name and its contents, for WriteAll.
type File struct {
	Name string
	Data io.Reader
}

// Write stores a file, making its folders; one that is there is replaced at once or, on an error, left as it was. It keeps
// its mode.
func (f *Files) Write(ctx context.Context, name string, data []byte) error {
	_, err := f.WriteFrom(ctx, name, bytes.NewReader(data), nil)
	return err
}

// WriteString is Write.
func (f *Files) WriteString(ctx context.Context, name, text string) error {
	_, err := f.WriteFrom(ctx, name, strings.NewReader(text), nil)
	return err
}

// WriteFrom is Write from a stream, with a mode and metadata on wish; it returns the size. When the connection to a container breaks
// meanwhile, an r that is an io.Seeker is sent again from where it was; of another one that is backends.ErrCut.
func (f *Files) WriteFrom(ctx context.Context, name string, r io.Reader, opts *WriteOptions) (n int64, err error) {
	err = f.uncut(ctx, rewinder(r), func() (err error) {
		n, err = f.fs.Write(ctx, name, r, opts)
		return err
	})
	return n, f.wrap("write", name, err)
}

// WriteAll stores several files and stops at the first error.
func (f *Files) WriteAll(ctx context.Context, files ...File) error {
	for _, file := range files {
		if _, err := f.WriteFrom(ctx, file.Name, file.Data, nil); err != nil {
			return err
		}
	}
	return nil
}

// Read returns a file's contents. One larger than MaxRead is ErrTooLarge.
func (f *Files) Read(ctx context.Context, name string) ([]byte, error) {
	r, err := f.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, MaxRead+1))
	if err == nil && len(data) > MaxRead {
		data, err = nil, ErrTooLarge
	}
	return data, f.wrap("read", name, errors.Join(err, r.Close()))
}

// ReadString is Read.
func (f *Files) ReadString(ctx context.Context, name string) (string, error) {
	data, err := f.Read(ctx, name)
	return string(data), err
}

// Open opens a regular file for reading. The caller closes it.
func (f *Files) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := f.fs.Open(ctx, name, nil)
	return r, f.wrap("open", name, err)
}

// OpenRange opens length bytes of a regular file from offset on, or fewer when it ends before; all that follow when
// length is 0. The caller closes it.
func (f *Files) OpenRange(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := f.fs.Open(ctx, name, &backends.OpenOptions{Offset: offset, Length: length})
	return r, f.wrap("open", name, err)
}

// List lists a folder, by name; "" is the workspace.
func (f *Files) List(ctx context.Context, name string) ([]FileInfo, error) {
	return f.ListTree(ctx, name, 1)
}

// ListTree lists a folder and what is below it, so many folders deep: each folder before its contents, by name. Links are not
// followed. At most 100,000 entries.
func (f *Files) ListTree(ctx context.Context, name string, depth int) ([]FileInfo, error) {
	infos, err := f.fs.List(ctx, name, depth)
	return infos, f.wrap("list", name, err)
}

// Exists reports whether there is anything of that name.
func (f *Files) Exists(ctx context.Context, name string) (bool, error) {
	_, err := f.fs.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) && f.sandbox.life.Err() == nil {
		return false, nil
	}
	return err == nil, f.wrap("look for", name, err)
}

// Info describes an entry, a link itself rather than what it leads to.
func (f *Files) Info(ctx context.Context, name string) (FileInfo, error) {
	info, err := f.fs.Stat(ctx, name)
	return info, f.wrap("info", name, err)
}

// SetMetadata replaces the metadata of a file or folder, see WriteOptions.
func (f *Files) SetMetadata(ctx context.Context, name string, metadata map[string]string) error {
	return f.wrap("set metadata of", name, f.fs.SetMetadata(ctx, name, metadata))
}

// MakeDir makes a folder and its parents; one that is there is no error.
func (f *Files) MakeDir(ctx context.Context, name string) error {
	return f.wrap("make folder", name, f.fs.MakeDir(ctx, name))
}

// Rename moves a file or folder, making the folders of the new name. A file replaces a file, a folder an empty folder.
func (f *Files) Rename(ctx context.Context, oldName, newName string) error {
	return f.wrap("rename", oldName, f.fs.Rename(ctx, oldName, newName))
}

// Copy copies a file, or a folder with all that is in it, making the folders of the new name. Files are replaced, folders that
// are there keep what else they hold. Links are copied as links. What may not be read is left out, which a *SkippedError tells
// when all else is there.
func (f *Files) Copy(ctx context.Context, oldName, newName string) error {
	return f.wrap("copy", oldName, f.fs.Copy(ctx, oldName, newName))
}

// Remove removes a file, or a folder with all that is in it.
func (f *Files) Remove(ctx context.Context, name string) error {
	return f.wrap("remove", name, f.fs.Remove(ctx, name))
}

func (f *Files) wrap(act, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sandbox: %s %q: %w", act, name, f.sandbox.reason(err))
}
