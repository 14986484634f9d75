package firewall

import (
	"errors"
	"net/netip"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// inKernel is the set of addresses that names led to.
func inKernel(ipv6 bool) *nftables.Set {
	s := resolvedSet()
	s.Table = &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	s.Name, s.KeyType = setName("resolved", ipv6), nftables.TypeIPAddr
	if ipv6 {
		s.KeyType = nftables.TypeIP6Addr
	}
	return &s
}

// listResolved is what has not expired. Without tables there is nothing.
func listResolved() (map[netip.Addr]struct{}, error) {
	if there, err := exists(); err != nil || !there {
		return nil, err
	}
	conn, err := connect()
	if err != nil {
		return nil, err
	}
	alive := map[netip.Addr]struct{}{}
	for _, v6 := range []bool{false, true} {
		elements, err := conn.GetSetElements(inKernel(v6))
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			if a, ok := netip.AddrFromSlice(e.Key); ok {
				alive[a] = struct{}{}
			}
		}
	}
	return alive, nil
}

// addResolved gives the addresses a whole lifetime. Adding an element that is there leaves its time as it is, in kernels before
// 6.12, and one may expire between a look and a change: so each is added, which makes sure that it is there, deleted, and added again,
// in one transaction, which no packet sees the middle of.
func addResolved(addresses []netip.Addr) error {
	conn, err := connect()
	if err != nil {
		return err
	}
	var families [2][]netip.Addr
	for _, a := range addresses {
		if a.Is6() {
			families[1] = append(families[1], a)
		} else {
			families[0] = append(families[0], a)
		}
	}
	for i, family := range families {
		if len(family) == 0 {
			continue
		}
		set := inKernel(i == 1)
		err := errors.Join(
			conn.SetAddElements(set, timed(family)),
			conn.SetDeleteElements(set, singles(family)),
			conn.SetAddElements(set, timed(family)))
		if err != nil {
			return err
		}
	}
	if err := conn.Flush(); errors.Is(err, unix.ENFILE) {
		return ErrFull
	} else if err != nil {
		return err
	}
	return nil
}
