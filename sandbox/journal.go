package sandbox

import (
	"cmp"
	"context"
	"io"
	"iter"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Journal keeps what happened in a context: every run's code and all that the kernel sent for it, numbered in the order of
// the wire. It is written as messages come, whether or not anybody reads, and never holds back the kernel; its size is
// bounded by Config.JournalBytes. What is over that is dropped: first the oldest outputs, then the oldest runs.
//
// It stays readable when the context is gone. Several goroutines may use it.
type Journal struct {
	budget    int64
	libraries libraries // that came with what is in it, or was

	mu      sync.Mutex // guards what follows; leaf: nothing else is taken under it
	runs    []*journalRun
	drained int // runs before this index have no outputs left
	bytes   int64
	last    int64         // number of the latest entry
	count   int64         // of runs so far
	closed  bool          // the context is gone
	changed chan struct{} // closed at the next change; nil when nobody waits
}

// JournalEntry is one thing that happened. Its Content is what the kernel sent, or a *RunBegan, *InputAnswered, *RunOver,
// *Restarted or *Dropped, which the wire does not have. What threads of a run show after its end stands behind its *RunOver, perhaps
// among the entries of a later run.
type JournalEntry struct {
	Number int64 // from 1, without gaps but for what was dropped
	Run    int64 // the context's runs are counted from 1; 0 of a Dropped, and of a Restarted while nothing ran
	kernel.Event
}

// RunBegan stands where code was sent to the kernel.
type RunBegan struct {
	Code   string
	Silent bool   // see RunOptions
	Tag    string // see RunOptions
}

// InputAnswered stands where the code was given the line it had asked for.
type InputAnswered struct{ Value string } // "" of a password, and of one that ended the input

// RunOver stands at the end of a run.
type RunOver struct {
	Err            error // what kept the code from running to its end, as RunCode returns it; nil when nothing did
	Usage          Usage
	ExecutionCount int             // 0 when the code did not run
	Raised         *ExecutionError // by the code; nil when it raised nothing
}

// Restarted stands where the interpreter was replaced: by a new one, which knows none of the variables (OnRestart), or by a
// copy that was taken before (OnRollback).
type Restarted struct{ Why Occasion }

// Dropped stands for entries that are no longer there.
type Dropped struct{ Entries int64 }

// MsgType is a name of ours; no message of this type is on the wire.
func (*RunBegan) MsgType() string { return "ds_sandbox_run_began" }

// MsgType is a name of ours; no message of this type is on the wire.
func (*InputAnswered) MsgType() string { return "ds_sandbox_input_answered" }

// MsgType is a name of ours; no message of this type is on the wire.
func (*Restarted) MsgType() string { return "ds_sandbox_restarted" }

// MsgType is a name of ours; no message of this type is on the wire.
func (*RunOver) MsgType() string { return "ds_sandbox_run_over" }

// MsgType is a name of ours; no message of this type is on the wire.
func (*Dropped) MsgType() string { return "ds_sandbox_dropped" }

// journalRun is what the journal has of one run.
type journalRun struct {
	number  int64
	began   record
	outputs []record // those that are left
	over    record   // zero while it is under way
	late    bool     // output of runs that were over, while none was under way
}

// record is an entry as it is kept: messages are decoded by those who read them.
type record struct {
	number  int64
	run     int64 // whose it is, when it stands among another's or no run's
	size    int64
	time    time.Time
	content messaging.Content // of entries of ours
	message *messaging.Message
}

// recordOverhead is what an entry costs beside its contents, bytes, about.
const recordOverhead = 768

func newJournal(budget int64) *Journal { return &Journal{budget: budget} }

// Journal is what happened in the context.
func (c *Context) Journal() *Journal { return c.journal }

// begin opens a run; what it says is told by its methods.
func (j *Journal) begin(began *RunBegan) *journalRun {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.count++
	run := &journalRun{number: j.count}
	run.began = j.next(record{size: int64(len(began.Code)), content: began})
	j.runs = append(j.runs, run)
	j.settle()
	return run
}

// answered notes what the run was given to read.
func (j *Journal) answered(run *journalRun, value string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	run.outputs = append(run.outputs, j.next(record{size: int64(len(value)), content: &InputAnswered{Value: value}}))
	j.settle()
}

// restarted notes that the interpreter is another one, in the run under way or else by itself.
func (j *Journal) restarted(why Occasion) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.next(record{content: &Restarted{Why: why}})
	if n := len(j.runs); n > 0 && j.runs[n-1].over.number == 0 {
		j.runs[n-1].outputs = append(j.runs[n-1].outputs, r)
	} else { // it is over with its beginning
		j.runs = append(j.runs, &journalRun{began: r, over: record{number: r.number}})
	}
	j.settle()
}

// add takes a message of the run.
func (j *Journal) add(run *journalRun, m *messaging.Message) {
	j.libraries.hear(m)
	size := sizeOf(m)
	j.mu.Lock()
	defer j.mu.Unlock()
	run.outputs = append(run.outputs, j.next(record{size: size, message: m}))
	j.settle()
}

func sizeOf(m *messaging.Message) int64 {
	size := int64(len(m.Content) + len(m.Metadata))
	for _, b := range m.Buffers {
		size += int64(len(b))
	}
	return size
}

// lateOf takes the output of a run's threads after its end.
func (j *Journal) lateOf(run int64) func(*messaging.Message) {
	return func(m *messaging.Message) {
		switch m.Header.MsgType {
		case "stream", "display_data", "update_display_data", "clear_output":
			j.late(run, m)
		}
	}
}

func (j *Journal) late(run int64, m *messaging.Message) {
	j.libraries.hear(m)
	size := sizeOf(m)
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.next(record{size: size, message: m, run: run})
	var last *journalRun
	if n := len(j.runs); n > 0 {
		last = j.runs[n-1]
	}
	switch {
	case last != nil && last.over.number == 0: // another one is under way
		last.outputs = append(last.outputs, r)
	case last != nil && last.late:
		last.outputs = append(last.outputs, r)
		last.over.number = r.number
	default:
		j.runs = append(j.runs, &journalRun{began: r, over: record{number: r.number}, late: true})
	}
	j.settle()
}

// end closes the run.
func (j *Journal) end(run *journalRun, over *RunOver) {
	j.mu.Lock()
	defer j.mu.Unlock()
	run.over = j.next(record{content: over})
	j.settle()
}

// close says that nothing more will happen, except for the end of a run that is under way.
func (j *Journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.wake()
}

// next numbers an entry and counts it.
func (j *Journal) next(r record) record {
	j.last++
	r.number, r.time = j.last, time.Now()
	r.size += recordOverhead
	j.bytes += r.size
	return r
}

// settle drops what is over the budget and tells readers.
func (j *Journal) settle() {
	for j.bytes > j.budget && j.dropOldest() { //nolint:revive // dropOldest does the work
	}
	j.wake()
}

func (j *Journal) wake() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// dropOldest drops the oldest output, or else the oldest run; never the last run's code.
func (j *Journal) dropOldest() bool {
	for ; j.drained < len(j.runs); j.drained++ {
		run := j.runs[j.drained]
		if len(run.outputs) > 0 {
			j.bytes -= run.outputs[0].size
			run.outputs[0] = record{}
			run.outputs = run.outputs[1:]
			return true
		}
		if j.drained == len(j.runs)-1 {
			break // more may come
		}
	}
	if len(j.runs) < 2 {
		return false
	}
	j.bytes -= j.runs[0].began.size + j.runs[0].over.size
	j.runs[0] = nil
	j.runs = j.runs[1:]
	j.drained = max(0, j.drained-1)
	return true
}

// find returns the first record that is numbered from or more, and its run.
func (j *Journal) find(from int64) (run *journalRun, r record, ok bool) {
	at := sort.Search(len(j.runs), func(i int) bool { return i+1 == len(j.runs) || j.runs[i+1].began.number > from })
	for ; at < len(j.runs); at++ {
		run := j.runs[at]
		if run.began.number >= from {
			return run, run.began, true
		}
		i, _ := slices.BinarySearchFunc(run.outputs, from, func(r record, n int64) int { return int(r.number - n) })
		if i < len(run.outputs) {
			return run, run.outputs[i], true
		}
		if run.over.number >= from && !run.late {
			return run, run.over, true
		}
	}
	return nil, record{}, false
}

// From reads the journal from an entry on, 1 being the first: what there is, and then what comes.
func (j *Journal) From(number int64) *JournalReader {
	return &JournalReader{journal: j, next: max(1, number)}
}

// All gives what the journal has by now, beginning with a *Dropped if some of it is gone.
func (j *Journal) All() iter.Seq[*JournalEntry] {
	return func(yield func(*JournalEntry) bool) {
		j.mu.Lock()
		last := j.last
		j.mu.Unlock()
		r := j.From(1)
		for r.next <= last {
			entry, _ := r.TryNext()
			if entry == nil || !yield(entry) {
				return
			}
		}
	}
}

// JournalReader reads a journal. One that is slower than the context misses what is dropped meanwhile and is told so. One
// goroutine at a time may use it; it needs no closing.
type JournalReader struct {
	journal *Journal
	next    int64 // number of the entry to read
}

// Position is the number of the entry that is read next, if that is not dropped before.
func (r *JournalReader) Position() int64 { return r.next }

// Skip passes over the entry at Position, for who has it from another reader of the same journal.
func (r *JournalReader) Skip() { r.next++ }

// Next returns the next entry, when it has happened; ctx bounds the wait. After the last entry of a context that is gone it
// returns io.EOF.
func (r *JournalReader) Next(ctx context.Context) (*JournalEntry, error) {
	for {
		entry, changed := r.TryNext()
		switch {
		case entry != nil:
			return entry, nil
		case changed == nil:
			return nil, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// TryNext is Next for who waits for other things as well: it returns the next entry, or else what is closed at the next change
// of the journal, or neither after the last entry of a context that is gone.
func (r *JournalReader) TryNext() (*JournalEntry, <-chan struct{}) {
	for {
		run, found, ok, changed := r.look()
		if !ok {
			return nil, changed
		}
		if gap := found.number - r.next; gap > 0 {
			r.next = found.number
			return &JournalEntry{Number: found.number - 1, Event: kernel.Event{Time: found.time, Content: &Dropped{Entries: gap}}}, nil
		}
		r.next = found.number + 1
		if entry := found.entry(cmp.Or(found.run, run.number)); entry != nil {
			return entry, nil
		}
	}
}

// look finds the next record, or what to wait for.
func (r *JournalReader) look() (run *journalRun, found record, ok bool, changed <-chan struct{}) {
	j := r.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if run, found, ok = j.find(r.next); ok {
		return run, found, true, nil
	}
	if n := len(j.runs); j.closed && (n == 0 || j.runs[n-1].over.number > 0) {
		return nil, record{}, false, nil
	}
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return nil, record{}, false, j.changed
}

// entry decodes a record; nil when it can't be read, which the run's own reader reported.
func (r record) entry(run int64) *JournalEntry {
	event := kernel.Event{Time: r.time, Content: r.content, Message: r.message}
	if r.message != nil {
		content, err := r.message.Decode()
		if err != nil {
			return nil
		}
		event.Content = content
		if at := r.message.Header.Time(); !at.IsZero() {
			event.Time = at
		}
	}
	return &JournalEntry{Number: r.number, Run: run, Event: event}
}
