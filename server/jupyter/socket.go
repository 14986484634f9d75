package jupyter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// Times of a websocket, jupyter_server's.
const (
	pingEvery   = 30 * time.Second
	pongWithin  = 90 * time.Second
	writeWithin = 30 * time.Second // and a second for each MiB
	closeWithin = 5 * time.Second
)

// Codes that end a websocket. After 1000 JupyterLab does not come back, after the others it does.
const (
	closeOver     = websocket.CloseNormalClosure
	closeRestart  = websocket.CloseServiceRestart
	closeSlow     = websocket.CloseTryAgainLater
	closeFlooded  = websocket.ClosePolicyViolation
	closeReplaced = websocket.CloseGoingAway
)

// maxHeader bounds a message's header, bytes: kernels repeat it in all that they send for it.
const maxHeader = 16 << 10

// writeBuffers are shared: most websockets are silent most of the time.
var writeBuffers sync.Pool

// socket is one websocket. Its reader is the request's goroutine, its writer another.
type socket struct {
	handler *Handler
	framing messaging.Framing
	proxy   bool
	done    chan struct{} // closed by client.disconnect

	mu     sync.Mutex      // guards what follows
	ws     *websocket.Conn // nil until it is upgraded
	closed bool            // the client has been told why
	ending bool            // the reader is to end
}

// serve passes messages until either side ends.
func (s *socket) serve(ws *websocket.Conn, framing messaging.Framing, proxy bool, c *client) {
	s.framing, s.proxy = framing, proxy
	defer func() { _ = ws.Close() }()
	s.mu.Lock()
	s.ws = ws
	closed := s.closed
	s.mu.Unlock()
	if closed { // while it was upgraded
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.write(ctx, c)
		s.interrupt()
	}()
	stop := s.ping()
	s.read(c)
	stop()
	cancel()
	<-written
}

// ping asks the client every pingEvery whether it is there.
func (s *socket) ping() (stop func()) {
	var timer *time.Timer
	timer = time.AfterFunc(pingEvery, func() {
		if s.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWithin)) == nil {
			timer.Reset(pingEvery)
		}
	})
	return func() { timer.Stop() }
}

// read takes the client's messages. What is none is skipped, as it is by jupyter_server.
func (s *socket) read(c *client) {
	s.ws.SetReadLimit(s.handler.opts.MaxMessage)
	s.ws.SetPongHandler(func(string) error { return s.alive() })
	for s.alive() == nil {
		_, frame, err := s.ws.ReadMessage()
		if err != nil {
			return
		}
		m, err := s.framing.Decode(frame)
		if err == nil && headerSize(m) > maxHeader {
			err = errors.New("its header is too large")
		}
		if err != nil {
			s.handler.opts.Logger.Debug("skip message of a client", "kernel", c.hub.kernel.id(), "error", err)
			continue
		}
		if err := c.take(m); err != nil {
			s.close(closeFlooded, err.Error())
			return
		}
	}
}

var errEnding = errors.New("the websocket ends")

// alive notes that the client is there.
func (s *socket) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return errEnding
	}
	return s.ws.SetReadDeadline(time.Now().Add(pongWithin))
}

func headerSize(m *messaging.Message) int {
	raw, err := m.Header.MarshalJSON()
	if err != nil {
		return maxHeader + 1
	}
	return len(raw)
}

// write gives the client what it is to see.
func (s *socket) write(ctx context.Context, c *client) {
	for {
		m, err := c.next(ctx)
		if err != nil {
			s.end(c, err)
			return
		}
		for _, part := range s.fit(c, m) {
			frame, text, err := s.framing.Encode(part)
			if err != nil { // a header that is no JSON: nobody can be told anything with it
				s.handler.opts.Logger.Warn("skip message of a kernel", "kernel", c.hub.kernel.id(), "error", err)
				continue
			}
			if err := s.send(frame, text); err != nil {
				c.keep(m)
				return
			}
		}
	}
}

func (s *socket) send(frame []byte, text bool) error {
	kind := websocket.BinaryMessage
	if text {
		kind = websocket.TextMessage
	}
	if err := s.ws.SetWriteDeadline(time.Now().Add(writeWithin + time.Duration(len(frame)>>20)*time.Second)); err != nil {
		return err
	}
	return s.ws.WriteMessage(kind, frame)
}

// end says why there is nothing more to see.
func (s *socket) end(c *client, err error) {
	switch {
	case errors.Is(err, kernel.ErrSlowSubscriber):
		c.finish()
		s.close(closeSlow, "this client fell behind its kernel: connect again")
	case errors.Is(err, sandbox.ErrRemoved), errors.Is(err, sandbox.ErrKilled):
		c.finish()
		s.close(closeOver, "the kernel has ended")
	case errors.Is(err, sandbox.ErrDetached):
		c.finish()
		s.close(closeRestart, "the daemon ends")
	}
}

// close tells the client why the websocket ends, and ends it.
func (s *socket) close(code int, reason string) {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	ws := s.ws
	s.mu.Unlock()
	if !first || ws == nil {
		return
	}
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(closeWithin))
	s.interrupt()
}

// closeLinger is how long a client may take to answer a close: its connection is cut then, and what it was sent before is not lost.
const closeLinger = time.Second

// interrupt wakes the reader, so that it ends.
func (s *socket) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	_ = s.ws.SetReadDeadline(time.Now().Add(closeLinger)) // it fails when the connection has ended, and the reader with it
}
