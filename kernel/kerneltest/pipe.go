package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// pipe is a client's connection in memory.
type pipe struct {
	kernel  *Kernel
	signer  *messaging.Signer
	decoder messaging.Decoder // Recv's
	out     *outbox
	closing sync.Once
}

var _ messaging.Transport = (*pipe)(nil)

// Pipe connects a client to k in memory, without sockets and goroutines. Messages are encoded, signed, verified and decoded
// as on a socket. What can't be decoded is skipped and told to Options.OnError.
//
// After Kernel.Die Recv returns what is left and then an error that wraps io.EOF, Send one that wraps ErrEnded; after
// Kernel.Break both return its error; after Close both wrap net.ErrClosed. The caller closes the transport.
func Pipe(k *Kernel) messaging.Transport {
	p := &pipe{kernel: k, signer: k.newSigner(), out: newOutbox(k.opts.HighWater)}
	p.decoder.Signer = p.signer
	if !k.attach(p) {
		p.end(errGone)
		return p
	}
	if k.opts.Welcome {
		c := k.Unasked()
		m := c.Message(messaging.IOPub, &messaging.IOPubWelcome{})
		m.Identities = nil
		p.publish(item{channel: messaging.IOPub, frames: c.Encode(m)}, outboxLimit)
	}
	return p
}

// Send gives a message to the kernel. It waits while a thousand requests are queued there.
func (p *pipe) Send(ctx context.Context, m *messaging.Message) error {
	switch m.Channel {
	case messaging.Shell, messaging.Control, messaging.Stdin:
	default:
		return fmt.Errorf("kerneltest: nothing can be sent on channel %q", m.Channel)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("kerneltest: send: %w", context.Cause(ctx))
	}
	if err := p.out.ended(); err != nil {
		if errors.Is(err, errGone) {
			return fmt.Errorf("kerneltest: send: %w", ErrEnded)
		}
		return err
	}
	frames, err := p.signer.Encode(m)
	if err != nil {
		return err
	}
	if err := p.kernel.receive(ctx, m.Channel, frames, p); err != nil {
		return fmt.Errorf("kerneltest: send: %w", err)
	}
	return nil
}

// Recv returns the next message.
func (p *pipe) Recv(ctx context.Context) (*messaging.Message, error) {
	for {
		i, err := p.out.pop(ctx)
		if err != nil {
			return nil, err
		}
		m, err := p.decoder.Decode(i.channel, i.frames)
		if err != nil {
			p.kernel.opts.OnError(fmt.Errorf("kerneltest: %s: %w", i.channel, err))
			continue
		}
		return m, nil
	}
}

// Close ends both directions. It is idempotent.
func (p *pipe) Close() error {
	p.closing.Do(func() { p.cut(fmt.Errorf("kerneltest: %w", net.ErrClosed)) })
	return nil
}

func (p *pipe) send(i item, limit int64) {
	if i.bytes == nil {
		p.out.push(i, limit)
	}
}

func (p *pipe) publish(i item, limit int64) { p.send(i, limit) }

func (p *pipe) end(err error) { p.out.end(err, false) }

func (p *pipe) cut(err error) {
	p.kernel.detach(p)
	p.out.end(err, true)
}
