package fleet

import "time"

// maxTombstones bounds how many ends are remembered.
const maxTombstones = 10_000

// tombstone is what is remembered of a member that is no more.
type tombstone struct {
	owner  string
	reason EndReason
	time   time.Time
}

// tombstones are the last ends.
type tombstones struct {
	byID  map[string]tombstone
	order []string // ids in a ring, the next to be overwritten at next once it is full
	next  int
}

func (t *tombstones) add(id string, stone tombstone) {
	if t.byID == nil {
		t.byID = make(map[string]tombstone)
	}
	t.byID[id] = stone
	if len(t.order) < maxTombstones {
		t.order = append(t.order, id)
		return
	}
	delete(t.byID, t.order[t.next])
	t.order[t.next] = id
	t.next = (t.next + 1) % maxTombstones
}

func (t *tombstones) find(id string) (tombstone, bool) {
	stone, ok := t.byID[id]
	return stone, ok
}
