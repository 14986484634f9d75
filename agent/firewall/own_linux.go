package firewall

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

// own is what this namespace is on its networks.
type own struct {
	addresses []netip.Addr
	// subnets hold the gateway, which is the host, the other sandboxes, and the broadcast address.
	subnets netrules.Set
}

func ownNetwork() (own, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return own{}, fmt.Errorf("interfaces: %w", err)
	}
	var o own
	var subnets []netrules.Range
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			return own{}, fmt.Errorf("addresses of %s: %w", i.Name, err)
		}
		for _, a := range addresses {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			o.addresses = append(o.addresses, prefix.Addr())
			subnets = append(subnets, netrules.Prefix(prefix))
		}
	}
	o.subnets = netrules.NewSet(subnets...)
	return o, nil
}

// has reports whether a is this namespace itself, or loopback.
func (o own) has(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	for _, mine := range o.addresses {
		if mine == a {
			return true
		}
	}
	return false
}
