package docker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// watch hears from the engine what happens to our containers, for as long as the backend lives. After a break, as when the engine is
// started anew, each container is looked at.
func (b *Backend) watch(ctx context.Context) {
	since := time.Now()
	for pause := time.Duration(0); ctx.Err() == nil; pause = min(2*pause+50*time.Millisecond, 5*time.Second) {
		begun := time.Now()
		err := b.follow(ctx, since)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > time.Minute {
			pause = 0
		}
		b.config.Logger.Debug("the engine's events broke off", "error", err)
		since = begun
		for _, in := range b.live() {
			in.look(ctx)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (b *Backend) follow(ctx context.Context, since time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, errs := b.engine.api.Events(ctx, events.ListOptions{
		Since: strconv.FormatInt(since.Unix(), 10),
		Filters: filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)), filters.Arg("label", labelOwner+"="+b.owner.id),
			filters.Arg("event", string(events.ActionDie)), filters.Arg("event", string(events.ActionDestroy)),
			filters.Arg("event", string(events.ActionPause)), filters.Arg("event", string(events.ActionUnPause))),
	})
	for {
		select {
		case m := <-messages:
			if in := b.byContainer(m.Actor.ID); in != nil {
				in.look(ctx)
			}
		case err := <-errs:
			return err
		}
	}
}

func (b *Backend) byContainer(id string) *instance {
	for _, in := range b.live() {
		if in.containerID() == id {
			return in
		}
	}
	return nil
}

// end is how a container ended, or what else keeps it from working.
type end struct {
	err   error                // what to tell of calls
	limit *backends.LimitError // that ended it; nil when none did
}

// lookTime bounds the look at a container.
const lookTime = 10 * time.Second

// inspect tells what is wrong with a container; nil when it runs. The error is one of asking.
func (b *Backend) inspect(ctx context.Context, id string, limits backends.Limits) (wrong *end, paused bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTime, errors.New("the engine does not answer"))
	defer cancel()
	info, err := b.engine.api.ContainerInspect(ctx, id)
	if gone(err) {
		return &end{err: errRemoved}, false, nil
	}
	if err != nil {
		return nil, false, orCause(ctx, err)
	}
	wrong, paused = judge(info.State, limits)
	return wrong, paused, nil
}

func judge(s *container.State, limits backends.Limits) (*end, bool) {
	switch {
	case s == nil || s.Running && !s.Restarting && !s.Dead:
		return nil, s != nil && s.Paused
	case s.Status == "created":
		return nil, false
	case s.OOMKilled:
		limit := &backends.LimitError{Limit: backends.LimitMemory, Allowed: limits.Memory, Note: "the container as a whole ended"}
		return &end{err: fmt.Errorf("%w: %w", errEnded, limit), limit: limit}, false
	}
	return &end{err: &EndedError{Code: s.ExitCode, Detail: s.Error}}, false
}

// busy reports whether the engine is at it already.
func busy(err error) bool { return errdefs.IsConflict(err) }
