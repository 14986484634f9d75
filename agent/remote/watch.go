package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// watch is a watch elsewhere. Its events are fetched as they are read, so that those of a slow reader are merged there.
type watch struct {
	in   *Instance
	of   files
	id   string
	life context.Context
	stop context.CancelFunc
	once sync.Once

	reading  chan struct{} // of one element, held while events are fetched; guards what follows
	received uint64        // events that have come
	events   []backends.FileEvent
	err      error
}

// Watch watches a folder.
func (f files) Watch(ctx context.Context, name string, opts *backends.WatchOptions) (backends.Watch, error) {
	if err := f.check(name); err != nil {
		return nil, err
	}
	request := &agentpb.CreateWatcherRequest{Path: name, AllowNetworkMounts: true}
	if opts != nil {
		request.Recursive, request.IncludeEntry = opts.Recursive, opts.Entry
	}
	answer, err := call(ctx, f.in.c, change, f.client().CreateWatcher, request)
	if err != nil {
		return nil, err
	}
	if answer.WatcherId == "" || len(answer.WatcherId) > 64 {
		return nil, fmt.Errorf("remote: %w: watch without a name", ErrProtocol)
	}
	w := &watch{in: f.in, of: f, id: answer.WatcherId, reading: make(chan struct{}, 1)}
	w.reading <- struct{}{}
	w.life, w.stop = context.WithCancel(context.Background())
	return w, nil
}

// How many events are fetched at once, and how long one that is there already may take to be told to a reader who does not wait.
const (
	maxEvents  = 64
	eventGrace = 5 * time.Second
)

// Next waits for the next event.
func (w *watch) Next(ctx context.Context) (backends.FileEvent, error) {
	select {
	case <-w.reading:
	default:
		select {
		case <-w.reading:
		case <-ctx.Done():
			return backends.FileEvent{}, context.Cause(ctx)
		}
	}
	defer func() { w.reading <- struct{}{} }()
	if len(w.events) == 0 && w.err == nil {
		if err := w.fetch(ctx); err != nil {
			return backends.FileEvent{}, err
		}
	}
	if len(w.events) > 0 && w.life.Err() == nil {
		event := w.events[0]
		w.events = w.events[1:]
		return event, nil
	}
	if w.life.Err() != nil {
		return backends.FileEvent{}, io.EOF
	}
	return backends.FileEvent{}, w.err
}

// fetch gets events, or sets the error that stays; what it returns is the caller's alone.
func (w *watch) fetch(ctx context.Context) error {
	wait := ctx.Err() == nil
	asking, cancel := context.WithCancel(ctx)
	if !wait {
		asking, cancel = context.WithTimeout(context.WithoutCancel(ctx), eventGrace)
	}
	defer cancel()
	defer context.AfterFunc(w.life, cancel)()
	answer, err := call(asking, w.in.c, forever, w.of.client().GetWatcherEvents, &agentpb.GetWatcherEventsRequest{
		WatcherId: w.id, Wait: wait, Received: w.received, Max: maxEvents,
	})
	switch {
	case w.life.Err() != nil:
		w.err = io.EOF
		return nil
	case err != nil && asking.Err() != nil && wait:
		return context.Cause(ctx)
	case err != nil && w.in.lost(err):
		w.err = backends.ErrDestroyed
		return nil
	case errors.Is(err, backends.ErrPaused):
		return err
	case err != nil:
		w.err = err
		return nil
	case len(answer.Events) > maxEvents:
		w.err = fmt.Errorf("remote: %w: %d events at once", ErrProtocol, len(answer.Events))
		return nil
	case len(answer.Events) == 0 && !wait:
		return context.Cause(ctx)
	}
	for _, x := range answer.Events {
		event, err := x.Value(w.of.base)
		if err != nil {
			w.err = fmt.Errorf("remote: %w: %w", ErrProtocol, err)
			return nil
		}
		w.events = append(w.events, event)
	}
	if len(w.events) == 0 {
		w.err = fmt.Errorf("remote: %w: no event where one was due", ErrProtocol)
	}
	w.received += uint64(len(answer.Events))
	return nil
}

// Close ends the watch.
func (w *watch) Close() error {
	w.once.Do(func() {
		w.stop()
		w.in.c.afterwards(func(ctx context.Context) { // an agent that is lost ends it with everything else
			_, _ = call(ctx, w.in.c, change, w.of.client().RemoveWatcher, &agentpb.RemoveWatcherRequest{WatcherId: w.id})
		})
	})
	return nil
}
