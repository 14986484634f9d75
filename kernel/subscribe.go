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

// Subscription is a tap on all that a connection, or a kernel over its restarts, receives. A reader that falls behind is cut off
// with ErrSlowSubscriber; the others notice nothing. The caller ends it with Close.
type Subscription struct {
	leave   func() // takes it off what it listens to
	lasting bool   // the end of a connection is not its end
	opts    SubscribeOptions

	mu      sync.Mutex
	waiting []heard
	bytes   int64
	err     error
	wake    chan struct{} // holds one token when something changed
}

// heard is a message, or where the conversation broke off.
type heard struct {
	message *messaging.Message
	broken  error
}

func newSubscription(opts *SubscribeOptions) *Subscription {
	s := &Subscription{wake: make(chan struct{}, 1)}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.QueueBytes <= 0 {
		s.opts.QueueBytes = defaultQueueBytes
	}
	return s
}

// Subscribe taps the connection from now on.
func (c *Conn) Subscribe(opts *SubscribeOptions) *Subscription {
	s := newSubscription(opts)
	s.leave = func() { c.unsubscribe(s) }
	c.subscribe(s)
	return s
}

// Subscribe taps the kernel from now on, over restarts: where the conversation breaks off, Next returns a *BreakError, and then what
// comes from the kernel's next process, from before its first run on.
func (k *Kernel) Subscribe(opts *SubscribeOptions) *Subscription {
	s := newSubscription(opts)
	s.lasting = true
	s.leave = func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.taps, s)
		k.live.conn.unsubscribe(s)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taps == nil {
		k.taps = make(map[*Subscription]struct{})
	}
	k.taps[s] = struct{}{}
	k.live.conn.subscribe(s)
	return s
}

func (c *Conn) subscribe(s *Subscription) {
	c.update(func(f *inFlight) {
		if f.err != nil {
			s.broken(f.err)
			return
		}
		f.subscriptions[s] = struct{}{}
	})
}

// unsubscribe reports whether s listened.
func (c *Conn) unsubscribe(s *Subscription) (listened bool) {
	c.update(func(f *inFlight) {
		_, listened = f.subscriptions[s]
		delete(f.subscriptions, s)
	})
	return listened
}

// offer is called by the demultiplexer; it never blocks.
func (s *Subscription) offer(m *messaging.Message, claimed bool) {
	if claimed && s.opts.Unclaimed {
		return
	}
	s.add(heard{message: m})
}

// Put lets a message of the caller's own wait behind those that have come, as if it had come too.
func (s *Subscription) Put(m *messaging.Message) { s.add(heard{message: m}) }

// broken is called when the connection has ended.
func (s *Subscription) broken(err error) {
	if s.lasting {
		s.add(heard{broken: err})
		return
	}
	s.end(err)
}

func (s *Subscription) add(h heard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	if s.bytes > s.opts.QueueBytes {
		s.err = ErrSlowSubscriber
	} else {
		s.waiting = append(s.waiting, h)
		s.bytes += h.size()
	}
	s.signal()
}

func (h heard) size() int64 {
	if h.message == nil {
		return messageOverhead
	}
	return sizeOf(h.message)
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

// Next returns the next message, or why there is none: ErrSlowSubscriber, ErrClosed, ErrDead, or the cause of ctx. After a *BreakError
// it may be called again.
func (s *Subscription) Next(ctx context.Context) (*messaging.Message, error) {
	for {
		s.mu.Lock()
		if len(s.waiting) > 0 {
			h := s.waiting[0]
			s.waiting[0] = heard{}
			s.waiting = s.waiting[1:]
			s.bytes -= h.size()
			s.mu.Unlock()
			if h.broken != nil {
				return nil, &BreakError{h.broken}
			}
			return h.message, nil
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
	s.leave()
	s.end(ErrClosed)
	return nil
}
