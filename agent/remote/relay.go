package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// relayStream is one stream of a relay.
type relayStream struct {
	*connect.BidiStreamForClient[agentpb.RelayRequest, agentpb.RelayResponse]
	session *session
	cancel  context.CancelFunc
}

func (s *relayStream) close() {
	s.cancel()
	_ = s.CloseRequest()
	_ = s.CloseResponse()
}

// relay is a messaging.Transport over the agent. Its stream is opened again when it breaks, and goes on with the next message.
type relay struct {
	k      *kernelProcess
	c      *Client
	client string // names us to the agent

	start   sync.Once
	inbox   chan *messaging.Message // for Recv
	closing chan struct{}           // closed by Close
	ended   chan struct{}           // closed when endErr is set
	endErr  error
	once    sync.Once
	work    sync.WaitGroup

	// Of the reader alone.
	parts    agentpb.Assembler
	decoders map[messaging.Channel]*messaging.Decoder
	next     uint64            // number of the message that is due; 0 before the first stream
	running  *messaging.Header // of the request whose run is under way

	writing sync.Mutex // held while something is written; guards what follows
	stream  *relayStream
	outbox  []outgoing // sent and not acknowledged, or to be sent
	sent    uint64     // the last number that was written to a stream
	number  uint64     // the last number given out
	begun   bool

	mu      sync.Mutex // guards what follows
	due     uint64     // to be acknowledged
	unacked int        // messages, and their bytes, since the last acknowledgement
	bytes   int64
	timer   *time.Timer
	changed chan struct{}      // closed when stream, sent or outbox changed
	cancel  context.CancelFunc // of stream
}

var (
	_ messaging.Transport = (*relay)(nil)
	_ messaging.Pusher    = (*relay)(nil)
)

// Connect opens the relay. It waits until the kernel's sockets are there, and ends early with a *backends.StartError when the process
// ends first.
func (k *kernelProcess) Connect(ctx context.Context) (messaging.Transport, error) {
	if err := k.in.gone(); err != nil {
		return nil, err
	}
	r := &relay{
		k: k, c: k.in.c, client: uuid.NewString(), inbox: make(chan *messaging.Message, inboxSize),
		closing: make(chan struct{}), ended: make(chan struct{}), changed: make(chan struct{}),
		parts: agentpb.Assembler{Max: k.maxFrame}, decoders: make(map[messaging.Channel]*messaging.Decoder),
	}
	for _, channel := range []messaging.Channel{messaging.Shell, messaging.IOPub, messaging.Stdin, messaging.Control} {
		r.decoders[channel] = &messaging.Decoder{Signer: k.signer}
	}
	stream, _, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	r.stream, r.cancel = stream, stream.cancel
	return r, nil
}

// open opens a stream, on another connection when one breaks, and tells what the agent has received of us.
func (r *relay) open(ctx context.Context) (*relayStream, uint64, error) {
	begin := time.Now()
	for try := 1; ; try++ {
		if err := r.c.ready(ctx); err != nil {
			return nil, 0, err
		}
		s, err := r.c.current(ctx)
		if err != nil {
			return nil, 0, err
		}
		stream, opened, err := r.openOn(ctx, s)
		switch {
		case err == nil:
			return stream, opened.Received, r.resume(opened)
		case ctx.Err() != nil:
			return nil, 0, context.Cause(ctx)
		}
		if err = r.c.verdict(s, err); !errors.Is(err, errBroken) {
			return nil, 0, err
		}
		if err := r.c.again(ctx, try, begin); err != nil {
			return nil, 0, err
		}
	}
}

func (r *relay) openOn(ctx context.Context, s *session) (_ *relayStream, _ *agentpb.Opened, err error) {
	own, cancel := context.WithCancel(context.WithValue(r.c.life, sessionKey{}, s))
	defer context.AfterFunc(ctx, cancel)()
	stream := &relayStream{BidiStreamForClient: r.c.kernel.Relay(own), session: s, cancel: cancel}
	defer func() {
		if err != nil {
			stream.close()
		}
	}()
	err = stream.Send(&agentpb.RelayRequest{Event: &agentpb.RelayRequest_Open{
		Open: &agentpb.OpenRelay{Kernel: r.k.id, From: r.next, Client: r.client},
	}})
	if err != nil && !errors.Is(err, io.EOF) { // whose reason Receive tells
		return nil, nil, err
	}
	answer, err := stream.Receive()
	if err != nil {
		return nil, nil, err
	}
	if answer.Opened == nil {
		return nil, nil, fmt.Errorf("remote: %w: relay begins with something else", ErrProtocol)
	}
	return stream, answer.Opened, nil
}

// resume checks that the stream goes on where the last one ended.
func (r *relay) resume(opened *agentpb.Opened) error {
	if r.next != 0 && opened.Next != r.next || opened.Next == 0 {
		return fmt.Errorf("remote: %w: relay goes on at %d where %d was due", ErrProtocol, opened.Next, r.next)
	}
	r.next = opened.Next
	r.parts = agentpb.Assembler{Max: r.k.maxFrame} // half a message comes again
	return nil
}

// begin starts the reader, once.
func (r *relay) begin(handle func(*messaging.Message)) {
	r.start.Do(func() {
		r.writing.Lock()
		defer r.writing.Unlock()
		select {
		case <-r.closing:
			return
		default:
		}
		r.begun = true
		r.work.Go(func() { r.run(handle) })
	})
}

// run reads until the end, over as many streams as it takes.
func (r *relay) run(handle func(*messaging.Message)) {
	defer close(r.ended)
	r.writing.Lock()
	stream := r.stream
	r.writing.Unlock()
	for {
		err := r.read(stream, handle)
		r.drop(stream)
		if !errors.Is(err, errBroken) {
			r.endErr = err
			return
		}
		ctx, cancel := r.untilClosed()
		var received uint64
		stream, received, err = r.open(ctx)
		cancel()
		if err == nil {
			err = r.adopt(stream, received)
		}
		if err != nil {
			r.endErr = err
			return
		}
	}
}

// untilClosed is a context that ends with the relay.
func (r *relay) untilClosed() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.c.life)
	done := make(chan struct{})
	r.work.Go(func() {
		select {
		case <-r.closing:
			cancel()
		case <-done:
		}
	})
	return ctx, sync.OnceFunc(func() { close(done); cancel() })
}

// drop forgets a stream that is over.
func (r *relay) drop(stream *relayStream) {
	stream.cancel() // before the lock, which a writer on it may hold
	r.writing.Lock()
	if r.stream == stream {
		r.stream = nil
	}
	r.writing.Unlock()
	stream.close()
}

// adopt makes a new stream the current one and sends what the last one may have lost.
func (r *relay) adopt(stream *relayStream, received uint64) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	select {
	case <-r.closing:
		stream.close()
		return net.ErrClosed
	default:
	}
	if received > r.number {
		stream.close()
		return fmt.Errorf("remote: %w: it has more messages of ours than there are", ErrProtocol)
	}
	r.stream = stream
	r.mu.Lock()
	r.cancel = stream.cancel
	r.mu.Unlock()
	r.settle(received)
	for _, o := range r.outbox {
		if r.write(o) != nil {
			break // the reader finds out why
		}
	}
	r.change()
	return nil
}
