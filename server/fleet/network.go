package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// everything are ranges that leave nothing of the internet.
var everything = []string{"0.0.0.0/0", "::/0"}

// rules are what a backend makes of n. policy is what the daemon gives sandboxes: where that is none, there is nothing to reach, and
// so nothing that a list could admit.
func (n *Network) rules(policy backends.NetworkMode) (backends.Network, error) {
	if n == nil {
		return backends.Network{}, nil
	}
	if policy == backends.NetworkNone {
		if len(n.Allow) > 0 {
			return backends.Network{}, specErrorf("network",
				"this daemon gives sandboxes no network, so nothing can be allowed: start it with --network bridge")
		}
		return backends.Network{}, nil
	}
	rules := backends.Network{Mode: policy, Allow: slices.Clone(n.Allow)}
	closed := n.NoInternet
	for _, entry := range n.Deny {
		if slices.Contains(everything, entry) {
			closed = true
			continue
		}
		rules.Deny = append(rules.Deny, entry)
	}
	if closed {
		rules.Mode = backends.NetworkAllow
	}
	return rules, nil
}

// demands reports whether n asks for what only rules can give.
func (n *Network) demands() bool {
	return n != nil && (n.NoInternet || len(n.Allow)+len(n.Deny) > 0)
}

// containerNetwork is what a sandbox is created with. Where sandboxes are no containers their code has the machine's network, which no
// rule of ours can close.
func (f *Fleet) containerNetwork(n *Network) (backends.Network, error) {
	if f.engine.Choice().Backend != "docker" {
		if n.demands() {
			return backends.Network{}, fmt.Errorf("network: %w: rules hold in containers only; use docker", backends.ErrUnsupported)
		}
		return backends.Network{}, nil
	}
	return n.rules(f.policy())
}

// policy is the network that sandboxes in containers get.
func (f *Fleet) policy() backends.NetworkMode {
	return cmp.Or(f.engine.Config().Network, backends.NetworkNone)
}

// SetNetwork replaces the whole of what the member's network was; nil is the daemon's. Errors: backends.ErrUnsupported, mistakes by name.
func (m *Member) SetNetwork(ctx context.Context, n *Network) error {
	if err := n.check(); err != nil {
		return err
	}
	n = n.clone()
	rules, err := m.fleet.containerNetwork(n)
	if err != nil {
		return err
	}
	if f := m.fleet; f.engine.Choice().Backend == "docker" && f.policy() != backends.NetworkNone {
		rules.Mode = cmp.Or(rules.Mode, f.policy())
		if err := m.sandbox.SetNetwork(ctx, rules); err != nil {
			return m.reason(err)
		}
	}
	m.mu.Lock()
	m.spec.Network = n
	m.mu.Unlock()
	m.Log("info", "network changed", nil)
	return nil
}
