package docker

import (
	"context"
	"errors"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/ds-sandbox/ds-sandbox/backends/docker/guard"
)

// How old a container of nobody known must be to be swept: somebody may look at it.
const (
	keepEnded  = 10 * time.Minute
	keepUnused = time.Hour // made, never started
)

// sweep removes containers that have ended and whose program is dead: those of this user on this machine, by their owner's lock, at
// once; those of others only when they have ended long since. One that runs may be taken over, unless it was a spare; its agent ends by
// itself.
func (b *Backend) sweep(ctx context.Context) {
	list, err := b.engine.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelOwner))})
	if err != nil {
		if ctx.Err() == nil {
			b.config.Logger.Warn("sweep after dead programs", "error", err)
		}
		return
	}
	defer b.sweepHelpers(ctx)
	for _, c := range list {
		if ctx.Err() != nil {
			return
		}
		if owner := c.Labels[labelOwner]; b.orphan(c) || b.spareOfDead(ctx, c) {
			b.config.Logger.Info("remove container of a dead program", "container", c.ID[:12], "sandbox", c.Labels[labelID])
			if err := b.remove(ctx, c.ID); err != nil {
				b.config.Logger.Warn("sweep after dead programs", "error", err)
				continue
			}
			if c.Labels[labelLock] == b.owner.place {
				b.owner.forget(owner)
			}
		}
	}
}

// sweepHelpers removes what kept the network rules of containers that are gone.
func (b *Backend) sweepHelpers(ctx context.Context) {
	if _, err := guard.New(b.engine.api, guard.Options{}).Sweep(ctx); err != nil && ctx.Err() == nil {
		b.config.Logger.Warn("sweep network helpers", "error", err)
	}
}

func (b *Backend) orphan(c container.Summary) bool {
	age := time.Since(time.Unix(c.Created, 0))
	if owner := c.Labels[labelOwner]; owner == "" || owner == b.owner.id || age < 0 {
		return false
	}
	if c.Labels[labelLock] == b.owner.place && b.owner.dead(c.Labels[labelOwner]) {
		return c.State != "running" // a paused agent would never end
	}
	switch c.State {
	case "exited", "dead":
		// Ended when, the list does not say: at the earliest when it was made.
		return age > keepEnded && b.endedSince(c.ID) > keepEnded
	case "created":
		return age > keepUnused
	}
	return false
}

// spareOfDead reports whether a container that runs was a dead program's spare, and still is.
func (b *Backend) spareOfDead(ctx context.Context, c container.Summary) bool {
	if c.State != "running" || c.Labels[labelSpare] == "" || c.Labels[labelLock] != b.owner.place || !b.owner.dead(c.Labels[labelOwner]) {
		return false
	}
	in, err := b.reach(ctx, c)
	if err == nil {
		in.drop() // somebody's
	}
	return errors.Is(err, errSpare)
}

// endedSince is how long ago a container ended; 0 when that can't be told.
func (b *Backend) endedSince(id string) time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	info, err := b.engine.api.ContainerInspect(ctx, id)
	if err != nil || info.State == nil {
		return 0
	}
	ended, err := time.Parse(time.RFC3339Nano, info.State.FinishedAt)
	if err != nil || ended.IsZero() {
		return 0
	}
	return time.Since(ended)
}
