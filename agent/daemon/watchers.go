package daemon

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// watchers are the watches that hosts have begun.
type watchers struct {
	mu    sync.Mutex // guards what follows
	known map[string]*watcher
	next  int
}

// maxWatchers bounds them; how much is watched in all is bounded elsewhere.
const maxWatchers = 256

// watcher is a watch whose events are handed out by number: those handed out last are kept until the host asks for what follows.
type watcher struct {
	watch backends.Watch
	base  string        // path of the file system it is of
	turn  chan struct{} // of one element, held by who fetches events; guards what follows
	first uint64        // how many events were before kept
	kept  []*agentpb.FilesystemEvent
}

func newWatchers() *watchers { return &watchers{known: make(map[string]*watcher)} }

func (ws *watchers) add(
	ctx context.Context, files backends.FileSystem, base, name string, opts *backends.WatchOptions,
) (string, error) {
	ws.mu.Lock()
	full := len(ws.known) >= maxWatchers
	ws.mu.Unlock()
	if full {
		return "", fmt.Errorf("%w: %d watches are open, close some first", backends.ErrWatchLimit, maxWatchers)
	}
	watch, err := files.Watch(ctx, name, opts)
	if err != nil {
		return "", err
	}
	w := &watcher{watch: watch, base: base, turn: make(chan struct{}, 1)}
	w.turn <- struct{}{}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.next++
	id := strconv.Itoa(ws.next)
	ws.known[id] = w
	return id, nil
}

func (ws *watchers) find(id string, take bool) (*watcher, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.known[id]
	if w == nil {
		return nil, fmt.Errorf("watcher %.40q: %w", id, backends.ErrNotFound)
	}
	if take {
		delete(ws.known, id)
	}
	return w, nil
}

func (ws *watchers) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.known {
		_ = w.watch.Close()
	}
}

// events returns what follows the events that the host has received, and waits for it if told to.
func (w *watcher) events(ctx context.Context, received uint64, most int, wait bool) ([]*agentpb.FilesystemEvent, error) {
	select {
	case <-w.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { w.turn <- struct{}{} }()
	if received < w.first || received > w.first+uint64(len(w.kept)) {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("events that are not there"))
	}
	w.kept = w.kept[received-w.first:]
	w.first = received
	if len(w.kept) > 0 {
		return w.kept, nil
	}
	w.kept = nil
	now, cancel := context.WithCancel(ctx)
	cancel()
	if !wait {
		ctx = now
	}
	for size := 0; len(w.kept) < most && size < agentpb.MaxMessage/2; {
		event, err := w.watch.Next(ctx) // which tells of what is there even when ctx has ended
		if err != nil {
			if len(w.kept) > 0 || !wait && errors.Is(err, context.Canceled) {
				return w.kept, nil
			}
			return nil, err
		}
		ctx = now
		x := agentpb.NewEvent(w.base, &event)
		size += len(x.Name) + len(x.GetEntry().GetPath()) + 4096
		w.kept = append(w.kept, x)
	}
	return w.kept, nil
}

func (s *filesService) CreateWatcher(
	ctx context.Context, r *connect.Request[agentpb.CreateWatcherRequest],
) (*connect.Response[agentpb.CreateWatcherResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	files, base, err := s.d.files(ctx)
	if err != nil {
		return nil, err
	}
	opts := &backends.WatchOptions{Recursive: r.Msg.Recursive, Entry: r.Msg.IncludeEntry}
	id, err := sandbox.watchers.add(ctx, files, base, r.Msg.Path, opts)
	if err != nil {
		return nil, err
	}
	undoable(ctx, func() { _ = sandbox.watchers.remove(id) })
	return connect.NewResponse(&agentpb.CreateWatcherResponse{WatcherId: id}), nil
}

func (s *filesService) GetWatcherEvents(
	ctx context.Context, r *connect.Request[agentpb.GetWatcherEventsRequest],
) (*connect.Response[agentpb.GetWatcherEventsResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	w, err := sandbox.watchers.find(r.Msg.WatcherId, false)
	if err != nil {
		return nil, err
	}
	most := min(max(int(r.Msg.Max), 1), agentpb.ScanBatch)
	events, err := w.events(ctx, r.Msg.Received, most, r.Msg.Wait)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.GetWatcherEventsResponse{Events: events}), nil
}

func (ws *watchers) remove(id string) error {
	w, err := ws.find(id, true)
	if err != nil {
		return nil // it is gone, as it should be
	}
	return w.watch.Close()
}

func (s *filesService) RemoveWatcher(
	_ context.Context, r *connect.Request[agentpb.RemoveWatcherRequest],
) (*connect.Response[agentpb.RemoveWatcherResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	if err := sandbox.watchers.remove(r.Msg.WatcherId); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.RemoveWatcherResponse{}), nil
}
