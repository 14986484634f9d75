package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// session is one connection to the agent, as long as it holds.
type session struct {
	conn   *watchedConn
	client *http2.ClientConn
}

// transport makes HTTP/2 connections; it holds none itself.
var transport = &http2.Transport{
	AllowHTTP: true, DisableCompression: true, MaxHeaderListSize: agentpb.MaxHeaders, MaxReadFrameSize: 1 << 20,
}

// newSession begins HTTP/2 on conn, which it owns.
func newSession(ctx context.Context, conn net.Conn) (*session, error) {
	watched := &watchedConn{Conn: conn, broken: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = watched.Close() })
	client, err := transport.NewClientConn(watched)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = watched.Close()
		return nil, err
	}
	return &session{conn: watched, client: client}, nil
}

// Do sends a request.
func (s *session) Do(r *http.Request) (*http.Response, error) { return s.client.RoundTrip(r) }

// over reports whether nothing more can be sent.
func (s *session) over() bool {
	select {
	case <-s.conn.broken:
		return true
	default:
	}
	if state := s.client.State(); state.Closed || state.Closing {
		s.end(errors.New("HTTP/2 has ended it"))
		return true
	}
	return false
}

// lostWithin reports whether the connection breaks within a moment; a call that failed for it may hear so a little earlier.
func (s *session) lostWithin(moment time.Duration) bool {
	if s.over() {
		return true
	}
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-s.conn.broken:
		return true
	case <-timer.C:
		return s.over()
	}
}

// end closes the connection for a reason; all calls on it fail.
func (s *session) end(reason error) {
	s.conn.breakOff(reason)
	_ = s.client.Close()
}

// cut is the error of a transfer that the connection's end has cut off. Once it has ended.
func (s *session) cut() error { return fmt.Errorf("%w (%w)", backends.ErrCut, s.conn.reason) }

// watchedConn tells when its connection is broken.
type watchedConn struct {
	net.Conn
	once   sync.Once
	broken chan struct{} // closed when it is, and reason and err are set
	reason error
	err    error // of Close
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.breakOff(fmt.Errorf("read: %w", short2(err)))
	}
	return n, err
}

func (c *watchedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.breakOff(fmt.Errorf("write: %w", short2(err)))
	}
	return n, err
}

func (c *watchedConn) Close() error {
	c.breakOff(net.ErrClosed)
	return c.err
}

// breakOff closes the connection; the first reason counts.
func (c *watchedConn) breakOff(reason error) {
	c.once.Do(func() {
		c.reason, c.err = reason, c.Conn.Close()
		close(c.broken)
	})
}
