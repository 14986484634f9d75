package remote

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Send signs a message and writes it. While the connection is broken it waits for it to be made again; what was given out once
// arrives once. A context that ends while a message is on its way does not call it back.
func (r *relay) Send(ctx context.Context, m *messaging.Message) error {
	channel := agentpb.NewChannel(m.Channel)
	if channel == agentpb.Channel_CHANNEL_UNSPECIFIED || channel == agentpb.Channel_CHANNEL_IOPUB {
		return fmt.Errorf("remote: nothing can be sent on channel %q", m.Channel)
	}
	frames, err := r.k.signer.Encode(m)
	if err != nil {
		return err
	}
	if r.c.opts.Trace != nil {
		r.c.opts.Trace("->", m)
	}
	var measured *agentpb.MeterRun
	if m.Channel == messaging.Shell && m.Header.MsgType == "execute_request" {
		measured = r.k.metering.forRun(m.Header.MsgID)
	}
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		number, err := r.put(ctx, channel, frames, measured)
		if err != nil {
			return err
		}
		if number > 0 {
			return r.await(ctx, number)
		}
		select { // the agent is behind
		case <-changed:
		case <-r.ended:
			return r.endErr
		case <-r.closing:
			return fmt.Errorf("remote: %w", net.ErrClosed)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// put takes a message in and writes it if there is a stream; it returns 0 when too much is under way.
func (r *relay) put(ctx context.Context, channel agentpb.Channel, frames [][]byte, measured *agentpb.MeterRun) (uint64, error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	select {
	case <-r.closing:
		return 0, fmt.Errorf("remote: %w", net.ErrClosed)
	case <-r.ended:
		return 0, r.endErr
	default:
	}
	if len(r.outbox) >= maxOutbox {
		return 0, nil
	}
	chunks, err := agentpb.Split(r.number+1, channel, frames)
	if err != nil {
		return 0, err
	}
	r.number++
	o := outgoing{number: r.number, chunks: chunks, meter: measured}
	r.outbox = append(r.outbox, o)
	if r.stream == nil {
		return o.number, nil
	}
	// Half a message on the stream leaves nothing to do but to open another.
	stop := context.AfterFunc(ctx, r.stream.cancel)
	err = r.write(o)
	if !stop() && err != nil {
		return 0, context.Cause(ctx)
	}
	return o.number, nil
}

// await waits until a message was written, unless nobody reads yet.
func (r *relay) await(ctx context.Context, number uint64) error {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		r.writing.Lock()
		done := r.sent >= number || !r.begun
		r.writing.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-r.ended:
			return r.endErr
		case <-r.closing:
			return fmt.Errorf("remote: %w", net.ErrClosed)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Recv returns the next message of any channel. After the kernel's end it returns what is left and then an error that wraps io.EOF;
// after Close one that wraps net.ErrClosed; ErrLost, ErrTakenOver, ErrProtocol.
func (r *relay) Recv(ctx context.Context) (*messaging.Message, error) {
	r.begin(func(m *messaging.Message) {
		select {
		case r.inbox <- m:
		case <-r.closing:
		}
	})
	select {
	case m := <-r.inbox:
		return m, nil
	default:
	}
	select {
	case m := <-r.inbox:
		return m, nil
	case <-r.closing:
		return nil, fmt.Errorf("remote: %w", net.ErrClosed)
	case <-r.ended:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case m := <-r.inbox:
		return m, nil
	default:
		return nil, r.endErr
	}
}

// Push calls handle for every message, on one goroutine, until the end.
func (r *relay) Push(handle func(*messaging.Message)) error {
	r.begin(handle)
	select {
	case <-r.closing:
		return fmt.Errorf("remote: %w", net.ErrClosed)
	case <-r.ended:
		return r.endErr
	}
}

// Close ends the relay and waits for its reader. What the kernel says from now on is kept for who connects next. It is idempotent.
func (r *relay) Close() error {
	r.once.Do(func() {
		close(r.closing)
		r.mu.Lock()
		if r.timer != nil {
			r.timer.Stop()
		}
		r.mu.Unlock()
		r.shut()
	})
	r.work.Wait()
	return nil
}

// closePatience is how long the agent may take to let us say what has arrived.
const closePatience = 200 * time.Millisecond

// shut tells the agent what has arrived, if that can be done at once, and ends the stream.
func (r *relay) shut() {
	if !r.writing.TryLock() {
		r.mu.Lock()
		if r.cancel != nil {
			r.cancel() // the writer lets go of the lock
		}
		r.mu.Unlock()
		r.writing.Lock()
	}
	stream := r.stream
	r.writing.Unlock()
	if stream == nil {
		return
	}
	late := time.AfterFunc(closePatience, stream.cancel)
	r.sendAck()
	late.Stop()
	stream.close()
}
