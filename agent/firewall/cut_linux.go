package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	diagRequestSize  = 56 // struct inet_diag_req_v2
	diagIDSize       = 48 // struct inet_diag_sockid
	// diagStates leaves out TIME_WAIT (6), CLOSE (7) and LISTEN (10), which have no other end to be cut from. A connected UDP socket
	// is ESTABLISHED.
	diagStates = 0xfff &^ (1<<6 | 1<<7 | 1<<10)
)

// cutConnections ends sockets whose other end is not admitted, so that a program that only reads hears of it too. The rules stop their
// packets in any case: a kernel that can't end sockets (no INET_DIAG_DESTROY) is no error.
func cutConnections(admitted func(netip.AddrPort) bool) (cut int, err error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("rules are in force, but connections are not ended: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with a socket that was read
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		for _, protocol := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			n, err := cutOf(conn, family, protocol, admitted)
			cut += n
			if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
				continue
			}
			if err != nil {
				return cut, fmt.Errorf("rules are in force, but not all connections are ended: %w", err)
			}
		}
	}
	return cut, nil
}

func cutOf(conn *netlink.Conn, family, protocol byte, admitted func(netip.AddrPort) bool) (cut int, err error) {
	request := make([]byte, diagRequestSize)
	request[0], request[1] = family, protocol
	binary.NativeEndian.PutUint32(request[4:], diagStates)
	answers, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump}, Data: request,
	})
	if err != nil {
		return 0, err
	}
	for _, m := range answers {
		if len(m.Data) < 4+diagIDSize {
			continue
		}
		id := m.Data[4 : 4+diagIDSize]
		remote := remoteOf(m.Data[0], id)
		if remote.Addr().IsUnspecified() || admitted(remote) {
			continue
		}
		end := make([]byte, diagRequestSize)
		end[0], end[1] = family, protocol
		binary.NativeEndian.PutUint32(end[4:], diagStates)
		copy(end[8:], id)
		_, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: sockDestroy, Flags: netlink.Request | netlink.Acknowledge}, Data: end,
		})
		switch {
		case err == nil:
			cut++
		case !errors.Is(err, unix.ENOENT): // closed meanwhile
			return cut, err
		}
	}
	return cut, nil
}

// remoteOf reads the other end of an inet_diag_sockid: sport, dport, src[16], dst[16], interface, cookie.
func remoteOf(family byte, id []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(id[2:])
	if family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(id[20:24])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(id[20:36])).Unmap(), port)
}
