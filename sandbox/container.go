package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"reflect"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// container is what the configuration says of sandboxes in containers.
func (c *Config) container() backends.Container {
	return backends.Container{
		Image: c.Image, Profile: c.Profile, Runtime: c.Runtime, Network: backends.Network{Mode: c.Network},
	}
}

// containerFor is what a sandbox gets: what its options say and, for what they leave out, the configuration. That is of containers
// only, so other backends never see it.
func (e *Engine) containerFor(asked backends.Container) backends.Container {
	if e.choice.Backend != "docker" {
		return asked
	}
	defaults := e.config.container()
	asked.Image, asked.Profile = cmp.Or(asked.Image, defaults.Image), cmp.Or(asked.Profile, defaults.Profile, backends.ProfileHardened)
	asked.Runtime = cmp.Or(asked.Runtime, defaults.Runtime)
	if reflect.ValueOf(asked.Network).IsZero() {
		asked.Network = defaults.Network
	}
	asked.Network.Mode = cmp.Or(asked.Network.Mode, backends.NetworkNone)
	return asked
}

// usualContainer reports whether the options ask for what every sandbox gets that asks for nothing.
func (e *Engine) usualContainer(asked backends.Container) bool {
	return asked.IsZero() || reflect.DeepEqual(e.containerFor(asked), e.containerFor(backends.Container{}))
}

// Snapshot keeps the sandbox's files, and neither variables nor processes, under an id that Options.Container.Image takes.
// `ds-sandbox image list` shows it and `image rm` removes it. Errors: backends.ErrUnsupported, ErrKilled.
func (s *Sandbox) Snapshot(ctx context.Context) (id string, err error) {
	snapshotter, ok := s.instance.(backends.Snapshotter)
	if !ok {
		return "", fmt.Errorf("sandbox: snapshot: %w: backend %s keeps none; use docker", backends.ErrUnsupported, s.engine.choice.Backend)
	}
	if err := context.Cause(s.life); err != nil {
		return "", fmt.Errorf("sandbox: snapshot: %w", err)
	}
	if id, err = snapshotter.Snapshot(ctx); err != nil {
		return "", fmt.Errorf("sandbox: snapshot: %w", s.reason(err))
	}
	return id, nil
}

// RemoveSnapshot removes what Snapshot kept. One that sandboxes are made from is an error. Errors: backends.ErrUnsupported, ErrNotFound.
func (e *Engine) RemoveSnapshot(ctx context.Context, id string) error {
	remover, ok := e.backend.(backends.SnapshotRemover)
	if !ok {
		return fmt.Errorf("sandbox: remove snapshot: %w: backend %s keeps none", backends.ErrUnsupported, e.choice.Backend)
	}
	if err := remover.RemoveSnapshot(ctx, id); err != nil {
		return fmt.Errorf("sandbox: remove snapshot: %w", err)
	}
	return nil
}

// SetNetwork changes what the sandbox may reach. One that was made without network stays so. Errors: backends.ErrUnsupported,
// mistakes in n by name, ErrKilled.
func (s *Sandbox) SetNetwork(ctx context.Context, n backends.Network) error {
	networker, ok := s.instance.(backends.Networker)
	if !ok {
		return fmt.Errorf("sandbox: set network: %w: backend %s has no rules; use docker", backends.ErrUnsupported, s.engine.choice.Backend)
	}
	if err := context.Cause(s.life); err != nil {
		return fmt.Errorf("sandbox: set network: %w", err)
	}
	if err := networker.SetNetwork(ctx, n); err != nil {
		return fmt.Errorf("sandbox: set network: %w", s.reason(err))
	}
	s.mu.Lock()
	s.container.Network = n
	s.mu.Unlock()
	return nil
}

// Container is what the sandbox has that only containers have.
func (s *Sandbox) Container() backends.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.container
}
