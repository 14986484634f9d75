package agent

import (
	"context"
	"fmt"
	"io"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// room is what one call of ours takes on an instance's disk. The calls keep to the limit themselves: the watchdog would end the
// code for what its user has written. A nil one has no end.
type room struct {
	disk     *disk
	nameless bool // what is written is in no folder until it is complete
	taken    int64
	kept     bool // it was completed
}

// room begins a call. The caller ends it with settle, when it is for a file without a name.
func (d *disk) room(nameless bool) *room {
	if d == nil || d.limit == 0 {
		return nil
	}
	return &room{disk: d, nameless: nameless}
}

// take asks for room. Error: backends.ErrNoSpace with a *backends.LimitError.
func (r *room) take(ctx context.Context, n int64) error {
	if r == nil {
		return nil
	}
	d := r.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recent(ctx)
	if d.wanted()+n > d.limit {
		d.count(ctx) // files may have been removed since
	}
	if wanted := d.wanted() + n; wanted > d.limit {
		return fmt.Errorf("%w: %w", backends.ErrNoSpace, &backends.LimitError{Limit: backends.LimitDisk, Allowed: d.limit, Used: wanted})
	}
	r.taken += n
	if r.nameless {
		d.pending += n
	} else {
		d.spent += n
	}
	return nil
}

// wanted is what is held against the limit with what our calls have written since the count. The caller holds the lock.
func (d *disk) wanted() int64 { return d.charged() + d.spent + d.pending }

// keep says that the file was completed.
func (r *room) keep() {
	if r != nil {
		r.kept = true
	}
}

// settle says that the file without a name has one now, or is gone.
func (r *room) settle() {
	if r == nil || !r.nameless {
		return
	}
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	r.disk.pending -= r.taken
	if r.kept {
		r.disk.spent += r.taken
	}
}

// roomReader asks for room for what it reads.
type roomReader struct {
	room *room
	ctx  context.Context
	r    io.Reader
}

func (r *roomReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		if refused := r.room.take(r.ctx, int64(n)); refused != nil {
			return 0, refused
		}
	}
	return n, err
}
