package agent

import (
	"context"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// What a watch keeps until it is read.
const (
	maxEvents     = 16 << 10
	maxEventBytes = 4 << 20 // of their names
)

// eventQueue holds a watch's events until they are read. It never grows past its bounds: what does not fit is lost,
// and so is all that follows until the reader has come to the WatchOverflow that says so.
type eventQueue struct {
	mu      sync.Mutex // guards what follows
	events  []backends.FileEvent
	bytes   int               // of the names of events
	waiting map[string]unread // what of events concerns a name
	lost    bool              // an overflow is to be told after events
	err     error             // told after everything, from then on
	changed chan struct{}     // closed at the next change; nil when nobody waits
}

// unread is what is not read yet of one name's events.
type unread struct {
	events         int
	written, moded bool // such an event is among them, and nothing after it that is more
}

// add takes an event, or merges it with one that says the same.
func (q *eventQueue) add(name string, op backends.WatchOp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil || q.lost {
		return
	}
	u := q.waiting[name]
	if op == backends.WatchWrite && u.written || op == backends.WatchChmod && u.moded {
		return
	}
	if len(q.events) == maxEvents || q.bytes+len(name) > maxEventBytes {
		q.lost = true
		return
	}
	switch op {
	case backends.WatchWrite:
		u.written = true
	case backends.WatchChmod:
		u.moded = true
	default:
		u.written, u.moded = false, false
	}
	u.events++
	if q.waiting == nil {
		q.waiting = make(map[string]unread)
	}
	q.waiting[name] = u
	q.bytes += len(name)
	q.events = append(q.events, backends.FileEvent{Name: name, Op: op})
	q.wake()
}

// lose says that events were lost before they came here.
func (q *eventQueue) lose() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost = true
	q.wake()
}

// end lets err be told when everything else has been. Only the first counts.
func (q *eventQueue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
		q.wake()
	}
}

// close is end that drops what has gathered.
func (q *eventQueue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events, q.waiting, q.bytes, q.lost = nil, nil, 0, false
	if q.err == nil {
		q.err = err
	}
	q.wake()
}

// wake wakes those who wait; the caller holds mu.
func (q *eventQueue) wake() {
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// next waits for an event.
func (q *eventQueue) next(ctx context.Context) (backends.FileEvent, error) {
	for {
		event, changed, err := q.take()
		if changed == nil {
			return event, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return backends.FileEvent{}, context.Cause(ctx)
		}
	}
}

// take is the next event or the end; or else what to wait for.
func (q *eventQueue) take() (backends.FileEvent, <-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.events) > 0:
		return q.pop(), nil, nil
	case q.lost:
		q.lost = false
		return backends.FileEvent{Name: ".", Op: backends.WatchOverflow}, nil, nil
	case q.err != nil:
		return backends.FileEvent{}, nil, q.err
	}
	if q.changed == nil {
		q.changed = make(chan struct{})
	}
	return backends.FileEvent{}, q.changed, nil
}

// pop takes the first event off; the caller holds mu.
func (q *eventQueue) pop() backends.FileEvent {
	event := q.events[0]
	q.events[0] = backends.FileEvent{} // the array lives on
	q.events = q.events[1:]
	q.bytes -= len(event.Name)
	u := q.waiting[event.Name]
	switch event.Op {
	case backends.WatchWrite:
		u.written = false
	case backends.WatchChmod:
		u.moded = false
	}
	if u.events--; u.events == 0 {
		delete(q.waiting, event.Name)
	} else {
		q.waiting[event.Name] = u
	}
	return event
}
