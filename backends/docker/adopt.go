package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// A container lives on when its program ends, until its agent misses a host for Config.Silence. Until then another program
// may take it over: one of the same user on the same machine, for only these can tell that the owner is dead.

// stateKey is where the agent keeps whose the container is: labels can't be changed.
const stateKey = "docker"

// held is what is kept there.
type held struct {
	Owner  string                                   `json:"owner"` // of the lock; empty once it was let go of
	Limits backends.Limits                          `json:"limits"`
	By     map[backends.LimitName]backends.Enforcer `json:"by"`
	Spare  bool                                     `json:"spare,omitempty"` // nobody has asked for it yet
}

// errSpare says that a container was a dead program's spare: nothing in it is anybody's.
var errSpare = errors.New("it was a spare of a program that is dead")

// sign notes in the agent that the container is ours, or with an empty owner that it is nobody's.
func (in *instance) sign(ctx context.Context, owner string, spare bool) error {
	data, err := json.Marshal(held{Owner: owner, Limits: in.limits, By: in.by, Spare: spare})
	if err != nil {
		return err
	}
	return in.client.PutState(ctx, stateKey, data)
}

// Orphans lists the ids of containers whose program is dead or has let go of them.
func (b *Backend) Orphans(ctx context.Context) ([]string, error) {
	list, err := b.running(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, c := range list {
		id := c.Labels[labelID]
		if !validID.MatchString(id) || b.known(id) {
			continue
		}
		in, err := b.reach(ctx, c)
		if err == nil {
			ids = append(ids, id)
			in.drop()
		}
		if err != nil && !errors.Is(err, backends.ErrInUse) && !errors.Is(err, errSpare) {
			b.config.Logger.Debug("look at container", "sandbox", id, "error", err)
		}
	}
	return ids, nil
}

// running lists the containers that may be taken over from here.
func (b *Backend) running(ctx context.Context) ([]container.Summary, error) {
	list, err := b.engine.api.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", labelLock+"="+b.owner.place), filters.Arg("status", "running"),
	)})
	if err != nil {
		return nil, orCause(ctx, err)
	}
	return list, nil
}

func (b *Backend) known(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.instances[id] != nil
}

// Adopt takes over a container whose program is dead or has let go of it. Errors: backends.ErrNotFound, backends.ErrInUse.
func (b *Backend) Adopt(ctx context.Context, id string) (backends.Survivor, error) {
	in, err := b.adopt(ctx, id)
	if errors.Is(err, backends.ErrDestroyed) { // it ended since it was listed
		err = fmt.Errorf("%w: %w", backends.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("docker: adopt %s: %w", id, err)
	}
	return in, nil
}

func (b *Backend) adopt(ctx context.Context, id string) (*instance, error) {
	list, err := b.running(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if c.Labels[labelID] != id || b.known(id) {
			continue
		}
		in, err := b.reach(ctx, c)
		if errors.Is(err, errSpare) {
			break
		}
		if err != nil {
			return nil, err
		}
		in.changing.Lock() // a Close that comes meanwhile waits, and then destroys it
		defer in.changing.Unlock()
		if err = b.claim(in); err == nil {
			if err = in.sign(ctx, b.owner.id, false); err == nil {
				return in, nil
			}
			err = in.explain(ctx, err)
			b.forget(in)
		}
		in.drop()
		return nil, err
	}
	return nil, backends.ErrNotFound
}

// reach opens a connection to the agent of a container that was somebody else's. Error: backends.ErrInUse.
func (b *Backend) reach(ctx context.Context, c container.Summary) (*instance, error) {
	in := &instance{backend: b, id: c.Labels[labelID], container: c.ID}
	var err error
	if in.image, err = b.engine.findImage(ctx, c.ImageID); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bootTime, fmt.Errorf("the agent did not answer within %v", bootTime))
	defer cancel()
	if err = in.connect(ctx); err == nil {
		err = in.inherit(ctx)
	}
	if err == nil {
		return in, nil
	}
	if !errors.Is(err, backends.ErrInUse) && !errors.Is(err, errSpare) {
		err = in.explain(ctx, err)
	}
	in.drop()
	return nil, err
}

// inherit reads whose the container was and what holds its limits.
func (in *instance) inherit(ctx context.Context) error {
	data, err := in.client.GetState(ctx, stateKey)
	if errors.Is(err, backends.ErrNotFound) {
		return fmt.Errorf("%w, or it ended before the sandbox was ready", backends.ErrInUse)
	}
	if err != nil {
		return err
	}
	var h held
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("what its program kept: %w", err)
	}
	switch {
	case h.Owner != "" && !in.backend.owner.dead(h.Owner):
		return backends.ErrInUse
	case h.Spare:
		return errSpare
	}
	in.limits, in.by = h.Limits, h.By
	return in.setUp(ctx, remote.Setup{ID: in.id})
}

// Kernels lists the kernels that live.
func (in *instance) Kernels(ctx context.Context) ([]backends.KernelProcess, error) {
	if err := in.state(); err != nil {
		return nil, err
	}
	kernels, err := in.inner.Kernels(ctx)
	return kernels, in.lost(err)
}

// hostState is the beginning of the keys that are not the backend's own.
const hostState = "host."

// SetState keeps a value with the agent.
func (in *instance) SetState(ctx context.Context, key string, value []byte) error {
	if err := in.state(); err != nil {
		return err
	}
	return in.lost(in.client.PutState(ctx, hostState+key, value))
}

// State is what SetState kept.
func (in *instance) State(ctx context.Context, key string) ([]byte, error) {
	if err := in.state(); err != nil {
		return nil, err
	}
	value, err := in.client.GetState(ctx, hostState+key)
	return value, in.lost(err)
}

// Claim makes a spare somebody's.
func (in *instance) Claim(ctx context.Context) error {
	if err := in.state(); err != nil {
		return err
	}
	return in.lost(in.sign(ctx, in.backend.owner.id, false))
}

// Release lets go of the container and leaves it as it is.
func (in *instance) Release(ctx context.Context) error {
	in.changing.Lock()
	defer in.changing.Unlock()
	if in.destroyed {
		return backends.ErrDestroyed
	}
	if err := in.state(); err != nil {
		return err
	}
	if err := in.sign(ctx, "", false); err != nil {
		return in.explain(ctx, err)
	}
	in.destroyed = true
	in.backend.forget(in)
	in.drop()
	return nil
}

var (
	_ backends.Adopter = (*Backend)(nil)
	_ backends.Claimer = (*instance)(nil)
)
