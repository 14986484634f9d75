package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// A kernel that is forked from another is below that one's keeper, and stays there: nothing moves a process to another
// parent. So a keeper has guests: processes that it did not start and that the host has it watch, signal and end like its
// own. Those apart belong to another instance. They are spared when all else is ended or paused, and when their keeper's own
// instance ends it lives on until they have.

// adopt makes a process below the keeper one that counts as started, as exclusively as start does.
func (k *keeper) adopt(ctx context.Context, pid int, in *Instance) (*process, error) {
	apart := in != k.owner
	k.mu.Lock()
	if pid <= 1 || k.running[pid] != nil {
		k.mu.Unlock()
		return nil, fmt.Errorf("adopt process %d: it is another's", pid)
	}
	adopted := &process{keeper: k, pid: pid, begun: time.Now(), done: make(chan struct{})}
	k.running[pid] = adopted // before its end can be told
	if apart {
		k.apart[pid], adopted.verdict = in, in.judge
	}
	k.mu.Unlock()
	if err := k.markGuest(ctx, pid, apart); err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.running[pid] == adopted {
			delete(k.running, pid)
			close(adopted.done)
			k.leave(pid)
		}
		return nil, err
	}
	return adopted, nil
}

// markGuest tells the keeper of a guest, or that a guest belongs to another instance now.
func (k *keeper) markGuest(ctx context.Context, pid int, apart bool) error {
	return k.answered(k.wire.call(ctx, request{Op: "adopt", PID: pid, Apart: apart}))
}

// leave notes that a process is no guest any more; mu is held.
func (k *keeper) leave(pid int) {
	delete(k.apart, pid)
	if k.abandoned && len(k.apart) == 0 {
		k.abandoned = false
		go k.wire.close()
	}
}

// outlive lets the keeper live for the guests that it has from other instances; false when it has none.
func (k *keeper) outlive() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.abandoned = len(k.apart) > 0 && !k.dead
	return k.abandoned
}

// endGuest ends a guest and all that it started.
func (k *keeper) endGuest(ctx context.Context, pid int) error {
	r, err := k.wire.call(ctx, request{Op: "end", PID: pid})
	if err == nil && r.Left > 0 {
		err = fmt.Errorf("%d processes could not be ended", r.Left)
	}
	if errors.Is(err, errWireClosed) {
		return nil // the keeper's end is theirs
	}
	return k.answered(r, err)
}

// others are the guests of other instances than one.
func (k *keeper) others(in *Instance) []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	var others []int
	for pid, owner := range k.apart {
		if owner != in {
			others = append(others, pid)
		}
	}
	return others
}

// killEverything ends everything below the keeper, and its instance's guests elsewhere.
func (k *keeper) killEverything(ctx context.Context) error {
	return errors.Join(k.killAll(ctx), k.owner.eachGuest(func(p *process) error { return p.keeper.endGuest(ctx, p.pid) }))
}

func (k *keeper) pauseGuest(ctx context.Context, pid int) error {
	return k.answered(k.wire.call(ctx, request{Op: "pause", PID: pid}))
}

func (k *keeper) resumeGuest(ctx context.Context, pid int) error {
	return k.answered(k.wire.call(ctx, request{Op: "resume", PID: pid}))
}

// judge is the verdict on a guest.
func (in *Instance) judge(e ending, status *backends.ExitStatus) {
	in.watch(func(w *watchdog) { w.verdict(e, status) })
}

// guestIDs are the process ids of the guests that live.
func (in *Instance) guestIDs() []int {
	var ids []int
	_ = in.eachGuest(func(p *process) error { ids = append(ids, p.pid); return nil }) // which never fails
	return ids
}

// welcome makes a process that another instance's keeper has one of ours, under our limits.
func (in *Instance) welcome(p *process) error {
	if in.limiter.group != nil {
		if err := in.limiter.group.add(p.pid); err != nil {
			return err
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return backends.ErrDestroyed
	}
	in.guests[p] = true
	return nil
}

// farewell forgets a guest that has become another instance's.
func (in *Instance) farewell(p *process) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.guests, p)
}

// eachGuest calls do for the guests that live.
func (in *Instance) eachGuest(do func(*process) error) error {
	in.mu.Lock()
	guests := make([]*process, 0, len(in.guests))
	for p := range in.guests {
		select {
		case <-p.done:
			delete(in.guests, p)
		default:
			guests = append(guests, p)
		}
	}
	in.mu.Unlock()
	var errs []error
	for _, p := range guests {
		errs = append(errs, do(p))
	}
	return errors.Join(errs...)
}

// endGuests ends them, and what carries our mark: what they left behind may have become their keeper's.
func (in *Instance) endGuests(ctx context.Context, guests map[*process]bool) error {
	if len(guests) == 0 {
		return nil
	}
	var errs []error
	for p := range guests {
		// Each has its time: the dead may wait a second for the copy that is to reap them.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience+exitPatience)
		errs = append(errs, p.keeper.endGuest(ending, p.pid))
		cancel()
	}
	return errors.Join(append(errs, KillMarked(in.place.Mark))...)
}
