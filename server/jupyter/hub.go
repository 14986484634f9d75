package jupyter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Bounds of a kernel's clients.
const (
	maxClients = 64 // connected and away
	maxAway    = 4  // away; the one that left first is forgotten for another
)

// How often in a row a kernel that dies is started afresh, and how long it has to live for the count to begin anew.
const (
	maxRevivals  = 5
	stableAfter  = 10 * time.Second
	startPatient = 2 * time.Minute
)

// hub is a kernel that has clients.
type hub struct {
	handler *Handler
	kernel  listed
	life    context.Context // ends with the member, the hub or the handler
	end     func()
	busy    sync.WaitGroup // what clients have asked for, also those that have left

	mu       sync.Mutex // guards what follows; taken before a client's
	clients  []*client  // connected ones, and those that are away in the order of their leaving
	over     bool       // nobody may join
	reviving bool
	revivals int
	revived  time.Time
}

// hub finds the kernel's hub or makes it. Error: fleet.ErrClosed.
func (h *Handler) hub(k listed) (*hub, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fleet.ErrClosed
	}
	if u := h.hubs[k.id()]; u != nil {
		return u, nil
	}
	u := &hub{handler: h, kernel: k}
	ctx, cancel := context.WithCancel(h.life)
	attached, detach := k.member.Attach(ctx)
	u.life, u.end = attached, func() { detach(); cancel() }
	h.hubs[k.id()] = u
	return u, nil
}

// known is the kernel's hub; nil when it has no clients.
func (h *Handler) known(id string) *hub {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hubs[id]
}

// connections is how many websockets of a kernel are open.
func (h *Handler) connections(id string) int {
	u := h.known(id)
	if u == nil {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for _, c := range u.clients {
		if c.connected() {
			n++
		}
	}
	return n
}

func (h *Handler) reviving(id string) bool {
	u := h.known(id)
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.reviving
}

// errCrowded says that a kernel has as many clients as it may have.
var errCrowded = &fleet.LimitError{Quota: fleet.QuotaStreams, Allowed: maxClients, Note: "of one kernel", RetryAfter: time.Second}

// join gives a websocket its client: the one of its session that is here or away, or a new one. It reports false when the hub has just
// ended and another is to be asked.
func (u *hub) join(session string) (*client, bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		return nil, false, nil
	}
	for _, c := range u.clients {
		if session != "" && c.session == session && c.alive() {
			return c, true, nil
		}
	}
	if len(u.clients) >= maxClients {
		return nil, true, errCrowded
	}
	c, err := newClient(u, session)
	if err != nil {
		return nil, true, err
	}
	u.clients = append(u.clients, c)
	return c, true, nil
}

// leave makes room when a client went away; those beyond maxAway are forgotten, the first first.
func (u *hub) leave(c *client) {
	var forgotten []*client
	u.mu.Lock()
	u.take(c)
	if c.session != "" && c.alive() && !u.over {
		u.clients = append(u.clients, c)
	} else {
		forgotten = append(forgotten, c)
	}
	away := 0
	for i := len(u.clients) - 1; i >= 0; i-- {
		if other := u.clients[i]; !other.connected() {
			if away++; away > maxAway {
				u.take(other)
				forgotten = append(forgotten, other)
			}
		}
	}
	u.mu.Unlock()
	u.drop(forgotten...)
}

// take removes a client from the list; mu is held.
func (u *hub) take(c *client) {
	for i, other := range u.clients {
		if other == c {
			u.clients = append(u.clients[:i:i], u.clients[i+1:]...)
			return
		}
	}
}

// forget ends a client that has been away for too long.
func (u *hub) forget(c *client) {
	u.mu.Lock()
	away := !c.connected()
	if away {
		u.take(c)
	}
	u.mu.Unlock()
	if away {
		u.drop(c)
	}
}

// drop ends clients that are off the list, and the hub when none is left.
func (u *hub) drop(clients ...*client) {
	for _, c := range clients {
		c.close()
	}
	h := u.handler
	h.mu.Lock()
	defer h.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.clients) > 0 || u.over {
		return
	}
	u.over = true
	if h.hubs[u.kernel.id()] == u {
		delete(h.hubs, u.kernel.id())
	}
	if h.closed {
		u.end()
		return
	}
	// What its clients have asked for before they left is still done.
	h.work.Go(func() {
		u.busy.Wait()
		u.end()
	})
}

// close ends the hub's clients because the handler ends.
func (u *hub) close() {
	u.mu.Lock()
	u.over = true
	clients := u.clients
	u.clients = nil
	u.mu.Unlock()
	for _, c := range clients {
		c.close()
	}
	u.end()
}

// spawn does something that a client has asked for, unless the handler is closed.
func (u *hub) spawn(task func()) bool {
	u.busy.Add(1)
	if u.handler.spawn(func() {
		defer u.busy.Done()
		task()
	}) {
		return true
	}
	u.busy.Done()
	return false
}

// all are the clients of now.
func (u *hub) all() []*client {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*client(nil), u.clients...)
}

// revive starts a kernel afresh that has died while it had clients, as jupyter_server does; one that dies again and again stays dead.
func (u *hub) revive() {
	u.mu.Lock()
	if u.reviving || u.over {
		u.mu.Unlock()
		return
	}
	if time.Since(u.revived) > stableAfter {
		u.revivals = 0
	}
	u.revivals++
	tired := u.revivals > maxRevivals
	u.reviving = !tired
	u.mu.Unlock()
	if tired {
		u.tell(u.state("dead"))
		return
	}
	u.handler.spawn(func() {
		ctx, cancel := context.WithTimeout(u.life, startPatient)
		defer cancel()
		err := u.kernel.context.Revive(ctx)
		u.mu.Lock()
		u.reviving, u.revived = false, time.Now()
		u.mu.Unlock()
		if err != nil && u.life.Err() == nil {
			u.handler.opts.Logger.Warn("start kernel afresh", "sandbox", u.kernel.member.ID(), "kernel", u.kernel.id(), "error", err)
			u.tell(u.state("dead"))
		}
	})
}

// state is a status that the server publishes for a kernel that can't.
func (u *hub) state(state messaging.ExecutionState) func(c *client) *messaging.Message {
	return func(c *client) *messaging.Message {
		return c.own(messaging.IOPub, nil, &messaging.Status{ExecutionState: state})
	}
}

// tell lets every client hear something, behind what they have heard already.
func (u *hub) tell(what func(c *client) *messaging.Message) {
	for _, c := range u.all() {
		c.view.Put(what(c))
	}
}

// renew restarts a kernel because somebody asked for it. Its clients hear of that from the new one.
func (h *Handler) renew(ctx context.Context, k listed) error {
	var clients []*client
	if u := h.known(k.id()); u != nil {
		clients = u.all()
	}
	for _, c := range clients {
		c.expectBreak(true)
	}
	err := k.context.Restart(ctx)
	for _, c := range clients {
		if err != nil && !fleet.Dead(err) {
			c.view.Put(c.own(messaging.IOPub, nil, &messaging.Status{ExecutionState: "dead"}))
		}
		c.view.Put(expected) // behind the break
	}
	return err
}

// expected stands behind a break that was asked for. Clients don't see it.
var expected = &messaging.Message{Header: messaging.Header{MsgType: "ds_sandbox_renewed"}}

// discard ends a kernel, and with it the sandbox that was made for it if there is no other context in it.
func (h *Handler) discard(ctx context.Context, k listed) error {
	h.mu.Lock()
	made := h.made[k.id()] != nil
	h.mu.Unlock()
	if made && len(k.member.Sandbox().Contexts()) == 1 {
		return k.member.Kill(ctx)
	}
	return k.context.Remove(ctx)
}

// keepAlive puts off the end of the sandboxes made here that somebody uses.
func (h *Handler) keepAlive() {
	h.mu.Lock()
	made := make(map[string]*fleet.Member, len(h.made))
	for id, m := range h.made {
		select {
		case <-m.Gone():
			delete(h.made, id)
		default:
			made[id] = m
		}
	}
	h.mu.Unlock()
	for id, m := range made {
		if h.connections(id) == 0 && !runs(m) {
			continue
		}
		if err := m.Extend(h.opts.KernelTimeout); err != nil && !errors.Is(err, fleet.ErrPaused) && !fleet.Dead(err) {
			h.opts.Logger.Warn("put off the end of a kernel", "sandbox", m.ID(), "error", err)
		}
	}
}

// runs reports whether something runs in a sandbox.
func runs(m *fleet.Member) bool {
	for _, c := range m.Sandbox().Contexts() {
		if s := c.State(); s == "busy" || s == "stuck" {
			return true
		}
	}
	return false
}

// failure is what is told of an error.
func failure(err error) string {
	f := fault.Of(err)
	if f.Status == http.StatusInternalServerError {
		return f.Message
	}
	return fmt.Sprintf("%s (%s)", f.Message, f.Code)
}
