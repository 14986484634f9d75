package sandbox

import (
	"context"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// SetNetwork replaces what the sandbox may reach, all of it: see backends.Network. Connections that are no longer admitted are
// cut. A sandbox that was created without a network stays without. Errors: backends.ErrUnsupported by a backend
// without containers, mistakes in n by name, ErrKilled.
func (s *Sandbox) SetNetwork(ctx context.Context, n backends.Network) error {
	networker, ok := s.instance.(backends.Networker)
	if !ok {
		return fmt.Errorf("sandbox: set network: %w by backend %s: its sandboxes share the machine's network", backends.ErrUnsupported, s.engine.choice.Backend)
	}
	if err := networker.SetNetwork(ctx, n); err != nil {
		return fmt.Errorf("sandbox: set network: %w", s.reason(err))
	}
	return nil
}

// Snapshot keeps the sandbox's files, and neither its processes nor its memory, and returns an id that Options.Container.Image
// takes, for as many sandboxes as one likes. It stays until it is removed as an image. Errors: backends.ErrUnsupported by a
// backend without containers, ErrKilled.
func (s *Sandbox) Snapshot(ctx context.Context) (id string, err error) {
	snapshotter, ok := s.instance.(backends.Snapshotter)
	if !ok {
		return "", fmt.Errorf("sandbox: snapshot: %w by backend %s", backends.ErrUnsupported, s.engine.choice.Backend)
	}
	if id, err = snapshotter.Snapshot(ctx); err != nil {
		return "", fmt.Errorf("sandbox: snapshot: %w", s.reason(err))
	}
	return id, nil
}
