package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// DialContext connects to a port on which code of the sandbox listens: network is "tcp", address "localhost:8080". Nothing outside of the
// sandbox is ever reached through it. It serves as the dialler of an http.Transport. ctx bounds the connecting only; the
// caller closes the connection, and reading ends with ErrKilled should the sandbox end before. Errors: backends.ErrNotListening,
// backends.ErrUnsupported, ErrPaused, ErrKilled.
func (s *Sandbox) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer, ok := s.instance.(backends.Dialer)
	if !ok {
		return nil, fmt.Errorf("sandbox: dial: ports: %w", backends.ErrUnsupported)
	}
	if err := s.awake(); err != nil {
		return nil, fmt.Errorf("sandbox: dial: %w", err)
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("sandbox: dial %s: %w", address, s.reason(err))
	}
	p := &port{Conn: conn, life: s.life}
	p.stop = context.AfterFunc(s.life, func() { _ = conn.Close() })
	return p, nil
}

// port is a connection to a port of a sandbox.
type port struct {
	net.Conn
	life context.Context // the sandbox's
	stop func() bool
}

// Read tells the sandbox's end from the server's own closing, which looks the same on the wire.
func (p *port) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if err != nil && p.life.Err() != nil && (errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)) {
		err = context.Cause(p.life)
	}
	return n, err
}

// Close closes the connection.
func (p *port) Close() error {
	p.stop()
	return p.Conn.Close()
}
