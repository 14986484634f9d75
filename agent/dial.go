package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

var _ backends.Dialer = (*Instance)(nil)

// DialContext connects to a port on which code of the instance listens.
func (in *Instance) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	port, err := backends.OwnPort(network, address)
	if err != nil {
		return nil, err
	}
	k, err := in.knownKeeper()
	switch {
	case err != nil:
		return nil, err
	case in.isPaused(): // its sockets would accept, and nobody answer
		return nil, backends.ErrPaused
	case k == nil:
		return nil, backends.ErrNotListening
	}
	for _, ip := range backends.Loopback {
		conn, err := in.dialOwn(ctx, k, netip.AddrPortFrom(ip, uint16(port)))
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, backends.ErrNotListening) {
			return nil, err
		}
	}
	return nil, backends.ErrNotListening
}

// dialOwn connects to an address if it is the instance's. Where others use the network too, it is so when a socket listens there
// that a process of the instance holds, and no other could have been connected to. The same socket has to be there afterwards: it
// can't have been away meanwhile, for a port that somebody else listens on can't be listened on again.
func (in *Instance) dialOwn(ctx context.Context, k *keeper, to netip.AddrPort) (net.Conn, error) {
	if in.place.OwnNetwork {
		return dialLoopback(ctx, to)
	}
	before, err := in.listeners(k, to)
	if err != nil {
		return nil, err
	}
	conn, err := dialLoopback(ctx, to)
	if err != nil {
		return nil, err
	}
	after, err := in.listeners(k, to)
	if err == nil && after != before {
		err = fmt.Errorf("%w any more", backends.ErrNotListening)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func dialLoopback(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT),
		errors.Is(err, syscall.ENETUNREACH): // the last ones without IPv6
		return nil, backends.ErrNotListening
	}
	return nil, fmt.Errorf("agent: %w", err)
}
