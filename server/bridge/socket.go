package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Sizes and times of a connection. A thousand of them lie idle in a daemon, so buffers are small; those to write with are shared.
const (
	readBuffer   = 1 << 10
	writeBuffer  = 4 << 10
	chunk        = 256 << 10 // of a large message is written before the next deadline
	pingEvery    = 30 * time.Second
	readPatience = 75 * time.Second // without a pong, or a byte of an upload
	endPatience  = 5 * time.Second  // for the last events of a sandbox that was killed
	maxAnswers   = 200              // that wait to be written
	maxAtOnce    = 16               // requests of one viewer under way
)

// closeTooSlow is the websocket's close code for a viewer that does not take its answers.
const closeTooSlow = 4008

// viewer is one websocket.
type viewer struct {
	handler *Handler
	member  *fleet.Member
	context *sandbox.Context
	conn    *websocket.Conn
	journal *sandbox.JournalReader
	others  *audience // and this one

	server context.Context // ends with the daemon
	life   context.Context // ends with the connection
	end    context.CancelFunc
	tasks  sync.WaitGroup // requests under way
	slots  chan struct{}  // holds one token for each

	pingAt time.Time // of the writer

	mu      sync.Mutex // guards what follows
	answers []*answer  // to be written
	tooSlow bool
	wake    chan struct{} // holds one token when there are answers
}

// events shows a context, over a websocket or as server-sent events.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	m, ok := h.admit(w, r)
	if !ok {
		return
	}
	c, err := contextOf(r.Context(), m, r.FormValue("context"))
	if err != nil {
		refuse(w, err)
		return
	}
	from, err := h.position(r)
	if err != nil {
		refuse(w, err)
		return
	}
	if r.Method == http.MethodHead { // of who wants to know why a websocket was refused
		w.WriteHeader(http.StatusNoContent)
		return
	}
	leave, err := h.enter(m, r)
	if err != nil {
		refuse(w, err)
		return
	}
	defer leave()
	others, part := h.join(c)
	defer part()
	if !websocket.IsWebSocketUpgrade(r) {
		h.serveEvents(w, r, m, c, others, from)
		return
	}
	conn, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	v := &viewer{
		handler: h, member: m, context: c, conn: conn, journal: c.Journal().From(from), others: others,
		slots: make(chan struct{}, maxAtOnce), wake: make(chan struct{}, 1),
	}
	v.server = r.Context()
	v.life, v.end = context.WithCancel(v.server)
	defer context.AfterFunc(h.life, v.end)()
	v.serve()
}

// position is the number of the entry to begin with.
func (h *Handler) position(r *http.Request) (int64, error) {
	text := r.FormValue("after")
	if id := r.Header.Get("Last-Event-Id"); id != "" { // of server-sent events: it has the journal's name too
		journal, number, _ := cutLast(id, '.')
		if journal != h.journals {
			return 1, nil
		}
		text = number
	} else if journal := r.FormValue("journal"); journal != "" && journal != h.journals {
		return 1, nil
	}
	if text == "" {
		return 1, nil
	}
	after, err := strconv.ParseInt(text, 10, 64)
	if err != nil || after < 0 || after == 1<<63-1 {
		return 0, badRequest("after is %q: use the number of the last event that was seen, or leave it out", clip(text))
	}
	return after + 1, nil
}

// serve reads on this goroutine and writes on another until either ends.
func (v *viewer) serve() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		code, reason := v.write()
		deadline := time.Now().Add(v.handler.opts.Patience)
		_ = v.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), deadline) // it may be gone
		v.end()
		_ = v.conn.SetReadDeadline(time.Now().Add(time.Second)) // for its own close frame
	}()
	v.read()
	v.end()
	<-written
	_ = v.conn.Close()
	v.tasks.Wait()
}

// read takes requests until the connection ends.
func (v *viewer) read() {
	v.conn.SetReadLimit(maxRequest)
	extend := func(string) error { // and not once more when the writer has said when it ends
		return errors.Join(v.conn.SetReadDeadline(time.Now().Add(readPatience)), v.life.Err())
	}
	v.conn.SetPongHandler(extend)
	for {
		if extend("") != nil {
			return
		}
		kind, data, err := v.conn.ReadMessage()
		if err != nil {
			return
		}
		if kind != websocket.TextMessage {
			v.answer(&answer{Error: problemOf(badRequest("requests are text, not binary"))})
			continue
		}
		r, err := readRequest(data)
		if err != nil {
			v.answer(&answer{ID: r.ID, Error: problemOf(err)})
			continue
		}
		v.dispatch(r)
	}
}

// answer puts an answer in line to be written. It never blocks: who calls it may have a kernel wait.
func (v *viewer) answer(a *answer) {
	a.Type = "answer"
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.answers) == maxAnswers {
		v.tooSlow = true
	} else {
		v.answers = append(v.answers, a)
	}
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

func (v *viewer) takeAnswers() (answers []*answer, tooSlow bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	answers, v.answers = v.answers, nil
	return answers, v.tooSlow
}

// write tells events and answers until the connection ends, and why it does.
func (v *viewer) write() (code int, reason string) {
	ping := time.NewTimer(pingEvery)
	defer ping.Stop()
	v.pingAt = time.Now().Add(pingEvery)
	err := v.send(v.handler.greet(v.member, v.context))
	var ended <-chan time.Time // the sandbox was killed, and its last events have had their time
	gone, live := v.member.Gone(), false
	for err == nil {
		answers, tooSlow := v.takeAnswers()
		if tooSlow {
			return closeTooSlow, "too many answers were not read in time"
		}
		for _, a := range answers {
			if err = v.send(a); err != nil {
				break
			}
		}
		if err != nil || v.life.Err() != nil {
			break
		}
		e, changed, failed := v.others.next(v.journal)
		if e != nil || failed != nil {
			if err = failed; err == nil && e.data != nil {
				err = v.sendData(e.data)
			}
			continue
		}
		if changed == nil {
			return v.farewell()
		}
		if !live {
			live = true
			err = v.send(&event{Type: "live"})
			continue
		}
		select {
		case <-changed:
		case <-v.wake:
		case <-v.life.Done():
		case <-ping.C:
			err = v.pingIfDue()
			ping.Reset(time.Until(v.pingAt))
		case <-gone:
			gone, ended = nil, time.After(endPatience)
		case <-ended:
			return v.farewell()
		}
	}
	switch {
	case v.handler.life.Err() != nil || v.server.Err() != nil:
		return websocket.CloseGoingAway, errEnding.Error()
	case err != nil && v.life.Err() == nil:
		v.handler.opts.Logger.Debug("viewer lost", "sandbox", v.member.ID(), "error", err)
		_ = v.conn.Close() // what is half written can't be followed by anything
	}
	return websocket.CloseNormalClosure, ""
}

// farewell is the last event.
func (v *viewer) farewell() (code int, reason string) {
	e := goodbye(v.member)
	_ = v.send(e) // it is the end either way
	return websocket.CloseNormalClosure, e.Reason
}

func goodbye(m *fleet.Member) *event {
	select {
	case <-m.Gone():
		return &event{Type: "gone", Reason: "killed"}
	default:
		return &event{Type: "gone", Reason: "removed"}
	}
}

// greet is the first event.
func (h *Handler) greet(m *fleet.Member, c *sandbox.Context) *event {
	s := m.Sandbox()
	return &event{Type: "hello", hello: &hello{
		Protocol: Protocol, Sandbox: m.ID(), Journal: h.journals, Context: infoOf(c, s.DefaultContext()), Contexts: contextsOf(s),
	}}
}

// send writes a message.
func (v *viewer) send(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return v.sendData(data)
}

// sendData writes an encoded message. A large one is written in pieces, each with its own deadline: who reads slowly has the time they
// need, and who does not read at all is given up.
func (v *viewer) sendData(data []byte) error {
	if err := v.pingIfDue(); err != nil {
		return err
	}
	if err := v.conn.SetWriteDeadline(time.Now().Add(v.handler.opts.Patience)); err != nil {
		return err
	}
	if len(data) <= chunk {
		return v.conn.WriteMessage(websocket.TextMessage, data)
	}
	w, err := v.conn.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(chunk, len(data))
		if err := errors.Join(v.conn.SetWriteDeadline(time.Now().Add(v.handler.opts.Patience)), v.pingIfDue()); err != nil {
			return err
		}
		if _, err := w.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return w.Close()
}

// pingIfDue asks for a sign of life from time to time, also in the middle of a message.
func (v *viewer) pingIfDue() error {
	now := time.Now()
	if now.Before(v.pingAt) {
		return nil
	}
	v.pingAt = now.Add(pingEvery)
	return v.conn.WriteControl(websocket.PingMessage, nil, now.Add(v.handler.opts.Patience))
}
