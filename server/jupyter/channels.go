package jupyter

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// subprotocol is the answer to what a client offers: a framing, or else that its key was heard, or nothing.
func subprotocol(r *http.Request) (answer string, framing messaging.Framing) {
	offered := websocket.Subprotocols(r)
	switch {
	case slices.Contains(offered, string(messaging.FramingV1)):
		return string(messaging.FramingV1), messaging.FramingV1
	case slices.Contains(offered, access.TokenProtocol):
		return access.TokenProtocol, messaging.FramingLegacy
	}
	return "", messaging.FramingLegacy
}

// handshakePatience bounds the writing of the answer to an upgrade.
const handshakePatience = 10 * time.Second

// maxSession bounds the name of a session, bytes.
const maxSession = 256

// channels is a kernel's websocket.
func (h *Handler) channels(w http.ResponseWriter, r *http.Request, s scope) {
	k, ok := h.find(w, r, s)
	if !ok {
		return
	}
	if !websocket.IsWebSocketUpgrade(r) {
		writeError(w, http.StatusBadRequest, "invalid_argument", `Can "Upgrade" only to "WebSocket".`)
		return
	}
	session := r.URL.Query().Get("session_id")
	if len(session) > maxSession {
		writeError(w, http.StatusBadRequest, "invalid_argument", "session_id is too long")
		return
	}
	if !h.enter() {
		writeFault(w, fleet.ErrClosed)
		return
	}
	defer h.work.Done()
	if err := k.member.Awake(r.Context()); err != nil && !errors.Is(err, fleet.ErrPaused) { // of a paused one one may watch
		writeFault(w, err)
		return
	}
	so := &socket{handler: h, done: make(chan struct{})}
	c, err := h.meet(k, session, so)
	if err != nil {
		writeFault(w, err)
		return
	}
	defer c.disconnect(so)
	defer context.AfterFunc(r.Context(), func() { so.close(closeRestart, "the daemon ends") })()
	answer, framing := subprotocol(r)
	upgrader := websocket.Upgrader{
		HandshakeTimeout: handshakePatience, WriteBufferPool: &writeBuffers,
		CheckOrigin: func(*http.Request) bool { return true }, // who sent no key of their own was checked with the cookie
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			writeError(w, status, "invalid_argument", reason.Error())
		},
	}
	header := http.Header{}
	if answer != "" {
		header.Set("Sec-WebSocket-Protocol", answer)
	}
	ws, err := upgrader.Upgrade(w, r, header)
	if err != nil {
		return // it has been answered
	}
	so.serve(ws, framing, isProxy(r, framing), c)
}

// meet finds the client that a websocket belongs to, and connects them.
func (h *Handler) meet(k listed, session string, so *socket) (*client, error) {
	for {
		u, err := h.hub(k)
		if err != nil {
			return nil, err
		}
		c, there, err := u.join(session)
		if err != nil {
			u.drop() // if it was made for this
			return nil, err
		}
		if there && c.connect(so) {
			return c, nil
		}
	}
}

// enter begins a request that Close waits for; h.work.Done ends it.
func (h *Handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Add(1)
	return true
}
