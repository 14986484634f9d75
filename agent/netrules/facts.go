package netrules

import (
	"net/netip"
	"strings"
)

// Facts are what the machine of the engine says about itself.
type Facts struct {
	// Host is all addresses of that machine. They are refused in any mode, unless a list names the very address; a range does not.
	Host []netip.Addr `json:"host"`
	// Upstreams are the resolvers that containers there are given.
	Upstreams []netip.AddrPort `json:"upstreams"`
}

// Nameservers are those of a resolv.conf that can be reached from other network namespaces.
func Nameservers(conf string) []netip.AddrPort {
	var found []netip.AddrPort
	for line := range strings.Lines(conf) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(fields[1])
		if err != nil || a.IsLoopback() || a.IsUnspecified() || a.Zone() != "" || len(found) == MaxUpstreams {
			continue
		}
		found = append(found, netip.AddrPortFrom(a.Unmap(), 53))
	}
	return found
}
