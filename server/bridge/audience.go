package bridge

import (
	"encoding/json"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// keptEvents bounds the encoded events that one audience keeps, bytes. Viewers that keep up are within the last few.
const keptEvents = 4 << 20

// audience is the viewers of one context. An event is decoded and encoded once for all who read it about the same time: a thousand
// viewers cost a thousand writes, not a thousand encodings.
type audience struct {
	viewers int // guarded by the handler's lock

	mu    sync.Mutex         // guards what follows
	alone bool               // then nothing is kept
	kept  map[int64]*encoded // by number
	order []int64            // in which they came
	bytes int
}

// encoded is an entry of the journal as it is sent; data is nil when viewers have no use for it.
type encoded struct {
	number int64
	data   []byte
}

// entries is what an audience reads: a *sandbox.JournalReader.
type entries interface {
	Position() int64
	Skip()
	TryNext() (*sandbox.JournalEntry, <-chan struct{})
}

// join adds a viewer to the audience of a context. leave must be called at its end.
func (h *Handler) join(c *sandbox.Context) (a *audience, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a = h.audiences[c]; a == nil {
		a = &audience{}
		h.audiences[c] = a
	}
	a.viewers++
	a.setAlone(a.viewers == 1)
	return a, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		a.viewers--
		a.setAlone(a.viewers == 1)
		if a.viewers == 0 {
			delete(h.audiences, c)
		}
	}
}

func (a *audience) setAlone(alone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.alone = alone; alone {
		a.kept, a.order, a.bytes = nil, nil, 0
	}
}

// next is JournalReader.TryNext with an encoded entry.
func (a *audience) next(r entries) (*encoded, <-chan struct{}, error) {
	if e := a.look(r.Position()); e != nil {
		r.Skip()
		return e, nil, nil
	}
	entry, changed := r.TryNext()
	if entry == nil {
		return nil, changed, nil
	}
	e := &encoded{number: entry.Number}
	if told := eventOf(entry); told != nil {
		var err error
		if e.data, err = json.Marshal(told); err != nil {
			return nil, nil, err
		}
	}
	if _, gap := entry.Content.(*sandbox.Dropped); !gap { // what a reader has missed is its own affair
		a.keep(e)
	}
	return e, nil, nil
}

func (a *audience) look(number int64) *encoded {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.kept[number]
}

// keep keeps an event for the others, and gives up the oldest for it.
func (a *audience) keep(e *encoded) {
	const overhead = 128 // of one that is kept, about
	size := func(e *encoded) int { return len(e.data) + overhead }
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.alone || size(e) > keptEvents || a.kept[e.number] != nil {
		return
	}
	if a.kept == nil {
		a.kept = make(map[int64]*encoded)
	}
	a.kept[e.number] = e
	a.order = append(a.order, e.number)
	for a.bytes += size(e); a.bytes > keptEvents; a.order = a.order[1:] {
		a.bytes -= size(a.kept[a.order[0]])
		delete(a.kept, a.order[0])
	}
}
