package zmtp

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// TransportOptions of Connect. Nil and zero fields are the defaults.
type TransportOptions struct {
	MaxFrame         int64         // largest message accepted, bytes; 256 MiB
	HandshakeTimeout time.Duration // 10 s
	// OnError hears of messages that are skipped because they can't be read. It is called on a reader's goroutine and
	// must not block.
	OnError func(error)
	// Trace sees each message sent ("->") and received ("<-"). It must not block.
	Trace func(direction string, m *messaging.Message)
}

// inboxSize bounds the messages that wait for Recv.
const inboxSize = 256

// Transport is a messaging.Transport over a kernel's sockets: a Link whose messages are signed and verified.
type Transport struct {
	link   *Link
	signer *messaging.Signer
	opts   TransportOptions
	inbox  chan *messaging.Message // for Recv
}

var _ messaging.Transport = (*Transport)(nil)

// Connect connects to a kernel's sockets, as DialLink does. The caller closes the transport.
func Connect(ctx context.Context, info *messaging.ConnectionInfo, opts *TransportOptions) (*Transport, error) {
	signer, err := messaging.NewSigner(info.SignatureScheme, []byte(info.Key))
	if err != nil {
		return nil, err
	}
	t := &Transport{signer: signer, inbox: make(chan *messaging.Message, inboxSize)}
	if opts != nil {
		t.opts = *opts
	}
	if t.opts.OnError == nil {
		t.opts.OnError = func(error) {}
	}
	if t.link, err = DialLink(ctx, info, &t.opts); err != nil {
		return nil, err
	}
	return t, nil
}

// begin starts the readers, once.
func (t *Transport) begin(handle func(*messaging.Message)) {
	decoders := make(map[messaging.Channel]*messaging.Decoder, len(sockets))
	for _, s := range sockets {
		decoders[s.channel] = &messaging.Decoder{Signer: t.signer}
	}
	t.link.Begin(func(channel messaging.Channel, frames [][]byte) {
		m, err := decoders[channel].Decode(channel, frames)
		if err != nil {
			t.opts.OnError(fmt.Errorf("%s: %w", channel, err))
			return
		}
		if t.opts.Trace != nil {
			t.opts.Trace("<-", m)
		}
		handle(m)
	})
}

// Send signs and writes a message on its channel. A context that ends while a message is half written
// ends the channel.
func (t *Transport) Send(ctx context.Context, m *messaging.Message) error {
	frames, err := t.signer.Encode(m)
	if err != nil {
		return err
	}
	if t.opts.Trace != nil {
		t.opts.Trace("->", m)
	}
	return t.link.Send(ctx, m.Channel, frames)
}

// Recv returns the next message of any channel. After the kernel's end it returns what is left and then an error that
// wraps io.EOF; after Close one that wraps net.ErrClosed.
func (t *Transport) Recv(ctx context.Context) (*messaging.Message, error) {
	t.begin(func(m *messaging.Message) {
		select {
		case t.inbox <- m:
		case <-t.link.closing:
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
	case <-t.link.closing:
		return nil, fmt.Errorf("zmtp: %w", net.ErrClosed)
	case <-t.link.ended:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case m := <-t.inbox:
		return m, nil
	default:
		return nil, t.link.Err()
	}
}

// Push calls handle on the readers' goroutines, one for each channel, until the kernel's end or Close.
func (t *Transport) Push(handle func(*messaging.Message)) error {
	t.begin(handle)
	return t.link.wait()
}

var _ messaging.Pusher = (*Transport)(nil)

// Close closes the sockets and waits for their readers. It is idempotent.
func (t *Transport) Close() error { return t.link.Close() }
