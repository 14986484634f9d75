package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// network sets what the container is connected to, as it is made. Rules come with guard.
func (s *settings) network(n backends.Network) error {
	switch n.Mode {
	case "", backends.NetworkNone:
		if len(n.Allow) > 0 || len(n.Deny) > 0 {
			return errors.New("network none has neither Allow nor Deny: use bridge or allow")
		}
		s.host.NetworkMode = "none"
		return nil
	case backends.NetworkBridge, backends.NetworkAllow:
		return fmt.Errorf("network %q: %w: this version has %q alone", n.Mode, backends.ErrUnsupported, backends.NetworkNone)
	}
	return fmt.Errorf("network %q is not known: use %s, %s or %s", n.Mode, backends.NetworkNone, backends.NetworkBridge, backends.NetworkAllow)
}

// guard sets the rules of a container that was just started, before any code runs in it.
func (in *instance) guard(context.Context, backends.Network) error { return nil }
