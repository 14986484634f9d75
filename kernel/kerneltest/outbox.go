package kerneltest

import (
	"context"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// The bytes that may wait in an outbox before who adds more has to wait too.
const (
	outboxLimit = 64 << 20
	floodLimit  = 2 << 20
)

// item is what is to go out on one channel.
type item struct {
	channel messaging.Channel
	frames  [][]byte
	bytes   []byte    // instead of frames: put on the socket as they are
	due     time.Time // not before
	seq     uint64
}

func (i *item) size() int64 {
	n := len(i.bytes)
	for _, f := range i.frames {
		n += len(f)
	}
	return int64(n)
}

// outbox holds what a client has not taken yet. Each channel keeps its order; across channels the order is that
// of adding unless one is delayed.
type outbox struct {
	highWater int // messages of iopub before further ones are dropped; 0 drops none

	mu      sync.Mutex // guards what follows
	queues  map[messaging.Channel][]item
	seq     uint64
	bytes   int64
	err     error // what pop returns once all is taken
	cut     bool  // what waits is thrown away
	changed chan struct{}
}

func newOutbox(highWater int) *outbox {
	return &outbox{highWater: highWater, queues: make(map[messaging.Channel][]item)}
}

// wait returns a channel that is closed by the next change. It is called under the lock.
func (o *outbox) wait() <-chan struct{} {
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.changed
}

// notify wakes everyone who waits. It is called under the lock.
func (o *outbox) notify() {
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// push adds an item. It waits while more than limit bytes are queued, and drops the item after the end.
func (o *outbox) push(i item, limit int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && o.bytes > limit {
		changed := o.wait()
		o.mu.Unlock()
		<-changed
		o.mu.Lock()
	}
	queue := o.queues[i.channel]
	if o.err != nil || i.channel == messaging.IOPub && o.highWater > 0 && len(queue) >= o.highWater {
		return
	}
	if n := len(queue); n > 0 && i.due.Before(queue[n-1].due) {
		i.due = queue[n-1].due // a channel keeps its order when its delay shrinks
	}
	o.seq++
	i.seq = o.seq
	o.bytes += i.size()
	o.queues[i.channel] = append(queue, i)
	o.notify()
}

// pop takes the next item. After the end it returns what is left, then the end's error; when ctx ends, its cause.
func (o *outbox) pop(ctx context.Context) (item, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if o.cut {
			return item{}, o.err
		}
		next, wait, ok := o.next()
		if ok {
			queue := o.queues[next.channel]
			queue[0] = item{} // for the collector
			o.queues[next.channel] = queue[1:]
			o.bytes -= next.size()
			o.notify()
			return next, nil
		}
		if wait < 0 && o.err != nil {
			return item{}, o.err
		}
		changed := o.wait()
		o.mu.Unlock()
		err := pause(ctx, changed, wait)
		o.mu.Lock()
		if err != nil {
			return item{}, err
		}
	}
}

// next finds the item that is due and was added first, or how long the next one still has to wait; negative
// is for ever.
func (o *outbox) next() (first item, wait time.Duration, ok bool) {
	wait = -1
	for _, queue := range o.queues {
		if len(queue) == 0 {
			continue
		}
		head := queue[0]
		if left := time.Until(head.due); !head.due.IsZero() && left > 0 {
			if wait < 0 || left < wait {
				wait = left
			}
			continue
		}
		if !ok || head.seq < first.seq {
			first, ok = head, true
		}
	}
	return first, wait, ok
}

// pause waits for a change, or for a time unless that is negative.
func pause(ctx context.Context, changed <-chan struct{}, wait time.Duration) error {
	var expired <-chan time.Time
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-changed:
	case <-expired:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// end lets pop return err once all is taken; what is pushed from now on is dropped. With cut, what waits is dropped too.
// The first end counts, but a cut may follow it.
func (o *outbox) end(err error, cut bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil || cut && !o.cut {
		o.err = err
	}
	if cut {
		o.cut = true
		clear(o.queues)
		o.bytes = 0
	}
	o.notify()
}

// ended is what end was called with.
func (o *outbox) ended() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
