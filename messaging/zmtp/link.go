package zmtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// The sockets a client has of a kernel. The heartbeat is not used: a process is watched better by its exit.
var sockets = []struct {
	channel messaging.Channel
	kind    string
}{
	{messaging.Shell, "DEALER"},
	{messaging.Control, "DEALER"},
	{messaging.Stdin, "DEALER"},
	{messaging.IOPub, "SUB"},
}

// How long the other sockets are read on after the first has ended.
const (
	drainQuiet = 50 * time.Millisecond // without news
	drainLimit = time.Second           // in all
)

// Link is a client's four connections to a kernel. What passes is whole messages as their frames, neither verified nor
// understood. The caller closes it.
type Link struct {
	conns   map[messaging.Channel]*Conn
	closing chan struct{} // closed by Close
	ended   chan struct{} // closed when nothing more is to come
	start   sync.Once
	readers sync.WaitGroup
	once    sync.Once
	finish  sync.Once

	mu       sync.Mutex // guards what follows
	live     int        // readers at work
	received int        // messages since the first end, for noticing news
	cause    error      // of the first end
}

// DialLink connects to a kernel's shell, control, stdin and iopub sockets and subscribes to everything, and then to a
// topic of its own: a kernel that welcomes subscribers (JEP 65) answers that one even to a second client. Of opts it takes
// MaxFrame and HandshakeTimeout.
func DialLink(ctx context.Context, info *messaging.ConnectionInfo, opts *TransportOptions) (*Link, error) {
	var o TransportOptions
	if opts != nil {
		o = *opts
	}
	l := &Link{
		conns:   make(map[messaging.Channel]*Conn, len(sockets)),
		closing: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := l.dial(ctx, info, &o); err != nil {
		return nil, err
	}
	return l, nil
}

// dial opens all sockets. Shell, control and stdin announce one identity, or input requests would never find us.
func (l *Link) dial(ctx context.Context, info *messaging.ConnectionInfo, opts *TransportOptions) error {
	identity := uuid.NewString()
	conns := make([]*Conn, len(sockets))
	errs := make([]error, len(sockets))
	var wg sync.WaitGroup
	for i, s := range sockets {
		wg.Go(func() {
			network, address := info.Address(s.channel)
			o := Options{Type: s.kind, MaxFrame: opts.MaxFrame, HandshakeTimeout: opts.HandshakeTimeout}
			if s.channel != messaging.IOPub {
				o.Identity = identity
			}
			o.SkipOversize = s.channel == messaging.IOPub
			if conns[i], errs[i] = Dial(ctx, network, address, &o); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", s.channel, errs[i])
				return
			}
			if s.channel == messaging.IOPub {
				errs[i] = errors.Join(conns[i].Subscribe(ctx, ""), conns[i].Subscribe(ctx, uuid.NewString()))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
		return err
	}
	for i, s := range sockets {
		l.conns[s.channel] = conns[i]
	}
	return nil
}

// Begin starts the readers, once: handle is called on their goroutines, one for each channel, and may keep the frames. skipped, which may
// be nil, hears in the same way of messages of iopub that were over MaxFrame.
func (l *Link) Begin(handle func(messaging.Channel, [][]byte), skipped func(messaging.Channel, *SkippedError)) {
	l.start.Do(func() {
		l.live = len(l.conns)
		for channel, conn := range l.conns {
			l.readers.Go(func() { l.read(channel, conn, handle, skipped) })
		}
	})
}

// read hands over what comes on one socket until it ends.
func (l *Link) read(
	channel messaging.Channel, conn *Conn, handle func(messaging.Channel, [][]byte), skipped func(messaging.Channel, *SkippedError),
) {
	for {
		frames, err := conn.ReadMessage()
		var over *SkippedError
		if errors.As(err, &over) {
			if skipped != nil {
				skipped(channel, over)
			}
			continue
		}
		if err != nil {
			l.readerEnded(err)
			return
		}
		handle(channel, frames)
		l.news()
	}
}

// news notes that a message came while the end is awaited.
func (l *Link) news() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		l.received++
	}
}

// readerEnded notes the end of one socket. The others are read on for a moment: a dying kernel's last outputs may still
// be on their way.
func (l *Link) readerEnded(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live--
	first := l.cause == nil
	if first {
		l.cause = err
	}
	if l.live == 0 {
		l.end()
		return
	}
	if first {
		l.drain(l.received, time.Now())
	}
}

// drain ends the link when nothing has come for a while. It is called under the lock.
func (l *Link) drain(seen int, since time.Time) {
	time.AfterFunc(drainQuiet, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.received == seen || time.Since(since) > drainLimit {
			l.end()
			return
		}
		l.drain(l.received, since)
	})
}

func (l *Link) end() { l.finish.Do(func() { close(l.ended) }) }

// Send writes a message on a channel. A context that ends while a message is half written ends the channel.
func (l *Link) Send(ctx context.Context, channel messaging.Channel, frames [][]byte) error {
	conn, ok := l.conns[channel]
	if !ok || channel == messaging.IOPub {
		return fmt.Errorf("zmtp: nothing can be sent on channel %q", channel)
	}
	for _, c := range l.conns {
		c.pace.expect()
	}
	return conn.WriteMessage(ctx, frames)
}

// Ended is closed when nothing more is to come, and Err says why.
func (l *Link) Ended() <-chan struct{} { return l.ended }

// Err is why the link has ended: it wraps io.EOF after a clean end.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.cause, io.EOF) {
		return fmt.Errorf("zmtp: connection closed by the kernel: %w", io.EOF)
	}
	return fmt.Errorf("zmtp: connection broken: %w", l.cause)
}

// wait waits for the end, or for Close.
func (l *Link) wait() error {
	select {
	case <-l.closing:
		return fmt.Errorf("zmtp: %w", net.ErrClosed)
	case <-l.ended:
		return l.Err()
	}
}

// Close closes the sockets and waits for their readers. It is idempotent.
func (l *Link) Close() error {
	l.once.Do(func() {
		close(l.closing)
		for _, c := range l.conns {
			_ = c.Close() // what is left to lose is being thrown away
		}
	})
	l.readers.Wait()
	return nil
}
