package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// RefusedError says that a kernel can't be copied as it is: the copy would lack something that it needs. The kernel is as it
// was.
type RefusedError struct {
	Reasons []string `json:"reasons"` // in words
}

func (e *RefusedError) Error() string {
	return "kernel can't be copied: " + strings.Join(e.Reasons, "; ")
}

// Parked is a copy of a kernel that waits to be woken. The caller ends it with its Close.
type Parked struct {
	backends.Parked
	Warnings   []string // what the copy shares with the kernel or lacks, in words
	Generation int      // how many copies of copies the kernel was away from one that was started
}

// Park makes a copy of the kernel as it is now, behind the runs before it. Errors: *RefusedError, backends.ErrUnsupported,
// ErrDead and the like, the cause of ctx. After each but the last two the kernel is as it was.
func (k *Kernel) Park(ctx context.Context) (*Parked, error) {
	l := k.current()
	brancher, ok := l.process.(backends.Brancher)
	if !ok {
		return nil, fmt.Errorf("kernel: copy: %w by this backend", backends.ErrUnsupported)
	}
	p := new(Parked)
	var err error
	p.Parked, err = brancher.Park(ctx, func(ctx context.Context, socket string) (int, error) {
		reply, err := checkpoint(ctx, l.conn, socket)
		if err != nil {
			return 0, err
		}
		p.Warnings, p.Generation = reply.Warnings, reply.Generation
		return reply.PID, nil
	})
	if err != nil {
		return nil, fmt.Errorf("kernel: copy: %w", err)
	}
	return p, nil
}

func checkpoint(ctx context.Context, c *Conn, socket string) (*messaging.CheckpointReply, error) {
	m, err := c.Call(ctx, messaging.Shell, &messaging.CheckpointRequest{Socket: socket})
	if errors.Is(err, ErrNoReply) {
		return nil, fmt.Errorf("%w by this kernel", backends.ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	var reply messaging.CheckpointReply
	switch err := json.Unmarshal(m.Content, &reply); {
	case err != nil:
		return nil, fmt.Errorf("reply: %w", err)
	case len(reply.Reasons) > 0:
		return nil, &RefusedError{Reasons: reply.Reasons}
	case reply.Status != messaging.StatusOK:
		return nil, &ReplyError{Request: "checkpoint_request", ReplyError: reply.ReplyError}
	}
	return &reply, nil
}

// Wake starts a kernel from a copy. in and cfg are what it restarts from, in and by then without its variables.
func Wake(
	ctx context.Context, in backends.Instance, cfg backends.KernelConfig, p *Parked, wake backends.WakeConfig, opts *Options,
) (*Kernel, error) {
	k := &Kernel{in: in, cfg: cfg, opts: opts.withDefaults()}
	wake.Into = in
	l, err := k.startFrom(ctx, func(ctx context.Context) (backends.KernelProcess, error) { return p.Wake(ctx, wake) })
	if err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	k.live = l
	return k, nil
}

// Rollback is Restart from a copy: the variables become those of the copy. When it fails before the copy is ready, the kernel
// lives on as it is.
func (k *Kernel) Rollback(ctx context.Context, p *Parked, wake backends.WakeConfig) error {
	k.change.Lock()
	defer k.change.Unlock()
	l, err := k.startFrom(ctx, func(ctx context.Context) (backends.KernelProcess, error) { return p.Wake(ctx, wake) })
	if err != nil {
		return fmt.Errorf("kernel: rollback: %w", err)
	}
	old := k.current()
	k.replace(l)
	k.discard(ctx, old) // not asked to end: what it would do at its end is the copy's to do now
	return nil
}

// killAfter is how long a process that was discarded is only stopped: its end takes the machine's time, with much memory much of it,
// and somebody waits for the first answer of the one that replaced it.
const killAfter = 50 * time.Millisecond

// discard stops a process, and leaves it to the background to kill it. From then on none of its code runs.
func (k *Kernel) discard(ctx context.Context, old live) {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancel()
	err := old.process.Signal(stopping, backends.Stop)
	if err != nil {
		k.opts.Logger.Warn("stop kernel", "error", err)
	}
	k.ending.Go(func() {
		if err == nil {
			time.Sleep(killAfter)
		}
		k.kill(old.process)
		select {
		case <-old.conn.Done():
		case <-time.After(4 * drainGrace):
		}
		old.stop()
	})
}
