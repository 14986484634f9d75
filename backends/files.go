package backends

import (
	"context"
	"io"
	"io/fs"
	"time"
)

// FileSystem is the workspace of an instance. Names are relative to it; a leading "/", the workspace's own path or
// "/home/user/" mean the workspace too. Nothing outside the workspace is ever reached: neither by "..",
// nor by links, nor by what is swapped while a call runs. In a name that is no UTF-8 each byte that is out of place is told as
// U+FFFD and its two hexadecimal digits, and may be named so. Errors wrap fs.ErrNotExist, fs.ErrExist,
// fs.ErrPermission, ErrInvalidName, ErrOutside, ErrNotRegular, ErrIsDir, ErrNotDir, ErrNotEmpty, ErrNoSpace (with a
// *LimitError when it is that of Limits.Disk).
type FileSystem interface {
	// Open opens a regular file, or a part of it, for reading. The caller closes it.
	Open(ctx context.Context, name string, opts *OpenOptions) (io.ReadCloser, error)
	// Write stores all of r as a regular file, with parents made as needed, and returns its size. The file is replaced at
	// once: readers see the old one or the new one, and an error leaves the old one as it was.
	Write(ctx context.Context, name string, r io.Reader, opts *WriteOptions) (int64, error)
	// Stat describes what name is, without following a last link.
	Stat(ctx context.Context, name string) (FileInfo, error)
	// List lists a folder and, with a depth above 1, what is below it: each folder before its contents, by name, links not
	// followed. At most 100,000 entries.
	List(ctx context.Context, name string, depth int) ([]FileInfo, error)
	// MakeDir makes a folder and its parents; one that is there already is no error.
	MakeDir(ctx context.Context, name string) error
	// Rename moves a file or folder, making the parents of the new name. A file replaces a file, a folder an empty folder.
	Rename(ctx context.Context, oldName, newName string) error
	// Copy copies a file, or a folder with all that is in it, making the parents of the new name. Files are replaced, folders
	// that are there keep what else they hold. Links are copied as links. What in a tree may not be read is left out: *SkippedError.
	Copy(ctx context.Context, oldName, newName string) error
	// Remove removes a file, or a folder with all that is in it.
	Remove(ctx context.Context, name string) error
	// SetMetadata replaces the user metadata of a file or folder. ErrUnsupported where the file system keeps none.
	SetMetadata(ctx context.Context, name string, metadata map[string]string) error
	// Export writes a folder's contents, or one file, to w as a tar stream. Files that change meanwhile are cut or padded to the
	// size they had; sockets, FIFOs and devices are left out. So is what may not be read: *SkippedError, with the stream complete.
	Export(ctx context.Context, name string, w io.Writer) error
	// Import makes what a tar stream holds in a folder, which is made when absent. What came before an error stays. An entry with
	// the record archive.RemoveRecord takes what has its name away, with all that is in it.
	Import(ctx context.Context, name string, r io.Reader) error
	// Walk tells what is in a folder and below it, or of one file, however much that is: each folder before its contents, by the
	// bytes of names, links not followed. What is removed meanwhile is not told; of a folder that may not be read, itself is.
	// each is called by Walk's caller, one entry at a time; its error ends the Walk.
	Walk(ctx context.Context, name string, opts *WalkOptions, each func(*TreeEntry) error) error
	// Watch tells what changes in a folder from when it returns on; ctx bounds the call only. Links in the folder are
	// told of and never followed. Errors: ErrWatchLimit, which says what to do, ErrUnsupported.
	Watch(ctx context.Context, name string, opts *WatchOptions) (Watch, error)
}

// OpenOptions of Open. Nil is the whole file.
type OpenOptions struct {
	Offset int64 // where to begin, bytes; past the end there is nothing to read
	Length int64 // how much at most, bytes; to the end when 0
}

// WriteOptions of Write. Nil and zero fields are the defaults.
type WriteOptions struct {
	Mode fs.FileMode // permission bits; those of the file that is replaced, or 0644
	// Metadata is kept with the file: keys of letters, digits, dots, dashes and underscores, 4096 bytes in all. None;
	// those of a file that is replaced are gone.
	Metadata map[string]string
}

// WalkOptions of Walk. Nil and zero fields are the defaults.
type WalkOptions struct {
	Hash bool // read the files, and tell the SHA-256 of each
}

// TreeEntry is what Walk tells of an entry.
type TreeEntry struct {
	Name    string // relative to the folder, with slashes, in the bytes that the file system has
	Type    FileType
	Mode    fs.FileMode // permission bits
	Size    int64       // of a file, bytes
	ModTime time.Time
	Target  string // of a link
	Hash    []byte // see WalkOptions; nil of a file that may not be read
}

// FileInfo describes one entry of a workspace.
type FileInfo struct {
	Name       string            `json:"name"` // last element
	Path       string            `json:"path"` // relative to the workspace, with slashes; "." is the workspace. See FileSystem
	Type       FileType          `json:"type"`
	Size       int64             `json:"size"` // bytes
	Mode       fs.FileMode       `json:"mode"` // permission bits
	Owner      string            `json:"owner"`
	Group      string            `json:"group"`
	ModTime    time.Time         `json:"mod_time"`
	AccessTime time.Time         `json:"access_time"`
	ChangeTime time.Time         `json:"change_time"`        // of contents, mode, owner or name
	Target     string            `json:"target,omitempty"`   // of a link, as the link has it
	End        *LinkEnd          `json:"end,omitempty"`      // of a link, where Stat or List tells of it and it leads to anything in reach
	Metadata   map[string]string `json:"metadata,omitempty"` // see WriteOptions
}

// LinkEnd is what a link leads to in the end.
type LinkEnd struct {
	Path    string      `json:"path"` // from "/" on, without links
	Type    FileType    `json:"type"`
	Size    int64       `json:"size"` // bytes
	Mode    fs.FileMode `json:"mode"` // permission bits
	ModTime time.Time   `json:"mod_time"`
}

// FileType says what an entry is.
type FileType string

// What an entry can be.
const (
	TypeFile  FileType = "file"
	TypeDir   FileType = "dir"
	TypeLink  FileType = "symlink"
	TypeOther FileType = "other" // FIFO, socket, device
)

// Progress is how far a transfer of a tree is.
type Progress struct {
	Entries int    // files and folders begun
	Bytes   int64  // of files' contents
	Name    string // the entry under way, relative to the tree
}
