package remote

import "github.com/ds-sandbox/ds-sandbox/agent/agentpb"

// What goes to a kernel is kept until the agent has passed it on.

// maxOutbox bounds messages that the agent has not acknowledged.
const maxOutbox = 256

// outgoing is a message to the kernel.
type outgoing struct {
	number uint64
	chunks []*agentpb.Chunk
	meter  *agentpb.MeterRun // nil when it is no request that is to be measured
}

// settle forgets messages that the agent has; writing is held.
func (r *relay) settle(received uint64) {
	n := 0
	for n < len(r.outbox) && r.outbox[n].number <= received {
		n++
	}
	if r.outbox = r.outbox[n:]; len(r.outbox) == 0 {
		r.outbox = nil
	}
}

// write writes a message to the stream; writing is held.
func (r *relay) write(o outgoing) error {
	for i, chunk := range o.chunks {
		request := &agentpb.RelayRequest{Event: &agentpb.RelayRequest_Chunk{Chunk: chunk}}
		if i == 0 {
			request.Meter = o.meter
		}
		if err := r.stream.Send(request); err != nil {
			return err
		}
	}
	r.sent = max(r.sent, o.number)
	return nil
}

// change wakes senders that wait.
func (r *relay) change() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// acknowledged forgets messages that the agent has passed on.
func (r *relay) acknowledged(number uint64) {
	if !r.writing.TryLock() {
		return // with the next, or when the stream is opened again
	}
	defer r.writing.Unlock()
	r.settle(number)
	r.change()
}
