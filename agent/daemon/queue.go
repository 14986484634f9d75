package daemon

import (
	"bytes"
	"encoding/json"
	"sort"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// queue keeps what a kernel said until the host has acknowledged it. It never holds the kernel's sockets up for what may be left
// out: over its budget the oldest texts go first, then displays and results; what a run can't do without stays, and for that alone,
// when twice the budget is full of it, the kernel waits.
type queue struct {
	budget int64

	mu      sync.Mutex // guards what follows
	list    []entry    // by number; what was left out is in it as gaps
	next    uint64     // number of the next message
	bytes   int64      // of messages in list
	gaps    int        // in list
	sending uint64     // the message that is on its way, which is not left out, and its size, which does not count
	afoot   int64
	swept   [2]uint64 // below these numbers nothing is left of each class that may go
	news    chan struct{}
	room    chan struct{}
	closed  bool
}

// entry is a message, or a gap.
type entry struct {
	number  uint64
	count   uint64 // messages: 1, or those of the gap
	channel messaging.Channel
	frames  [][]byte // nil in a gap
	size    int64
}

func (e *entry) last() uint64 { return e.number + e.count - 1 }

// class says when a message may be left out.
type class int

const (
	texts    class = iota // first
	displays              // then
	needed                // never
)

func newQueue(budget int64) *queue { return &queue{budget: budget, next: 1} }

// push adds a message.
func (q *queue) push(channel messaging.Channel, frames [][]byte) {
	size := int64(64)
	for _, f := range frames {
		size += int64(len(f)) + 32
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.held() > q.budget {
		// Of the newest message nothing is left out before it had its chance: it alone may be larger than the budget.
		if q.thin() || q.held() <= 2*q.budget || q.closed {
			break
		}
		q.wait(&q.room)
	}
	if q.closed {
		return
	}
	q.list = append(q.list, entry{number: q.next, count: 1, channel: channel, frames: frames, size: size})
	q.next++
	q.bytes += size
	rouse(&q.news)
}

// skip notes a message that was left out before it came here.
func (q *queue) skip(_ messaging.Channel, skipped *zmtp.SkippedError) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.list = append(q.list, entry{number: q.next, count: 1, size: skipped.Size})
	q.next++
	q.gaps++
	rouse(&q.news)
}

// held are the bytes that count.
func (q *queue) held() int64 { return q.bytes - q.afoot }

// wait waits for a signal without the lock.
func (q *queue) wait(c *chan struct{}) {
	waiting := attend(c)
	q.mu.Unlock()
	<-waiting
	q.mu.Lock()
}

// attend returns a channel that rouse closes; rouse wakes all who attend. Both under the lock.
func attend(c *chan struct{}) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{})
	}
	return *c
}

func rouse(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// thin leaves messages out until the budget is kept, and reports whether it is.
func (q *queue) thin() bool {
	for _, which := range []class{texts, displays} {
		i := q.find(q.swept[which])
		for ; i < len(q.list) && q.held() > q.budget; i++ {
			e := &q.list[i]
			if e.frames != nil && e.number != q.sending && classOf(e.channel, e.frames) == which {
				q.bytes -= e.size
				q.gaps++
				e.frames = nil
			}
			if e.number != q.sending {
				q.swept[which] = max(q.swept[which], e.last()+1)
			}
		}
	}
	if q.gaps > 1024 && q.gaps > len(q.list)/2 {
		q.merge()
	}
	return q.held() <= q.budget
}

// merge makes one of gaps that follow one another.
func (q *queue) merge() {
	merged := make([]entry, 0, len(q.list)-q.gaps+1)
	q.gaps = 0
	for _, e := range q.list {
		if n := len(merged) - 1; e.frames == nil && n >= 0 && merged[n].frames == nil {
			merged[n].count += e.count
			merged[n].size += e.size
			continue
		}
		if e.frames == nil {
			q.gaps++
		}
		merged = append(merged, e)
	}
	q.list = merged
}

// find is the index of the entry that holds a number, or of the first after it.
func (q *queue) find(number uint64) int {
	return sort.Search(len(q.list), func(i int) bool { return q.list[i].last() >= number })
}

// ack forgets everything up to a number.
func (q *queue) ack(number uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.find(number + 1)
	if number+1 == 0 {
		n = len(q.list)
	}
	for i := range n {
		if q.list[i].frames == nil {
			q.gaps--
		} else {
			q.bytes -= q.list[i].size
		}
		if q.list[i].number == q.sending {
			q.sending, q.afoot = 0, 0
		}
		q.list[i].frames = nil
	}
	if q.list = q.list[n:]; len(q.list) == 0 {
		q.list = nil
	}
	rouse(&q.room)
}

// first is the number of what the host is told first that asks from this number on.
func (q *queue) first(from uint64) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.find(from); i < len(q.list) {
		return max(from, q.list[i].number)
	}
	return q.next
}

// batch returns messages from a number on, as many as fit in about size bytes, or one gap; when there are none it returns a
// channel that tells of some, or ended.
func (q *queue) batch(from uint64, size int64) (batch []entry, more <-chan struct{}, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sending, q.afoot = 0, 0
	for i := q.find(from); i < len(q.list); i++ {
		e := q.list[i]
		if e.frames == nil {
			if len(batch) == 0 {
				if e.number < from { // two gaps have become one since the first was told
					e.count -= from - e.number
					e.number = from
				}
				batch = append(batch, e)
			}
			break
		}
		if len(batch) > 0 && e.size > size {
			break
		}
		if len(batch) == 0 {
			q.sending, q.afoot = e.number, e.size // a large one takes long
		}
		size -= e.size
		batch = append(batch, e)
	}
	if len(batch) > 0 || q.closed {
		return batch, nil, len(batch) == 0
	}
	return nil, attend(&q.news), false
}

// idle says that nothing is on its way any more.
func (q *queue) idle() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sending, q.afoot = 0, 0
}

// close says that nothing more is to come. What is there stays.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	rouse(&q.news)
	rouse(&q.room)
}

// forget drops everything, for good.
func (q *queue) forget() {
	q.close()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list, q.bytes, q.gaps, q.sending, q.afoot = nil, 0, 0, 0, 0
}

var delimiter = []byte("<IDS|MSG>")

// classOf looks at the type of a message, the only thing that the agent reads in one.
func classOf(channel messaging.Channel, frames [][]byte) class {
	if channel != messaging.IOPub {
		return needed
	}
	for i, frame := range frames {
		if !bytes.Equal(frame, delimiter) || i+2 >= len(frames) {
			continue
		}
		var header struct {
			MsgType string `json:"msg_type"`
		}
		if json.Unmarshal(frames[i+2], &header) != nil {
			break
		}
		switch header.MsgType {
		case "stream":
			return texts
		case "status", "error", "execute_input", "shutdown_reply", "iopub_welcome":
			return needed
		}
		return displays
	}
	return displays // nobody will understand it
}
