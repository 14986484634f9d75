package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"unicode/utf8"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// files is a workspace elsewhere, or all files there as a user has them.
type files struct {
	in   *Instance
	user string // empty of a workspace
	base string // path of what names are relative to: the workspace, or "/"
}

var _ backends.FileSystem = files{}

// Files is the workspace.
func (in *Instance) Files() backends.FileSystem { return files{in, "", in.workspace} }

func (f files) client() agentpb.FilesystemClient { return f.in.c.files[f.user] }

// check refuses calls that can't be made.
func (f files) check(names ...string) error {
	for _, name := range names {
		if !utf8.ValidString(name) {
			return backends.ErrInvalidName
		}
	}
	return f.in.gone()
}

// Stat describes an entry.
func (f files) Stat(ctx context.Context, name string) (backends.FileInfo, error) {
	if err := f.check(name); err != nil {
		return backends.FileInfo{}, err
	}
	answer, err := call(ctx, f.in.c, quick, f.client().Stat, &agentpb.StatRequest{Path: name})
	if err != nil {
		return backends.FileInfo{}, err
	}
	info, err := answer.Entry.Value(f.base)
	if err != nil {
		return backends.FileInfo{}, fmt.Errorf("remote: %w: %w", ErrProtocol, err)
	}
	return info, nil
}

// Bounds of a listing.
const (
	maxListed      = 100_000
	maxListedBytes = 256 << 20
)

// List lists a folder.
func (f files) List(ctx context.Context, name string, depth int) ([]backends.FileInfo, error) {
	if err := f.check(name); err != nil {
		return nil, err
	}
	if depth < 0 {
		return nil, fmt.Errorf("%w: depth %d", fs.ErrInvalid, depth)
	}
	request := &agentpb.ListDirRequest{Path: name, Depth: uint32(min(depth, math.MaxInt32))}
	// Asked as a call, so that it is repeated like one.
	list := func(ctx context.Context, r *connect.Request[agentpb.ListDirRequest]) (*connect.Response[[]backends.FileInfo], error) {
		infos, err := f.scan(ctx, r)
		if err != nil {
			return nil, err
		}
		return connect.NewResponse(&infos), nil
	}
	infos, err := call(ctx, f.in.c, bulkRead, list, request)
	if err != nil {
		return nil, err
	}
	return *infos, nil
}

func (f files) scan(ctx context.Context, r *connect.Request[agentpb.ListDirRequest]) (_ []backends.FileInfo, err error) {
	stream, err := f.client().ScanDir(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	var infos []backends.FileInfo
	size := 0
	for stream.Receive() {
		for _, entry := range stream.Msg().Entries {
			info, err := entry.Value(f.base)
			if err != nil {
				return nil, fmt.Errorf("remote: %w: %w", ErrProtocol, err)
			}
			size += len(info.Path) + len(info.Target) + 256
			if len(infos) == maxListed || size > maxListedBytes {
				return nil, fmt.Errorf("remote: %w: a listing without end", ErrProtocol)
			}
			infos = append(infos, info)
		}
	}
	return infos, stream.Err()
}

// MakeDir makes a folder and its parents.
func (f files) MakeDir(ctx context.Context, name string) error {
	if err := f.check(name); err != nil {
		return err
	}
	_, err := call(ctx, f.in.c, change, f.client().MakeDir, &agentpb.MakeDirRequest{Path: name})
	return err
}

// Rename moves a file or folder.
func (f files) Rename(ctx context.Context, oldName, newName string) error {
	if err := f.check(oldName, newName); err != nil {
		return err
	}
	_, err := call(ctx, f.in.c, change, f.client().Move, &agentpb.MoveRequest{Source: oldName, Destination: newName})
	return err
}

// Copy copies a file, or a folder with all that is in it.
func (f files) Copy(ctx context.Context, oldName, newName string) error {
	if err := f.check(oldName, newName); err != nil {
		return err
	}
	_, err := call(ctx, f.in.c, bulk, f.client().Copy, &agentpb.CopyRequest{Source: oldName, Destination: newName})
	return err
}

// Remove removes a file, or a folder with all that is in it.
func (f files) Remove(ctx context.Context, name string) error {
	if err := f.check(name); err != nil {
		return err
	}
	_, err := call(ctx, f.in.c, bulk, f.client().Remove, &agentpb.RemoveRequest{Path: name})
	return err
}

// SetMetadata replaces the user metadata of a file or folder.
func (f files) SetMetadata(ctx context.Context, name string, metadata map[string]string) error {
	if err := f.check(name); err != nil {
		return err
	}
	for key, value := range metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return fmt.Errorf("metadata: %w", errors.Join(fs.ErrInvalid, backends.ErrInvalidName))
		}
	}
	_, err := call(ctx, f.in.c, change, f.client().SetMetadata, &agentpb.SetMetadataRequest{Path: name, Metadata: metadata})
	return err
}
