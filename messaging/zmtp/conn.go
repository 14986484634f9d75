package zmtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-zeromq/zmq4"
	"github.com/go-zeromq/zmq4/security/null"
)

// Options of a socket. Nil and zero fields are the defaults.
type Options struct {
	Type             string        // "DEALER", "SUB", "ROUTER", "XPUB", ...; required
	Identity         string        // 1 to 255 bytes, not beginning with 0; none
	MaxFrame         int64         // largest frame and largest message accepted, bytes; 256 MiB
	HandshakeTimeout time.Duration // 10 s
	// SkipOversize reads past a message over MaxFrame, up to 16 times that, instead of giving up the connection: what a
	// publisher sends can be missed.
	SkipOversize bool
}

// The defaults of Options.
const (
	DefaultMaxFrame         = 256 << 20
	defaultHandshakeTimeout = 10 * time.Second
)

// maxFrames bounds the frames of one message. Jupyter's have six and their buffers.
const maxFrames = 4096

// readBuffer is how much is read at once.
const readBuffer = 128 << 10

// ErrTooLarge says that a peer announced more than the limits allow. The connection is of no use afterwards.
var ErrTooLarge = errors.New("zmtp: frame or message over the limit")

// Conn is one ZMTP connection. One goroutine may read while others write. The caller closes it.
type Conn struct {
	conn     net.Conn
	r        *bufio.Reader
	peer     zmq4.Metadata
	maxFrame int64
	skips    bool
	pace     *pacer

	writing  sync.Mutex // held while a message is written
	writeErr error      // set when a message was written in part: nothing may follow it
}

// Dial connects to a socket, in one attempt, and does the handshake.
func Dial(ctx context.Context, network, address string, opts *Options) (*Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("zmtp: %w", err)
	}
	return open(ctx, conn, opts, false)
}

// open does the handshake over conn, which it closes on an error.
func open(ctx context.Context, conn net.Conn, opts *Options, server bool) (_ *Conn, err error) {
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	timeout, maxFrame := opts.HandshakeTimeout, opts.MaxFrame
	if timeout <= 0 {
		timeout = defaultHandshakeTimeout
	}
	if maxFrame <= 0 {
		maxFrame = DefaultMaxFrame
	}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, fmt.Errorf("zmtp: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	g := &guard{Conn: conn, r: bufio.NewReaderSize(conn, readBuffer)}
	shaken, err := shake(g, opts, server)
	if !stop() && ctx.Err() != nil {
		return nil, fmt.Errorf("zmtp: handshake: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("zmtp: handshake: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("zmtp: %w", err)
	}
	return &Conn{conn: conn, r: g.r, peer: shaken.Peer.Meta, maxFrame: maxFrame, skips: opts.SkipOversize, pace: newPacer()}, nil
}

// shake does the handshake. The library panics at a socket type that it does not know, which is the peer's to name; it runs
// on our goroutine, so a panic becomes the error that it should have been.
func shake(g *guard, opts *Options, server bool) (_ *zmq4.Conn, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrHandshake, p)
		}
	}()
	return zmq4.Open(g, null.Security(), zmq4.SocketType(opts.Type), zmq4.SocketIdentity(opts.Identity), server, nil)
}

// PeerIdentity is the identity the peer announced; empty when it has none.
func (c *Conn) PeerIdentity() string { return c.peer["Identity"] }

// Close closes the connection; a waiting ReadMessage or WriteMessage ends with an error.
func (c *Conn) Close() error { return c.conn.Close() }

// Subscribe asks a publisher for the messages whose first frame begins with topic.
func (c *Conn) Subscribe(ctx context.Context, topic string) error {
	return c.WriteMessage(ctx, [][]byte{append([]byte{1}, topic...)})
}

// Listener accepts connections as a kernel's socket does. The caller closes it.
type Listener struct {
	net.Listener
	opts Options
}

// Listen listens on a "tcp" or "unix" address.
func Listen(network, address string, opts *Options) (*Listener, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("zmtp: %w", err)
	}
	return &Listener{Listener: l, opts: *opts}, nil
}

// AcceptConn waits for a connection and does the handshake. An error that wraps net.ErrClosed is the end of the listener,
// any other is that peer's.
func (l *Listener) AcceptConn(ctx context.Context) (*Conn, error) {
	conn, err := l.Accept()
	if err != nil {
		return nil, fmt.Errorf("zmtp: %w", err)
	}
	return open(ctx, conn, &l.opts, true)
}
