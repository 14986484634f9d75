package gatekeeper

import (
	"errors"
	"net"
	"net/netip"
	"os"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

// Facts are those of the network namespace and the resolv.conf of this process.
func Facts() (netrules.Facts, error) {
	var f netrules.Facts
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return f, err
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() {
			if at, ok := netip.AddrFromSlice(ip.IP); ok {
				f.Host = append(f.Host, at.Unmap())
			}
		}
	}
	conf, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	f.Upstreams = netrules.Nameservers(string(conf))
	return f, nil
}
