package backends

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Dialer is an Instance whose ports can be reached from outside. It is optional.
type Dialer interface {
	// DialContext connects to a port on which code of the instance listens, on a loopback address or on all addresses; see OwnPort for
	// network and address. Nothing else is ever reached, also where the instance shares the network of its machine. ctx bounds the
	// connecting only. The caller closes the connection; the end of the instance ends it too.
	// Errors: ErrNotListening, ErrPaused, ErrDestroyed, ErrUnsupported.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// ErrNotListening says that no process of an instance listens on a port.
var ErrNotListening = errors.New("nothing listens on the port: start a server in the sandbox, on 127.0.0.1 or 0.0.0.0")

// Loopback are the addresses on which a Dialer looks for a port, in this order.
var Loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// OwnPort is the port that the arguments of Dialer.DialContext name: network is "tcp", and address "localhost:8080", the same with a
// loopback address, or ":8080".
func OwnPort(network, address string) (int, error) {
	if network != "tcp" {
		return 0, fmt.Errorf("dial: network %q: %w: use \"tcp\"", network, ErrUnsupported)
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("dial: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("dial: port %.20q: use 1 to 65535", text)
	}
	if host == "" || host == "localhost" {
		return port, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return port, nil
	}
	return 0, fmt.Errorf("dial: host %.100q: only ports of the sandbox itself are reached: use localhost", host)
}
