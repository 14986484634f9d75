package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

var _ backends.Dialer = (*Instance)(nil)

// DialContext connects to a port there. The connection is a stream of the session, and ends with it.
func (in *Instance) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	port, err := backends.OwnPort(network, address)
	if err != nil {
		return nil, err
	}
	if err := in.gone(); err != nil {
		return nil, err
	}
	// The connection lives longer than ctx may, which bounds the connecting.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	var feed *io.PipeWriter
	answer, s, err := in.c.plain(own, func() (*http.Request, error) {
		var body *io.PipeReader
		body, feed = io.Pipe()
		return portRequest(own, port, body)
	})
	if !stop() && err == nil {
		_ = answer.Body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if in.lost(err) {
			return nil, backends.ErrDestroyed
		}
		return nil, err
	}
	return in.c.newPort(answer, s, feed, cancel)
}

func portRequest(ctx context.Context, port int, body io.Reader) (*http.Request, error) {
	query := url.Values{"port": {strconv.Itoa(port)}}
	return http.NewRequestWithContext(ctx, http.MethodPost, address+agentpb.PortPath+"?"+query.Encode(), body)
}

// port is a connection to a port there: our end of a pipe whose other end is fed from the stream, so that it has deadlines.
type port struct {
	net.Conn
	over chan struct{} // closed when err is set
	err  error         // why the stream ended; io.EOF when the server has closed
}

// closeLinger is how long the server may take to close after we have.
const closeLinger = 5 * time.Second

func (c *Client) newPort(answer *http.Response, s *session, feed *io.PipeWriter, cancel context.CancelFunc) (net.Conn, error) {
	near, far := net.Pipe()
	p := &port{Conn: near, over: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fatal != nil {
		cancel()
		return nil, c.fatal
	}
	stop := context.AfterFunc(c.life, func() {
		cancel()
		_ = far.Close()
	})
	var passing sync.WaitGroup
	passing.Go(func() {
		_, err := io.Copy(far, answer.Body)
		p.err = io.EOF
		if !errors.Is(err, io.ErrClosedPipe) { // ours
			p.err = portEnd(answer, s, err)
		}
		close(p.over)
		_ = far.Close()
		cancel()
	})
	passing.Go(func() {
		_, err := io.Copy(feed, far)
		_ = feed.CloseWithError(err)
		late := time.AfterFunc(closeLinger, cancel)
		<-p.over
		late.Stop()
	})
	c.work.Go(func() {
		passing.Wait()
		stop()
		_ = answer.Body.Close()
	})
	return p, nil
}

// portEnd is what the end of the stream means to who reads.
func portEnd(answer *http.Response, s *session, err error) error {
	if err == nil {
		err = io.EOF
	}
	if err = ended(answer, s, err); errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("connection to the sandbox's port: %w", err)
}

// Read tells why there is nothing more to read: only a server's own closing is io.EOF.
func (p *port) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if errors.Is(err, io.EOF) {
		<-p.over
		err = p.err
	}
	return n, err
}
