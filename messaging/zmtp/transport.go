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

// TransportOptions of Connect. Nil and zero fields are the defaults.
type TransportOptions struct {
	MaxFrame         int64         // largest message accepted, bytes; 256 MiB. Of iopub a larger one is left out, see messaging.LeftOut
	HandshakeTimeout time.Duration // 10 s
	// OnError hears of messages that are skipped because they can't be read. It is called on a reader's goroutine and
	// must not block.
	OnError func(error)
	// Trace sees each message sent ("->") and received ("<-"). It must not block.
	Trace func(direction string, m *messaging.Message)
}

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

// inboxSize bounds the messages that wait for Recv.
const inboxSize = 256

// How long the other sockets are read on after the first has ended.
const (
	drainQuiet = 50 * time.Millisecond // without news
	drainLimit = time.Second           // in all
)

// Transport is a messaging.Transport over a kernel's sockets.
type Transport struct {
	signer *messaging.Signer
	opts   TransportOptions
	conns  map[messaging.Channel]*Conn

	start   sync.Once
	handle  func(*messaging.Message) // takes every message
	inbox   chan *messaging.Message  // between handle and Recv
	closing chan struct{}            // closed by Close
	ended   chan struct{}            // closed when nothing more is to come
	readers sync.WaitGroup

	mu       sync.Mutex // guards what follows
	live     int        // readers at work
	received int        // messages since the first end, for noticing news
	cause    error      // of the first end
	once     sync.Once
	finish   sync.Once
}

var _ messaging.Transport = (*Transport)(nil)

// Connect connects to a kernel's shell, control, stdin and iopub sockets and subscribes to everything, and then to a
// topic of its own: a kernel that welcomes subscribers (JEP 65) answers that one even to a second client. The caller
// closes the transport.
func Connect(ctx context.Context, info *messaging.ConnectionInfo, opts *TransportOptions) (*Transport, error) {
	signer, err := messaging.NewSigner(info.SignatureScheme, []byte(info.Key))
	if err != nil {
		return nil, err
	}
	t := &Transport{
		signer: signer, conns: make(map[messaging.Channel]*Conn, len(sockets)),
		inbox: make(chan *messaging.Message, inboxSize), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	if opts != nil {
		t.opts = *opts
	}
	if t.opts.OnError == nil {
		t.opts.OnError = func(error) {}
	}
	if err := t.dial(ctx, info); err != nil {
		return nil, err
	}
	return t, nil
}

// begin starts the readers, once.
func (t *Transport) begin(handle func(*messaging.Message)) {
	t.start.Do(func() {
		t.handle = handle
		t.live = len(t.conns)
		for channel, conn := range t.conns {
			t.readers.Go(func() { t.read(channel, conn) })
		}
	})
}

// dial opens all sockets. Shell, control and stdin announce one identity, or input requests would never find us.
func (t *Transport) dial(ctx context.Context, info *messaging.ConnectionInfo) error {
	identity := uuid.NewString()
	conns := make([]*Conn, len(sockets))
	errs := make([]error, len(sockets))
	var wg sync.WaitGroup
	for i, s := range sockets {
		wg.Go(func() {
			network, address := info.Address(s.channel)
			o := Options{Type: s.kind, MaxFrame: t.opts.MaxFrame, HandshakeTimeout: t.opts.HandshakeTimeout}
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
		t.conns[s.channel] = conns[i]
	}
	return nil
}

// read hands over what comes on one socket until it ends.
func (t *Transport) read(channel messaging.Channel, conn *Conn) {
	decoder := messaging.Decoder{Signer: t.signer}
	for {
		frames, err := conn.ReadMessage()
		var skipped *SkippedError
		if errors.As(err, &skipped) {
			t.opts.OnError(fmt.Errorf("%s: %w", channel, err))
			if m := messaging.NewLeftOut(channel, skipped.Frames, skipped.Size); m != nil {
				t.handle(m)
			}
			continue
		}
		if err != nil {
			t.readerEnded(err)
			return
		}
		m, err := decoder.Decode(channel, frames)
		if err != nil {
			t.opts.OnError(fmt.Errorf("%s: %w", channel, err))
			continue
		}
		if t.opts.Trace != nil {
			t.opts.Trace("<-", m)
		}
		t.handle(m)
		t.news()
	}
}

// news notes that a message came while the end is awaited.
func (t *Transport) news() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause != nil {
		t.received++
	}
}

// readerEnded notes the end of one socket. The others are read on for a moment: a dying kernel's last outputs may still
// be on their way.
func (t *Transport) readerEnded(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live--
	first := t.cause == nil
	if first {
		t.cause = err
	}
	if t.live == 0 {
		t.end()
		return
	}
	if first {
		t.drain(t.received, time.Now())
	}
}

// drain ends the transport when nothing has come for a while. It is called under the lock.
func (t *Transport) drain(seen int, since time.Time) {
	time.AfterFunc(drainQuiet, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.received == seen || time.Since(since) > drainLimit {
			t.end()
			return
		}
		t.drain(t.received, since)
	})
}

func (t *Transport) end() { t.finish.Do(func() { close(t.ended) }) }

// Send signs and writes a message on its channel. A context that ends while a message is half written
// ends the channel.
func (t *Transport) Send(ctx context.Context, m *messaging.Message) error {
	conn, ok := t.conns[m.Channel]
	if !ok || m.Channel == messaging.IOPub {
		return fmt.Errorf("zmtp: nothing can be sent on channel %q", m.Channel)
	}
	frames, err := t.signer.Encode(m)
	if err != nil {
		return err
	}
	if t.opts.Trace != nil {
		t.opts.Trace("->", m)
	}
	return conn.WriteMessage(ctx, frames)
}

// Recv returns the next message of any channel. After the kernel's end it returns what is left and then an error that
// wraps io.EOF; after Close one that wraps net.ErrClosed.
func (t *Transport) Recv(ctx context.Context) (*messaging.Message, error) {
	t.begin(func(m *messaging.Message) {
		select {
		case t.inbox <- m:
		case <-t.closing:
		}
	})
	select {
	case m := <-t.inbox:
		return m, nil
	default:
	}
	select {
	case m := <-t.inbox:
		return m, nil
	case <-t.closing:
		return nil, fmt.Errorf("zmtp: %w", net.ErrClosed)
	case <-t.ended:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case m := <-t.inbox:
		return m, nil
	default:
		return nil, t.endError()
	}
}

// Push calls handle on the readers' goroutines, one for each channel, until the kernel's end or Close.
func (t *Transport) Push(handle func(*messaging.Message)) error {
	t.begin(handle)
	select {
	case <-t.closing:
		return fmt.Errorf("zmtp: %w", net.ErrClosed)
	case <-t.ended:
		return t.endError()
	}
}

var _ messaging.Pusher = (*Transport)(nil)

func (t *Transport) endError() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(t.cause, io.EOF) {
		return fmt.Errorf("zmtp: connection closed by the kernel: %w", io.EOF)
	}
	return fmt.Errorf("zmtp: connection broken: %w", t.cause)
}

// Close closes the sockets and waits for their readers. It is idempotent.
func (t *Transport) Close() error {
	t.once.Do(func() {
		close(t.closing)
		for _, c := range t.conns {
			_ = c.Close() // what is left to lose is being thrown away
		}
	})
	t.readers.Wait()
	return nil
}
