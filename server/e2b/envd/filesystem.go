package envd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// filesystem is the service filesystem.Filesystem (section 3.5); its watchers are in watch.go.
type filesystem struct{ h *Handler }

var _ envdpb.FilesystemHandler = (*filesystem)(nil)

// locate is where a path of a request leads, for its user.
func locate(ctx context.Context, r connect.AnyRequest, given string) (*place, location, error) {
	p, err := placeOf(fleet.From(ctx), userOf(r.Header(), nil))
	if err != nil {
		return nil, location{}, err
	}
	at, err := p.locate(given)
	return p, at, err
}

// entryOf describes what is at a location.
func (p *place) entryOf(ctx context.Context, at location) (*envdpb.EntryInfo, error) {
	info, err := p.files.Info(ctx, at.name)
	if err != nil {
		return nil, err
	}
	return newEntry(at.path, &info), nil
}

var fileTypes = map[backends.FileType]envdpb.FileType{
	backends.TypeFile: envdpb.FileType_FILE_TYPE_FILE, backends.TypeDir: envdpb.FileType_FILE_TYPE_DIRECTORY,
	backends.TypeLink: envdpb.FileType_FILE_TYPE_SYMLINK,
}

// newEntry is an entry as the protocol has it: a link that leads somewhere has the type and mode of what it leads to.
func newEntry(full string, info *sandbox.FileInfo) *envdpb.EntryInfo {
	x := &envdpb.EntryInfo{
		Name: path.Base(full), Path: full, Type: fileTypes[info.Type], Size: info.Size, Mode: uint32(info.Mode.Perm()),
		Permissions: permissions(info), Owner: info.Owner, Group: info.Group, ModifiedTime: timestamppb.New(info.ModTime),
		Metadata: info.Metadata,
	}
	if info.Type == backends.TypeLink {
		target := info.Target
		if info.End != nil {
			target, x.Type, x.Mode = info.End.Path, fileTypes[info.End.Type], uint32(info.End.Mode.Perm())
		}
		x.SymlinkTarget = &target
	}
	return x
}

// permissions are those of the entry itself, as Go writes them.
func permissions(info *sandbox.FileInfo) string {
	mode := info.Mode.Perm()
	switch info.Type {
	case backends.TypeDir:
		mode |= fs.ModeDir
	case backends.TypeLink:
		mode |= fs.ModeSymlink
	}
	return mode.String()
}

func (s *filesystem) Stat(
	ctx context.Context, r *connect.Request[envdpb.StatRequest],
) (*connect.Response[envdpb.StatResponse], error) {
	p, at, err := locate(ctx, r, r.Msg.Path)
	if err != nil {
		return nil, err
	}
	entry, err := p.entryOf(ctx, at)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&envdpb.StatResponse{Entry: entry}), nil
}

func (s *filesystem) MakeDir(
	ctx context.Context, r *connect.Request[envdpb.MakeDirRequest],
) (*connect.Response[envdpb.MakeDirResponse], error) {
	p, at, err := locate(ctx, r, r.Msg.Path)
	if err != nil {
		return nil, err
	}
	switch info, err := p.files.Info(ctx, at.name); {
	case err == nil && isDir(&info):
		return nil, connect.NewError(connect.CodeAlreadyExists, fmt.Errorf("directory already exists: %s", at.path))
	case err == nil:
		return nil, invalidf("path already exists but it is not a directory: %s", at.path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := p.files.MakeDir(ctx, at.name); err != nil {
		return nil, err
	}
	entry, err := p.entryOf(ctx, at)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&envdpb.MakeDirResponse{Entry: entry}), nil
}

// isDir reports whether an entry is a folder, or a link to one.
func isDir(info *sandbox.FileInfo) bool {
	return info.Type == backends.TypeDir || info.End != nil && info.End.Type == backends.TypeDir
}

func (s *filesystem) Move(
	ctx context.Context, r *connect.Request[envdpb.MoveRequest],
) (*connect.Response[envdpb.MoveResponse], error) {
	p, from, err := locate(ctx, r, r.Msg.Source)
	if err != nil {
		return nil, err
	}
	to, err := p.locate(r.Msg.Destination)
	if err != nil {
		return nil, err
	}
	if err := p.files.Rename(ctx, from.name, to.name); err != nil {
		return nil, err
	}
	entry, err := p.entryOf(ctx, to)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&envdpb.MoveResponse{Entry: entry}), nil
}

// maxListing bounds an answer, bytes of the paths in it and a share for the rest of each entry.
const maxListing = 64 << 20

func (s *filesystem) ListDir(
	ctx context.Context, r *connect.Request[envdpb.ListDirRequest],
) (*connect.Response[envdpb.ListDirResponse], error) {
	p, at, err := locate(ctx, r, r.Msg.Path)
	if err != nil {
		return nil, err
	}
	infos, err := p.files.ListTree(ctx, at.name, int(min(max(r.Msg.Depth, 1), math.MaxInt32)))
	if err != nil {
		return nil, err
	}
	answer := &envdpb.ListDirResponse{Entries: make([]*envdpb.EntryInfo, 0, len(infos))}
	size := 0
	for i := range infos {
		full := at.pathOf(&infos[i])
		if size += len(full) + len(infos[i].Target) + 256; size > maxListing {
			return nil, connect.NewError(connect.CodeResourceExhausted, errors.New("too much to list at once: ask for a smaller depth"))
		}
		answer.Entries = append(answer.Entries, newEntry(full, &infos[i]))
	}
	return connect.NewResponse(answer), nil
}

func (s *filesystem) Remove(
	ctx context.Context, r *connect.Request[envdpb.RemoveRequest],
) (*connect.Response[envdpb.RemoveResponse], error) {
	p, at, err := locate(ctx, r, r.Msg.Path)
	if err != nil {
		return nil, err
	}
	if err := p.files.Remove(ctx, at.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return connect.NewResponse(&envdpb.RemoveResponse{}), nil
}
