package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// handshakeTimeout bounds how long one peer's handshake keeps others of the same socket waiting.
const handshakeTimeout = 2 * time.Second

// server is the kernel's sockets.
type server struct {
	kernel    *Kernel
	listeners map[messaging.Channel]*listener

	mu          sync.Mutex                               // guards what follows
	sockets     map[*socket]struct{}                     // live ones
	routes      map[messaging.Channel]map[string]*socket // by the client's identity
	subscribers map[string]int                           // of each topic
}

// socket is one client's connection to one of the kernel's sockets.
type socket struct {
	channel  messaging.Channel
	identity string // the same on all of a client's sockets
	conn     *zmtp.Conn
	raw      net.Conn
	out      *outbox
	topics   map[string]int // subscribed to; iopub only
}

// route is a client of a server: its identity, under which all its sockets are found.
type route struct {
	server   *server
	identity string
}

// listener remembers the connection that was accepted last, for writing below the framing.
type listener struct {
	*zmtp.Listener
	last net.Conn
}

// tap notes connections as they are accepted and lets a hostile kernel put itself between.
type tap struct {
	net.Listener
	note func(net.Conn) net.Conn
}

func (t tap) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return t.note(conn), nil
}

// Listen opens the five sockets of k on network "unix", in a fresh folder, or "tcp", on the loopback: ROUTER for shell,
// control and stdin, PUB for iopub (XPUB with Options.Welcome), and a heartbeat that echoes. Any ZeroMQ client
// may connect, also several at once. Kernel.Close and Kernel.Die close the sockets, Close removes the folder.
func Listen(k *Kernel, network string) (*messaging.ConnectionInfo, error) {
	s := &server{
		kernel: k, listeners: make(map[messaging.Channel]*listener), sockets: make(map[*socket]struct{}),
		routes: make(map[messaging.Channel]map[string]*socket), subscribers: make(map[string]int),
	}
	info := &messaging.ConnectionInfo{
		IP: "127.0.0.1", Transport: "tcp", Key: k.key, SignatureScheme: "hmac-sha256", KernelName: "kerneltest",
	}
	var folder string
	if network == "unix" {
		var err error
		if folder, err = os.MkdirTemp("", "kt"); err != nil { // a short name: paths of sockets are limited
			return nil, fmt.Errorf("kerneltest: %w", err)
		}
		info.IP, info.Transport = filepath.Join(folder, "k"), "ipc"
	}
	if err := s.listen(network, info); err != nil {
		s.closeListeners()
		if folder != "" {
			_ = os.RemoveAll(folder)
		}
		return nil, fmt.Errorf("kerneltest: %w", err)
	}
	k.mu.Lock()
	k.cleanups = append(k.cleanups, func() {
		if folder != "" {
			_ = os.RemoveAll(folder)
		}
	})
	k.mu.Unlock()
	if !k.attach(s) {
		s.closeListeners()
		return info, nil // as if the kernel had died a moment later
	}
	for channel, l := range s.listeners {
		if !k.spawn(func() { s.accept(channel, l) }) {
			s.closeListeners()
		}
	}
	return info, nil
}

func (s *server) listen(network string, info *messaging.ConnectionInfo) error {
	publisher := "PUB"
	if s.kernel.opts.Welcome {
		publisher = "XPUB"
	}
	for number, of := range []struct {
		channel messaging.Channel
		kind    string
		port    *int
	}{
		{messaging.Shell, "ROUTER", &info.ShellPort},
		{messaging.IOPub, publisher, &info.IOPubPort},
		{messaging.Stdin, "ROUTER", &info.StdinPort},
		{messaging.Control, "ROUTER", &info.ControlPort},
		{messaging.Heartbeat, "ROUTER", &info.HBPort},
	} {
		address := "127.0.0.1:0"
		if network == "unix" {
			*of.port = number + 1
			address = info.IP + "-" + strconv.Itoa(*of.port)
		}
		opts := &zmtp.Options{Type: of.kind, HandshakeTimeout: handshakeTimeout}
		zl, err := zmtp.Listen(network, address, opts)
		if err != nil {
			return err
		}
		if at, ok := zl.Addr().(*net.TCPAddr); ok {
			*of.port = at.Port
		}
		l := &listener{Listener: zl}
		zl.Listener = tap{Listener: zl.Listener, note: func(conn net.Conn) net.Conn {
			if s.kernel.opts.wrap != nil {
				conn = s.kernel.opts.wrap(s.kernel, of.channel, conn)
			}
			l.last = conn
			return conn
		}}
		s.listeners[of.channel] = l
	}
	return nil
}

func (s *server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

// accept takes connections until the kernel's end. One peer's bad handshake is no concern of the others.
func (s *server) accept(channel messaging.Channel, l *listener) {
	for {
		conn, err := l.AcceptConn(s.kernel.life)
		if s.kernel.life.Err() != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			s.kernel.opts.OnError(fmt.Errorf("kerneltest: %s: %w", channel, err))
			_ = pause(s.kernel.life, nil, time.Millisecond) // out of files, say: no busy loop
			continue
		}
		s.open(channel, conn, l.last)
	}
}

// open starts the two goroutines of a connection.
func (s *server) open(channel messaging.Channel, conn *zmtp.Conn, raw net.Conn) {
	c := &socket{
		channel: channel, identity: conn.PeerIdentity(), conn: conn, raw: raw,
		out: newOutbox(s.kernel.opts.HighWater), topics: make(map[string]int),
	}
	if c.identity == "" {
		c.identity = uuid.NewString()
	}
	s.mu.Lock()
	s.sockets[c] = struct{}{}
	if s.routes[channel] == nil {
		s.routes[channel] = make(map[string]*socket)
	}
	s.routes[channel][c.identity] = c // a second connection takes over an identity, as with ipykernel
	s.mu.Unlock()
	ok := s.kernel.spawn(func() { s.write(c) })
	if !ok || !s.kernel.spawn(func() { s.read(c) }) {
		c.out.end(errGone, true)
		_ = conn.Close()
	}
}

// write sends what is queued for a connection and then closes it.
func (s *server) write(c *socket) {
	stop := context.AfterFunc(s.kernel.hard, func() {
		c.out.end(net.ErrClosed, true)
		_ = c.conn.Close()
	})
	defer stop()
	defer func() { _ = c.conn.Close() }()
	for {
		i, err := c.out.pop(s.kernel.hard)
		if err != nil {
			return
		}
		if i.bytes != nil {
			_, err = c.raw.Write(i.bytes)
		} else {
			err = c.conn.WriteMessage(s.kernel.hard, i.frames)
		}
		if err != nil {
			c.out.end(err, true)
			return
		}
	}
}

// read takes what a client sends until it goes.
func (s *server) read(c *socket) {
	defer s.forget(c)
	for {
		frames, err := c.conn.ReadMessage()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				s.kernel.opts.OnError(fmt.Errorf("kerneltest: %s: %w", c.channel, err))
			}
			return
		}
		switch c.channel {
		case messaging.Heartbeat:
			c.out.push(item{channel: c.channel, frames: frames}, outboxLimit)
		case messaging.IOPub:
			s.subscribe(c, frames)
		default:
			if s.kernel.receive(s.kernel.life, c.channel, frames, route{s, c.identity}) != nil {
				return
			}
		}
	}
}

// forget ends a connection that the client has left.
func (s *server) forget(c *socket) {
	s.mu.Lock()
	delete(s.sockets, c)
	if s.routes[c.channel][c.identity] == c {
		delete(s.routes[c.channel], c.identity)
	}
	for topic := range c.topics {
		s.subscribers[topic]--
	}
	s.mu.Unlock()
	if s.kernel.life.Err() == nil { // else what is queued is still to be written
		c.out.end(io.EOF, true)
	}
}

// subscribe takes a subscription or its end. The first subscriber of a topic is welcomed, with all who hear it.
func (s *server) subscribe(c *socket, frames [][]byte) {
	if len(frames) != 1 || len(frames[0]) == 0 || frames[0][0] > 1 {
		return
	}
	topic := string(frames[0][1:])
	s.mu.Lock()
	first := false
	switch {
	case frames[0][0] == 1:
		if c.topics[topic]++; c.topics[topic] == 1 {
			s.subscribers[topic]++
			first = s.subscribers[topic] == 1
		}
	case c.topics[topic] > 1:
		c.topics[topic]--
	case c.topics[topic] == 1:
		delete(c.topics, topic)
		s.subscribers[topic]--
	}
	s.mu.Unlock()
	if !first || !s.kernel.opts.Welcome {
		return
	}
	u := s.kernel.Unasked()
	m := u.Message(messaging.IOPub, &messaging.IOPubWelcome{Subscription: topic})
	m.Identities = nil
	if topic != "" {
		m.Identities = [][]byte{[]byte(topic)}
	}
	s.publish(item{channel: messaging.IOPub, frames: u.Encode(m)}, outboxLimit)
}

// hears reports whether a subscriber wants a message. It is called under the server's lock.
func (c *socket) hears(i item) bool {
	if i.bytes != nil {
		return true
	}
	for topic := range c.topics {
		if len(i.frames) > 0 && strings.HasPrefix(string(i.frames[0]), topic) {
			return true
		}
	}
	return false
}

func (s *server) publish(i item, limit int64) {
	s.mu.Lock()
	var to []*socket
	for c := range s.sockets {
		if c.channel == messaging.IOPub && c.hears(i) {
			to = append(to, c)
		}
	}
	s.mu.Unlock()
	for _, c := range to {
		c.out.push(i, limit)
	}
}

func (r route) send(i item, limit int64) {
	r.server.mu.Lock()
	c := r.server.routes[i.channel][r.identity]
	r.server.mu.Unlock()
	if c != nil {
		c.out.push(i, limit)
	}
}

func (s *server) end(err error) {
	s.closeListeners()
	for _, c := range s.live() {
		c.out.end(err, false)
	}
}

func (s *server) cut(err error) {
	for _, c := range s.live() {
		c.out.end(err, true)
		_ = c.conn.Close()
	}
}

func (s *server) live() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	sockets := make([]*socket, 0, len(s.sockets))
	for c := range s.sockets {
		sockets = append(sockets, c)
	}
	return sockets
}

// hangUp closes one kind of sockets after what was sent there, as if a part of the kernel had died.
func (s *server) hangUp(channel messaging.Channel) {
	for _, c := range s.live() {
		if c.channel == channel {
			c.out.end(errGone, false)
		}
	}
}
