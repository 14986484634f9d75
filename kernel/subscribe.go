package kernel

import (
	"context"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// SubscribeOptions of Conn.Subscribe.
type SubscribeOptions struct {
	QueueBytes int64 // how far the reader may fall behind, bytes; 16 MiB
	Unclaimed  bool  // only what no run or call of this connection claims: late and foreign messages
}

// Subscription is a tap on all that a connection receives. A reader that falls behind is cut off with
// ErrSlowSubscriber; the others notice nothing. The caller ends it with Close.
type Subscription struct {
	conn *Conn
	opts SubscribeOptions

	mu      sync.Mutex
	waiting []*messaging.Message
	bytes   int64
	err     error
	wake    chan struct{} // holds one token when something changed
}

// Subscribe taps the connection from now on.
func (c *Conn) Subscribe(opts *SubscribeOptions) *Subscription {
	s := &Subscription{conn: c, wake: make(chan struct{}, 1)}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.QueueBytes <= 0 {
		s.opts.QueueBytes = defaultQueueBytes
	}
	c.update(func(f *inFlight) {
		if f.err != nil {
			s.end(f.err)
			return
		}
		f.subscriptions[s] = struct{}{}
	})
	return s
}

// offer is called by the demultiplexer; it never blocks.
func (s *Subscription) offer(m *messaging.Message, claimed bool) {
	if claimed && s.opts.Unclaimed {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	if s.bytes > s.opts.QueueBytes {
		s.err = ErrSlowSubscriber
	} else {
		s.waiting = append(s.waiting, m)
		s.bytes += sizeOf(m)
	}
	s.signal()
}

func (s *Subscription) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.signal()
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Next returns the next message, or why there is none: ErrSlowSubscriber, ErrClosed, ErrDead, or the cause of ctx.
func (s *Subscription) Next(ctx context.Context) (*messaging.Message, error) {
	for {
		s.mu.Lock()
		if len(s.waiting) > 0 {
			m := s.waiting[0]
			s.waiting[0] = nil
			s.waiting = s.waiting[1:]
			s.bytes -= sizeOf(m)
			s.mu.Unlock()
			return m, nil
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Close ends the tap; a waiting Next returns ErrClosed.
func (s *Subscription) Close() error {
	s.conn.update(func(f *inFlight) { delete(f.subscriptions, s) })
	s.end(ErrClosed)
	return nil
}
