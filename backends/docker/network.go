package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/agentbinary"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/guard"
)

// connected reports whether a network is one.
func connected(n backends.Network) bool { return n.Mode != "" && n.Mode != backends.NetworkNone }

// prepare sets what the container is connected to, before it is made.
func (b *Backend) prepare(ctx context.Context, n backends.Network, img *image, host *container.HostConfig) error {
	switch n.Mode {
	case "", backends.NetworkNone:
		if len(n.Allow) > 0 || len(n.Deny) > 0 {
			return errors.New("network none has neither Allow nor Deny: use bridge or allow")
		}
		host.NetworkMode = "none"
		return nil
	case backends.NetworkBridge, backends.NetworkAllow:
	default:
		return fmt.Errorf("network %q is not known: use none, bridge or allow", n.Mode)
	}
	g, err := b.guardian(ctx, img)
	if err != nil {
		return err
	}
	return g.Prepare(ctx, n, host)
}

// guardian is what keeps the rules of networks; it is made when first needed. Its helpers run the agent that instances have.
func (b *Backend) guardian(ctx context.Context, img *image) (*guard.Guard, error) {
	b.guarding.Lock()
	defer b.guarding.Unlock()
	if b.guard != nil {
		return b.guard, nil
	}
	binary, err := agentbinary.Find(b.engine.architecture(), b.config.Agent)
	var data []byte
	if err == nil {
		data = binary.Data
	} else if data, err = b.engine.agentOf(ctx, img); err != nil {
		return nil, fmt.Errorf("network rules are kept by the agent: %w", err)
	}
	b.guard = guard.New(b.engine.api, guard.Options{Agent: data})
	return b.guard, nil
}

// protectNetwork puts the rules of a container that was just started in force. No code runs in it before that.
func (in *instance) protectNetwork(ctx context.Context, n backends.Network) error {
	if !connected(n) {
		return nil
	}
	g, err := in.backend.guardian(ctx, in.image)
	if err != nil {
		return err
	}
	in.guarded = true
	return g.Apply(ctx, in.containerID(), n)
}

// unprotect removes what keeps the rules. The container may be gone.
func (in *instance) unprotect(ctx context.Context) error {
	if !in.guarded {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	g, err := in.backend.guardian(ctx, in.image)
	if err != nil {
		return err
	}
	return g.Remove(ctx, in.containerID())
}

// SetNetwork replaces the rules.
func (in *instance) SetNetwork(ctx context.Context, n backends.Network) error {
	in.changing.Lock()
	defer in.changing.Unlock()
	switch {
	case in.destroyed:
		return backends.ErrDestroyed
	case in.state() != nil:
		return in.state()
	case !in.guarded && !connected(n):
		return nil
	case !in.guarded:
		return fmt.Errorf("docker: network of %s: %w: it was made without, and stays so; make another sandbox", in.id, backends.ErrUnsupported)
	}
	g, err := in.backend.guardian(ctx, in.image)
	if err == nil {
		_, err = g.Change(ctx, in.containerID(), n)
	}
	if err != nil {
		return fmt.Errorf("docker: network of %s: %w", in.id, err)
	}
	return nil
}

var _ backends.Networker = (*instance)(nil)
