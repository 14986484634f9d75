package kernel

import "github.com/ds-sandbox/ds-sandbox/messaging"

// backlog holds the events of one run until they are read: the first in memory, those after them on disk, and what does not fit
// there in memory again, where a budget says what is left out. Its owner locks.
type backlog struct {
	front queue
	disk  spill
	back  queue
}

func newBacklog(opts *Options) backlog {
	return backlog{front: queue{budget: opts.QueueBytes}, disk: spill{spool: opts.Spool}, back: queue{budget: opts.QueueBytes}}
}

// push adds m, or counts it as left out.
func (b *backlog) push(m *messaging.Message) {
	if b.back.empty() && (b.disk.messages > 0 || b.front.full()) && b.disk.push(m) {
		return
	}
	b.last().push(m)
}

// last is the part in memory at whose end the backlog ends.
func (b *backlog) last() *queue {
	if b.disk.messages > 0 || !b.back.empty() {
		return &b.back
	}
	return &b.front
}

// leaveOut counts what is left out at the end.
func (b *backlog) leaveOut(bytes int64) { b.last().leaveOut(bytes) }

// idleLost ends the backlog of a run whose idle never came.
func (b *backlog) idleLost() {
	last := b.last()
	last.entries = append(last.entries, entry{gap: Truncated{IdleLost: true}})
}

// pop returns the next entry; ok is false when nothing waits.
func (b *backlog) pop() (entry, bool) {
	if e, ok := b.front.pop(); ok {
		return e, true
	}
	if b.disk.messages > 0 {
		e := b.disk.pop()
		b.front.lost += e.gap.Bytes
		return e, true
	}
	return b.back.pop()
}

// lost is how many bytes were left out.
func (b *backlog) lost() int64 { return b.front.lost + b.back.lost }

// drop forgets what waits.
func (b *backlog) drop() {
	b.disk.close()
	b.front, b.back = queue{lost: b.lost()}, queue{}
}
