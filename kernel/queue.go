package kernel

import "github.com/ds-sandbox/ds-sandbox/messaging"

// messageOverhead is what a queued message costs beside its frames, about.
const messageOverhead = 640

// rank orders what is left out when a queue is full: lower goes first.
type rank int

const (
	rankStream  rank = iota // text
	rankDisplay             // figures, tables, comms
	rankKept                // status, error, input, clear: never left out for the sake of the budget
)

func rankOf(msgType string) rank {
	switch msgType {
	case "stream":
		return rankStream
	case "status", "error", "input_request", "execute_input", "clear_output", "shutdown_reply", "execute_reply":
		return rankKept
	default:
		return rankDisplay
	}
}

// entry is a queued message, or a gap where messages were left out (message nil).
type entry struct {
	message *messaging.Message
	size    int64
	gap     Truncated
}

// queue is a part of a run's backlog in memory, within a budget of bytes. Its owner locks.
type queue struct {
	budget  int64
	bytes   int64
	entries []entry // entries[head:] wait
	head    int
	texts   int   // waiting stream messages
	lost    int64 // bytes left out
}

func (q *queue) empty() bool { return q.head == len(q.entries) }

func (q *queue) full() bool { return q.bytes >= q.budget }

func sizeOf(m *messaging.Message) int64 {
	n := int64(messageOverhead + len(m.Content) + len(m.Metadata))
	for _, b := range m.Buffers {
		n += int64(len(b)) + 24
	}
	return n
}

// shownBytes is how many bytes a reader misses with m: of a stream its text, of others the encoded content.
func shownBytes(m *messaging.Message) int64 {
	if content, err := m.Decode(); err == nil {
		if stream, ok := content.(*messaging.Stream); ok {
			return int64(len(stream.Text))
		}
	}
	return int64(len(m.Content))
}

// push adds m, or counts it as left out. A queue below its budget takes any one message, so
// that a single huge output is not lost to an empty queue.
func (q *queue) push(m *messaging.Message) {
	size := sizeOf(m)
	r := rankOf(m.Header.MsgType)
	limit := q.budget
	switch r {
	case rankStream:
	case rankDisplay:
		if q.bytes >= limit && q.texts > 0 {
			q.evictStreams(q.bytes - limit + 1)
		}
	case rankKept:
		// Kept messages are few and small, unless the kernel is hostile.
		limit *= 2
	}
	if q.bytes >= limit {
		q.leaveOut(shownBytes(m))
		return
	}
	if r == rankStream {
		q.texts++
	}
	q.bytes += size
	q.entries = append(q.entries, entry{message: m, size: size})
}

// leaveOut extends the gap at the end of the queue, or opens one.
func (q *queue) leaveOut(bytes int64) {
	q.lost += bytes
	if n := len(q.entries); n > q.head && q.entries[n-1].message == nil {
		q.entries[n-1].gap.Bytes += bytes
		q.entries[n-1].gap.Messages++
		return
	}
	q.entries = append(q.entries, entry{gap: Truncated{Bytes: bytes, Messages: 1}})
}

// evictStreams turns waiting text into gaps, newest first, until need bytes are free or no text is left.
func (q *queue) evictStreams(need int64) {
	freed := int64(0)
	for i := len(q.entries) - 1; i >= q.head && freed < need; i-- {
		e := &q.entries[i]
		if e.message == nil || rankOf(e.message.Header.MsgType) != rankStream {
			continue
		}
		freed += e.size
		q.texts--
		lost := shownBytes(e.message)
		q.lost += lost
		*e = entry{gap: Truncated{Bytes: lost, Messages: 1}}
	}
	q.bytes -= freed
	q.mergeGaps()
}

// mergeGaps joins neighbouring gaps, so that gaps never outnumber messages by more than one.
func (q *queue) mergeGaps() {
	kept := q.entries[:q.head]
	for _, e := range q.entries[q.head:] {
		if n := len(kept); e.message == nil && n > q.head && kept[n-1].message == nil {
			kept[n-1].gap.Bytes += e.gap.Bytes
			kept[n-1].gap.Messages += e.gap.Messages
			continue
		}
		kept = append(kept, e)
	}
	clear(q.entries[len(kept):])
	q.entries = kept
}

// pop returns the next entry; ok is false when nothing waits.
func (q *queue) pop() (entry, bool) {
	if q.empty() {
		return entry{}, false
	}
	e := q.entries[q.head]
	q.entries[q.head] = entry{}
	q.head++
	q.bytes -= e.size
	if e.message != nil && rankOf(e.message.Header.MsgType) == rankStream {
		q.texts--
	}
	switch {
	case q.head == len(q.entries):
		q.entries, q.head = q.entries[:0], 0
	case q.head > 1024 && q.head*2 > len(q.entries):
		n := copy(q.entries, q.entries[q.head:])
		clear(q.entries[n:])
		q.entries, q.head = q.entries[:n], 0
	}
	if cap(q.entries) > 4096 && len(q.entries) == 0 {
		q.entries = nil
	}
	return e, true
}
