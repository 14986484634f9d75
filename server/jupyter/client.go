package jupyter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// client is one front end of a kernel, over the websockets that it opens one after another.
type client struct {
	hub     *hub
	session string // that it named; without one it ends with its websocket
	view    *sandbox.Attachment
	asked   asked

	mu            sync.Mutex // guards what follows
	socket        *socket    // nil while it is away
	unsent        *messaging.Message
	absence       *time.Timer
	closed        bool
	expecting     int // restarts that somebody asked for, whose breaks are no news
	clientSession string
	kernelSession string
	shell         shell
	asking        string // id of the run that has asked for input
}

func newClient(u *hub, session string) (*client, error) {
	view, err := u.kernel.context.Attach(&kernel.SubscribeOptions{QueueBytes: u.handler.opts.QueueBytes})
	if err != nil {
		return nil, err
	}
	return &client{hub: u, session: session, view: view, clientSession: session}, nil
}

func (c *client) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.socket != nil
}

func (c *client) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed
}

// connect makes s the client's websocket. An earlier one is closed first: it is what the network has lost. It reports false when
// the client has ended meanwhile.
func (c *client) connect(s *socket) bool {
	for {
		c.mu.Lock()
		old := c.socket
		if c.closed {
			c.mu.Unlock()
			return false
		}
		if old == nil {
			c.socket = s
			if c.absence != nil {
				c.absence.Stop()
				c.absence = nil
			}
			c.mu.Unlock()
			return true
		}
		c.mu.Unlock()
		old.close(closeReplaced, "this session has opened another connection")
		<-old.done
	}
}

// disconnect notes that s is gone.
func (c *client) disconnect(s *socket) {
	c.mu.Lock()
	if c.socket == s {
		c.socket = nil
	}
	if c.session != "" && !c.closed {
		c.absence = time.AfterFunc(c.hub.handler.opts.Absence, func() { c.hub.forget(c) })
	}
	c.mu.Unlock()
	close(s.done)
	c.hub.leave(c)
}

// close ends the client; what it has asked for is done all the same.
func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	if c.absence != nil {
		c.absence.Stop()
	}
	s := c.socket
	c.mu.Unlock()
	_ = c.view.Close() // it never fails
	if s != nil {
		s.close(closeRestart, "the daemon ends")
	}
}

// finish notes that there is nothing more to see for the client: a websocket of its session makes another one.
func (c *client) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// next is what the client is to see next. Errors are those of Attachment.Next but for breaks.
func (c *client) next(ctx context.Context) (*messaging.Message, error) {
	c.mu.Lock()
	m := c.unsent
	c.unsent = nil
	c.mu.Unlock()
	if m != nil {
		return m, nil
	}
	for {
		m, err := c.view.Next(ctx)
		if broken := new(kernel.BreakError); errors.As(err, &broken) {
			c.broken()
			continue
		}
		if err != nil {
			return nil, err
		}
		if m == expected {
			c.expectBreak(false)
			continue
		}
		if m = c.sees(m); m != nil {
			c.noteEnd(m)
			return m, nil
		}
	}
}

// keep remembers what a websocket could not take.
func (c *client) keep(m *messaging.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsent = m
}

// leftOut is the type of what stands for a message that was too large to be received.
var leftOut = (*messaging.LeftOut)(nil).MsgType()

// sees is what the client sees of a message: all that is published, and answers to what it asked.
func (c *client) sees(m *messaging.Message) *messaging.Message {
	switch m.Channel {
	case messaging.IOPub:
		c.mu.Lock()
		if m.Header.Session != "" {
			c.kernelSession = m.Header.Session
		}
		c.mu.Unlock()
		switch m.Header.MsgType {
		case "iopub_welcome": // of our own subscription
			return nil
		case leftOut:
			content, err := m.Decode()
			if lost, ok := content.(*messaging.LeftOut); err == nil && ok {
				return c.notice(m, "an output of %d bytes was left out: it is larger than a message may be", lost.Bytes)
			}
			return nil
		}
		return m
	case messaging.Stdin:
		if c.asked.has(m.ParentID()) {
			c.asks(m)
			return m
		}
	case messaging.Shell, messaging.Control:
		if c.asked.answered(m.ParentID()) {
			return m
		}
	}
	return nil
}

// expectBreak notes that somebody has asked for a restart, or that its break is past.
func (c *client) expectBreak(begins bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if begins {
		c.expecting++
	} else {
		c.expecting--
	}
}

// broken is called when the client has heard that the kernel ended.
func (c *client) broken() {
	c.mu.Lock()
	asked := c.expecting > 0
	c.mu.Unlock()
	if asked {
		return
	}
	c.hub.handler.spawn(func() {
		c.awaitRun() // the run that the kernel died of is told first: JupyterLab forgets its runs at a restart
		if c.hub.life.Err() != nil {
			return
		}
		c.view.Put(c.hub.state("restarting")(c))
		c.hub.revive()
	})
}

// maxAsked bounds the requests of a client that wait for an answer; some kernels leave some without.
const maxAsked = 4096

// asked are the ids of requests that wait for an answer, the latest ones.
type asked struct {
	mu    sync.Mutex
	ids   map[string]struct{}
	order []string // a ring, once it is full
	next  int
}

func (a *asked) add(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.ids[id]; known || id == "" {
		return
	}
	if a.ids == nil {
		a.ids = make(map[string]struct{})
	}
	a.ids[id] = struct{}{}
	if len(a.order) < maxAsked {
		a.order = append(a.order, id)
		return
	}
	delete(a.ids, a.order[a.next])
	a.order[a.next] = id
	a.next = (a.next + 1) % maxAsked
}

func (a *asked) has(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.ids[id]
	return ok
}

// answered reports whether a request waited for this answer, which is its last.
func (a *asked) answered(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.ids[id]
	delete(a.ids, id)
	return ok
}
