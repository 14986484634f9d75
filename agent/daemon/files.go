package daemon

import (
	"context"
	"fmt"
	"io/fs"
	"math"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// filesService is the service Filesystem, but for its watchers.
type filesService struct{ d *Daemon }

var _ agentpb.FilesystemHandler = (*filesService)(nil)

// files is the workspace, and its path; all files, and "/", for a request as a user.
func (d *Daemon) files(ctx context.Context) (backends.FileSystem, string, error) {
	sandbox, err := d.current()
	if err != nil {
		return nil, "", err
	}
	if user := userOf(ctx); user != "" {
		files, err := sandbox.users.files(user)
		return files, "/", err
	}
	return sandbox.instance.Files(), sandbox.instance.Workspace(), nil
}

func (s *filesService) entry(ctx context.Context, name string) (*agentpb.EntryInfo, error) {
	files, workspace, err := s.d.files(ctx)
	if err != nil {
		return nil, err
	}
	info, err := files.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	return agentpb.NewEntry(workspace, &info), nil
}

func (s *filesService) Stat(
	ctx context.Context, r *connect.Request[agentpb.StatRequest],
) (*connect.Response[agentpb.StatResponse], error) {
	entry, err := s.entry(ctx, r.Msg.Path)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.StatResponse{Entry: entry}), nil
}

func (s *filesService) MakeDir(
	ctx context.Context, r *connect.Request[agentpb.MakeDirRequest],
) (*connect.Response[agentpb.MakeDirResponse], error) {
	files, _, err := s.d.files(ctx)
	if err != nil {
		return nil, err
	}
	if err := files.MakeDir(ctx, r.Msg.Path); err != nil {
		return nil, err
	}
	entry, _ := s.entry(ctx, r.Msg.Path) // it may be gone again
	return connect.NewResponse(&agentpb.MakeDirResponse{Entry: entry}), nil
}

func (s *filesService) Move(
	ctx context.Context, r *connect.Request[agentpb.MoveRequest],
) (*connect.Response[agentpb.MoveResponse], error) {
	files, _, err := s.d.files(ctx)
	if err != nil {
		return nil, err
	}
	if err := files.Rename(ctx, r.Msg.Source, r.Msg.Destination); err != nil {
		return nil, err
	}
	entry, _ := s.entry(ctx, r.Msg.Destination)
	return connect.NewResponse(&agentpb.MoveResponse{Entry: entry}), nil
}

func (s *filesService) list(ctx context.Context, r *agentpb.ListDirRequest) ([]backends.FileInfo, string, error) {
	files, workspace, err := s.d.files(ctx)
	if err != nil {
		return nil, "", err
	}
	if r.Depth > math.MaxInt32 {
		return nil, "", fmt.Errorf("%w: depth %d", fs.ErrInvalid, r.Depth)
	}
	infos, err := files.List(ctx, r.Path, int(r.Depth))
	return infos, workspace, err
}

func (s *filesService) ListDir(
	ctx context.Context, r *connect.Request[agentpb.ListDirRequest],
) (*connect.Response[agentpb.ListDirResponse], error) {
	infos, workspace, err := s.list(ctx, r.Msg)
	if err != nil {
		return nil, err
	}
	answer := new(agentpb.ListDirResponse)
	for i := range infos {
		answer.Entries = append(answer.Entries, agentpb.NewEntry(workspace, &infos[i]))
	}
	return connect.NewResponse(answer), nil
}

func (s *filesService) ScanDir(
	ctx context.Context, r *connect.Request[agentpb.ListDirRequest], stream *connect.ServerStream[agentpb.ListDirResponse],
) error {
	infos, workspace, err := s.list(ctx, r.Msg)
	if err != nil {
		return err
	}
	part, size := new(agentpb.ListDirResponse), 0
	for i := range infos {
		entry := agentpb.NewEntry(workspace, &infos[i])
		part.Entries = append(part.Entries, entry)
		size += len(entry.Path) + len(entry.GetSymlinkTarget()) + 4096
		if len(part.Entries) == agentpb.ScanBatch || size > agentpb.MaxMessage/2 {
			if err := stream.Send(part); err != nil {
				return err
			}
			part, size = new(agentpb.ListDirResponse), 0
		}
	}
	return stream.Send(part)
}

func (s *filesService) Remove(
	ctx context.Context, r *connect.Request[agentpb.RemoveRequest],
) (*connect.Response[agentpb.RemoveResponse], error) {
	files, _, err := s.d.files(ctx)
	if err != nil {
		return nil, err
	}
	if err := files.Remove(ctx, r.Msg.Path); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.RemoveResponse{}), nil
}

func (s *filesService) Copy(
	ctx context.Context, r *connect.Request[agentpb.CopyRequest],
) (*connect.Response[agentpb.CopyResponse], error) {
	files, _, err := s.d.files(ctx)
	if err != nil {
		return nil, err
	}
	if err := files.Copy(ctx, r.Msg.Source, r.Msg.Destination); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.CopyResponse{}), nil
}

func (s *filesService) SetMetadata(
	ctx context.Context, r *connect.Request[agentpb.SetMetadataRequest],
) (*connect.Response[agentpb.SetMetadataResponse], error) {
	files, _, err := s.d.files(ctx)
	if err != nil {
		return nil, err
	}
	if err := files.SetMetadata(ctx, r.Msg.Path, r.Msg.Metadata); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.SetMetadataResponse{}), nil
}
