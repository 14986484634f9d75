package remote

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// What comes of a kernel: read, verified, handed over and acknowledged.

// Received messages are acknowledged when so much has gathered, or after a while.
const (
	ackMessages = 64
	ackBytes    = 1 << 20
	ackDelay    = 20 * time.Millisecond
	inboxSize   = 256
)

// read hands over what comes on a stream until its end: errBroken when another may follow.
func (r *relay) read(stream *relayStream, handle func(*messaging.Message)) error {
	for {
		answer, err := stream.Receive()
		if err != nil {
			select {
			case <-r.closing:
				return fmt.Errorf("remote: %w", net.ErrClosed)
			default:
			}
			if errors.Is(err, io.EOF) { // without an end: it is being closed
				err = connect.NewError(connect.CodeUnavailable, err)
			}
			return r.c.verdict(stream.session, err)
		}
		end, err := r.take(answer, handle)
		if err != nil {
			return err
		}
		if end != nil {
			if end.Status != nil {
				r.k.ending.set(end.Status.Value())
			}
			return fmt.Errorf("remote: connection closed by the kernel: %w", io.EOF)
		}
	}
}

// take takes one answer.
func (r *relay) take(answer *agentpb.RelayResponse, handle func(*messaging.Message)) (*agentpb.RelayEnd, error) {
	if answer.Ack > 0 {
		r.acknowledged(answer.Ack)
	}
	if answer.Usage != nil { // before the message that ends the run
		r.k.metering.told(answer.Usage)
	}
	for _, chunk := range answer.Chunks {
		whole, err := r.parts.Add(chunk)
		if err != nil {
			return nil, fmt.Errorf("remote: %w: %w", ErrProtocol, err)
		}
		if whole == nil {
			continue
		}
		if whole.Number != r.next {
			return nil, fmt.Errorf("remote: %w: message %d where %d was due", ErrProtocol, whole.Number, r.next)
		}
		r.next++
		r.deliver(whole, handle)
		r.acknowledge(whole.Number, whole.Size)
	}
	if d := answer.Dropped; d != nil {
		if d.Number != r.next || d.Messages == 0 || d.Messages > math.MaxInt64-d.Number || d.Bytes > math.MaxInt64 {
			return nil, fmt.Errorf("remote: %w: %d messages left out at %d where %d was due", ErrProtocol, d.Messages, d.Number, r.next)
		}
		r.next += d.Messages
		r.c.opts.Logger.Warn("messages of a kernel were left out, nobody fetched them",
			"sandbox", r.k.in.id, "kernel", r.k.id, "messages", d.Messages, "bytes", d.Bytes)
		if r.c.opts.Dropped != nil {
			r.c.opts.Dropped(r.k.id, int64(d.Messages), int64(d.Bytes))
		}
		if r.running != nil {
			handle(messaging.LeftOutOf(r.running, int64(d.Bytes)))
		}
		r.acknowledge(r.next-1, 0)
	}
	return answer.End, nil
}

// deliver verifies a message and hands it over.
func (r *relay) deliver(w *agentpb.Whole, handle func(*messaging.Message)) {
	m, err := r.decoders[w.Channel].Decode(w.Channel, w.Frames)
	if err != nil {
		r.c.opts.Logger.Warn("skip message of kernel", "sandbox", r.k.in.id, "error", fmt.Errorf("%s: %w", w.Channel, err))
		return
	}
	if r.c.opts.Trace != nil {
		r.c.opts.Trace("<-", m)
	}
	r.follow(m)
	handle(m)
}

// follow notes whether a run is under way: what it says is acknowledged when it is over, so that a host program that is started again
// hears all of it.
func (r *relay) follow(m *messaging.Message) {
	if m.Channel != messaging.IOPub || m.Header.MsgType != "status" || m.Parent == nil || m.Parent.MsgType != "execute_request" {
		return
	}
	content, err := m.Decode()
	status, ok := content.(*messaging.Status)
	if err != nil || !ok {
		return
	}
	r.running = nil
	if status.ExecutionState == messaging.StateBusy {
		r.running = m.Parent
	}
}

// acknowledge notes that a message was handed over, and tells the agent by and by.
func (r *relay) acknowledge(number uint64, size int64) {
	if r.running != nil {
		return
	}
	r.mu.Lock()
	r.due = number
	r.unacked++
	r.bytes += size
	now := r.unacked >= ackMessages || r.bytes >= ackBytes
	if !now && r.timer == nil {
		r.timer = time.AfterFunc(ackDelay, r.sendAck)
	}
	r.mu.Unlock()
	if now {
		r.sendAck()
	}
}

// sendAck tells the agent what has arrived; later, when a message is being written, whose way may be blocked by a kernel that does
// not read while we are to.
func (r *relay) sendAck() {
	if !r.writing.TryLock() {
		r.mu.Lock()
		defer r.mu.Unlock()
		select {
		case <-r.closing:
		default:
			if r.timer != nil {
				r.timer.Stop()
			}
			r.timer = time.AfterFunc(ackDelay, r.sendAck)
		}
		return
	}
	defer r.writing.Unlock()
	r.mu.Lock()
	due := r.due
	r.unacked, r.bytes = 0, 0
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.mu.Unlock()
	if r.stream != nil {
		_ = r.stream.Send(&agentpb.RelayRequest{Event: &agentpb.RelayRequest_Ack{Ack: due}}) // the reader finds out
	}
}
