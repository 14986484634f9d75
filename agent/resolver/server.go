package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

// Bounds. All that a sandbox can make this process hold is within them.
const (
	maxQueries     = 64   // at once
	maxConnections = 16   // of TCP
	maxPerSecond   = 500  // queries; what is above goes unanswered, and clients ask again
	maxQuery       = 1024 // bytes; a question is shorter
	maxUDP         = 1232 // bytes of an answer by UDP that no path has to fragment
	queryTime      = 6 * time.Second
	idleTime       = 10 * time.Second // of a TCP connection
)

// Gate says what may be asked and reached. *firewall.Firewall is one.
type Gate interface {
	Rules() netrules.Rules
	// Admit lets the addresses be reached that name led to, and returns those that may be.
	Admit(name string, addresses []netip.Addr) ([]netip.Addr, error)
}

// Server is one resolver.
type Server struct {
	Gate Gate
	// Dial reaches upstreams. Its packets must pass the firewall: see firewall.Mark.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	udp net.PacketConn
	tcp net.Listener

	slots chan struct{} // one for each query under way
	rate  bucket
}

// Listen takes the address, by UDP and TCP; the caller then runs Serve.
func Listen(ctx context.Context, address string, s *Server) error {
	var lc net.ListenConfig
	udp, err := lc.ListenPacket(ctx, "udp", address)
	if err != nil {
		return fmt.Errorf("resolver: %w: another program of the sandbox has the port; make the sandbox anew", err)
	}
	tcp, err := lc.Listen(ctx, "tcp", udp.LocalAddr().String())
	if err != nil {
		udp.Close() //nolint:errcheck // nothing was sent
		return fmt.Errorf("resolver: %w: another program of the sandbox has the port; make the sandbox anew", err)
	}
	s.udp, s.tcp = udp, tcp
	s.slots = make(chan struct{}, maxQueries)
	return nil
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Serve answers until ctx is done, and returns when everything has ended. It returns an error if listening broke.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		s.udp.Close() //nolint:errcheck // their readers tell
		s.tcp.Close() //nolint:errcheck // their readers tell
	})
	defer stop()
	var wg sync.WaitGroup
	var errTCP error
	wg.Go(func() {
		errTCP = s.serveTCP(ctx, &wg)
		cancel()
	})
	errUDP := s.serveUDP(ctx, &wg)
	cancel()
	wg.Wait()
	return errors.Join(ignoreClosed(errUDP), ignoreClosed(errTCP))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Server) serveUDP(ctx context.Context, wg *sync.WaitGroup) error {
	buffer := make([]byte, maxQuery+1)
	for {
		n, from, err := s.udp.ReadFrom(buffer)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				continue // an ICMP error about an answer; the socket is fine
			}
			return err
		}
		if n > maxQuery || !s.rate.take(time.Now()) {
			continue
		}
		select {
		case s.slots <- struct{}{}:
		default:
			continue
		}
		query := append([]byte(nil), buffer[:n]...)
		wg.Go(func() {
			defer func() { <-s.slots }()
			if answer := s.answer(ctx, query, true); answer != nil {
				s.udp.WriteTo(answer, from) //nolint:errcheck // the client asks again
			}
		})
	}
}

func (s *Server) serveTCP(ctx context.Context, wg *sync.WaitGroup) error {
	connections := make(chan struct{}, maxConnections)
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				select { // out of descriptors, say
				case <-time.After(50 * time.Millisecond):
					continue
				case <-ctx.Done():
				}
			}
			return err
		}
		select {
		case connections <- struct{}{}:
		default:
			conn.Close() //nolint:errcheck // nothing was sent
			continue
		}
		wg.Go(func() {
			defer func() { <-connections }()
			defer conn.Close() //nolint:errcheck // what was not sent was told by Write
			stop := context.AfterFunc(ctx, func() {
				conn.Close() //nolint:errcheck // its reader tells
			})
			defer stop()
			s.serveConn(ctx, conn)
		})
	}
}

func (s *Server) serveConn(ctx context.Context, conn net.Conn) {
	for {
		if conn.SetDeadline(time.Now().Add(idleTime)) != nil {
			return
		}
		query, err := readMessage(conn, maxQuery)
		if err != nil || !s.rate.take(time.Now()) {
			return
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		answer := s.answer(ctx, query, false)
		<-s.slots
		if answer == nil || writeMessage(conn, answer) != nil {
			return
		}
	}
}

// readMessage reads one message of DNS over TCP.
func readMessage(r io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > limit {
		return nil, fmt.Errorf("a message of %d bytes is too long", n)
	}
	message := make([]byte, n)
	_, err := io.ReadFull(r, message)
	return message, err
}

func writeMessage(w io.Writer, message []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
	return err
}

// bucket allows maxPerSecond, and as many at once after a pause.
type bucket struct {
	mu     sync.Mutex // guards what follows
	tokens float64
	last   time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last.IsZero() {
		b.tokens = maxPerSecond
	} else {
		b.tokens = min(maxPerSecond, b.tokens+now.Sub(b.last).Seconds()*maxPerSecond)
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
