package agentpb

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

var fileTypes = map[FileType]backends.FileType{
	FileType_FILE_TYPE_FILE: backends.TypeFile, FileType_FILE_TYPE_DIRECTORY: backends.TypeDir,
	FileType_FILE_TYPE_SYMLINK: backends.TypeLink, FileType_FILE_TYPE_OTHER: backends.TypeOther,
}

// NewEntry is an entry of a workspace.
func NewEntry(workspace string, info *backends.FileInfo) *EntryInfo {
	x := &EntryInfo{
		Name: valid(info.Name), Path: valid(path.Join(workspace, info.Path)), Size: info.Size, Mode: uint32(info.Mode.Perm()),
		Owner: valid(info.Owner), Group: valid(info.Group), ModifiedTime: timestamppb.New(info.ModTime),
		AccessTime: timestamppb.New(info.AccessTime), ChangeTime: timestamppb.New(info.ChangeTime), Metadata: validMap(info.Metadata),
	}
	mode := info.Mode.Perm()
	switch info.Type {
	case backends.TypeFile:
		x.Type = FileType_FILE_TYPE_FILE
	case backends.TypeDir:
		x.Type, mode = FileType_FILE_TYPE_DIRECTORY, mode|fs.ModeDir
	case backends.TypeLink:
		x.Type, mode = FileType_FILE_TYPE_SYMLINK, mode|fs.ModeSymlink
		target := valid(info.Target)
		x.SymlinkTarget, x.End = &target, newLinkEnd(info.End)
	default:
		x.Type = FileType_FILE_TYPE_OTHER
	}
	x.Permissions = mode.String()
	return x
}

func newLinkEnd(end *backends.LinkEnd) *LinkEnd {
	if end == nil {
		return nil
	}
	x := &LinkEnd{
		Path: valid(end.Path), Size: end.Size, Mode: uint32(end.Mode.Perm()), ModifiedTime: timestamppb.New(end.ModTime),
		Type: FileType_FILE_TYPE_OTHER,
	}
	for number, kind := range fileTypes {
		if kind == end.Type {
			x.Type = number
		}
	}
	return x
}

func (x *LinkEnd) value() *backends.LinkEnd {
	kind, known := fileTypes[x.GetType()]
	if x == nil || !known || x.Size < 0 || !path.IsAbs(x.Path) || len(x.Path) > maxPath {
		return nil
	}
	return &backends.LinkEnd{
		Path: path.Clean(x.Path), Type: kind, Size: x.Size, Mode: fs.FileMode(x.Mode).Perm(), ModTime: timeOf(x.ModifiedTime),
	}
}

func validMap(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for key, value := range m {
		out[valid(key)] = valid(value)
	}
	return out
}

// Bounds of an entry, bytes.
const (
	maxPath     = 64 << 10
	maxMetadata = 16 << 10
)

// Value is the entry, of a workspace at that path.
func (x *EntryInfo) Value(workspace string) (backends.FileInfo, error) {
	if x == nil {
		return backends.FileInfo{}, fmt.Errorf("entry: %w", fs.ErrInvalid)
	}
	rel, ok := strings.CutPrefix(x.Path, strings.TrimSuffix(workspace, "/"))
	if rel = strings.TrimPrefix(rel, "/"); rel == "" {
		rel = "."
	}
	kind, known := fileTypes[x.Type]
	size := 0
	for key, value := range x.Metadata {
		size += len(key) + len(value)
	}
	if !ok || !known || !fs.ValidPath(rel) || len(x.Path) > maxPath || len(x.GetSymlinkTarget()) > maxPath ||
		x.Size < 0 || size > maxMetadata || rel != "." && x.Name != path.Base(rel) || len(x.Name) > maxPath ||
		strings.ContainsAny(x.Name, "/\x00") {
		return backends.FileInfo{}, fmt.Errorf("entry %.100q: %w", x.Path, fs.ErrInvalid)
	}
	info := backends.FileInfo{
		Name: x.Name, Path: rel, Type: kind, Size: x.Size, Mode: fs.FileMode(x.Mode).Perm(),
		Owner: bounded(x.Owner), Group: bounded(x.Group), Target: x.GetSymlinkTarget(), Metadata: x.Metadata,
		ModTime: timeOf(x.ModifiedTime), AccessTime: timeOf(x.AccessTime), ChangeTime: timeOf(x.ChangeTime),
	}
	if kind == backends.TypeLink {
		info.End = x.End.value()
	}
	return info, nil
}

func timeOf(t *timestamppb.Timestamp) time.Time {
	if !t.IsValid() {
		return time.Time{}
	}
	return t.AsTime().Local()
}

var watchOps = map[EventType]backends.WatchOp{
	EventType_EVENT_TYPE_CREATE: backends.WatchCreate, EventType_EVENT_TYPE_WRITE: backends.WatchWrite,
	EventType_EVENT_TYPE_REMOVE: backends.WatchRemove, EventType_EVENT_TYPE_RENAME: backends.WatchRename,
	EventType_EVENT_TYPE_CHMOD: backends.WatchChmod, EventType_EVENT_TYPE_OVERFLOW: backends.WatchOverflow,
}

// NewEvent is a change in a watched folder.
func NewEvent(workspace string, e *backends.FileEvent) *FilesystemEvent {
	x := &FilesystemEvent{Name: valid(e.Name)}
	for number, op := range watchOps {
		if op == e.Op {
			x.Type = number
		}
	}
	if e.Entry != nil {
		x.Entry = NewEntry(workspace, e.Entry)
	}
	return x
}

// Value is the change.
func (x *FilesystemEvent) Value(workspace string) (backends.FileEvent, error) {
	op, ok := watchOps[x.GetType()]
	if !ok || !fs.ValidPath(x.GetName()) || len(x.GetName()) > maxPath {
		return backends.FileEvent{}, fmt.Errorf("event %.100q: %w", x.GetName(), fs.ErrInvalid)
	}
	e := backends.FileEvent{Name: x.Name, Op: op}
	if x.Entry != nil {
		entry, err := x.Entry.Value(workspace)
		if err != nil {
			return backends.FileEvent{}, err
		}
		e.Entry = &entry
	}
	return e, nil
}
