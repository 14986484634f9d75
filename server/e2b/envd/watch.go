package envd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// keepalivePeriod is how long a stream may be silent, as its request asks.
func keepalivePeriod(header http.Header) time.Duration {
	const usual, most = 90, 3600
	seconds, err := strconv.Atoi(header.Get("Keepalive-Ping-Interval"))
	if err != nil || seconds <= 0 {
		seconds = usual
	}
	return time.Duration(min(seconds, most)) * time.Second
}

var eventTypes = map[backends.WatchOp]envdpb.EventType{
	backends.WatchCreate: envdpb.EventType_EVENT_TYPE_CREATE, backends.WatchWrite: envdpb.EventType_EVENT_TYPE_WRITE,
	backends.WatchRemove: envdpb.EventType_EVENT_TYPE_REMOVE, backends.WatchRename: envdpb.EventType_EVENT_TYPE_RENAME,
	backends.WatchChmod: envdpb.EventType_EVENT_TYPE_CHMOD,
}

// newEvent is a change as the protocol has it, in the folder at a location.
func newEvent(at location, e *sandbox.FileEvent) (*envdpb.FilesystemEvent, error) {
	if e.Op == backends.WatchOverflow {
		return nil, connect.NewError(connect.CodeDataLoss, errors.New("there were too many events: list the folder, and watch it anew"))
	}
	x := &envdpb.FilesystemEvent{Name: e.Name, Type: eventTypes[e.Op]}
	if e.Entry != nil {
		x.Entry = newEntry(path.Join(at.path, e.Name), e.Entry)
	}
	return x, nil
}

func (s *filesystem) WatchDir(
	ctx context.Context, r *connect.Request[envdpb.WatchDirRequest], out *connect.ServerStream[envdpb.WatchDirResponse],
) error {
	p, at, err := locate(ctx, r, r.Msg.Path)
	if err != nil {
		return err
	}
	watcher, err := p.files.Watch(ctx, at.name, &sandbox.WatchOptions{Recursive: r.Msg.Recursive, Entry: r.Msg.IncludeEntry})
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Close() }()
	quiet := keepalivePeriod(r.Header())
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	answer := &envdpb.WatchDirResponse{Event: &envdpb.WatchDirResponse_Start{Start: &envdpb.WatchDirResponse_StartEvent{}}}
	for {
		if err := out.Send(answer); err != nil {
			return err
		}
		timer.Reset(quiet)
		select {
		case event, open := <-watcher.Events():
			if !open {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return watcher.Err()
			}
			told, err := newEvent(at, &event)
			if err != nil {
				return err
			}
			answer = &envdpb.WatchDirResponse{Event: &envdpb.WatchDirResponse_Filesystem{Filesystem: told}}
		case <-timer.C:
			answer = &envdpb.WatchDirResponse{
				Event: &envdpb.WatchDirResponse_Keepalive{Keepalive: &envdpb.WatchDirResponse_KeepAlive{}},
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// polled is a watcher that is asked for its events. It lives until it is removed, until others take its place, or until its sandbox ends.
type polled struct {
	*sandbox.Watcher
	at   location
	last time.Time // that it was asked
}

// maxPolled is how many a sandbox may have: clients that vanish leave theirs. The one that was not asked for the longest makes room.
const maxPolled = 64

func (s *filesystem) CreateWatcher(
	ctx context.Context, r *connect.Request[envdpb.CreateWatcherRequest],
) (*connect.Response[envdpb.CreateWatcherResponse], error) {
	p, at, err := locate(ctx, r, r.Msg.Path)
	if err != nil {
		return nil, err
	}
	// It outlives the request.
	watcher, err := p.files.Watch(context.WithoutCancel(ctx), at.name,
		&sandbox.WatchOptions{Recursive: r.Msg.Recursive, Entry: r.Msg.IncludeEntry})
	if err != nil {
		return nil, err
	}
	id := "w" + rand.Text()
	s.h.stateOf(p.member).addWatcher(id, &polled{Watcher: watcher, at: at, last: time.Now()})
	return connect.NewResponse(&envdpb.CreateWatcherResponse{WatcherId: id}), nil
}

func unknownWatcher(id string) error {
	return connect.NewError(connect.CodeNotFound, fmt.Errorf("watcher with id %.40q not found", id))
}

func (s *filesystem) GetWatcherEvents(
	ctx context.Context, r *connect.Request[envdpb.GetWatcherEventsRequest],
) (*connect.Response[envdpb.GetWatcherEventsResponse], error) {
	watcher := s.h.stateOf(fleet.From(ctx)).watcher(r.Msg.WatcherId, false)
	if watcher == nil {
		return nil, unknownWatcher(r.Msg.WatcherId)
	}
	events, err := watcher.Poll()
	if err != nil && len(events) == 0 && !errors.Is(err, io.EOF) {
		return nil, err
	}
	answer := new(envdpb.GetWatcherEventsResponse)
	for i := range events {
		told, err := newEvent(watcher.at, &events[i])
		if err != nil {
			return nil, err
		}
		answer.Events = append(answer.Events, told)
	}
	return connect.NewResponse(answer), nil
}

func (s *filesystem) RemoveWatcher(
	ctx context.Context, r *connect.Request[envdpb.RemoveWatcherRequest],
) (*connect.Response[envdpb.RemoveWatcherResponse], error) {
	watcher := s.h.stateOf(fleet.From(ctx)).watcher(r.Msg.WatcherId, true)
	if watcher == nil {
		return nil, unknownWatcher(r.Msg.WatcherId)
	}
	if err := watcher.Close(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&envdpb.RemoveWatcherResponse{}), nil
}
