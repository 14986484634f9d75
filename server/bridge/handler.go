package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Options of New.
type Options struct {
	Fleet *fleet.Fleet
	// Identify says whose a request is, by its headers, its query or its cookies.
	Identify func(*http.Request) (*fleet.Owner, error)
	// Origins are those of web pages that may use the bridge, such as "https://example.com", besides pages of the daemon's own host.
	Origins []string
	// Patience is how long a client may take nothing of what is written to it until it is given up; DefaultPatience.
	Patience time.Duration
	Logger   *slog.Logger // nil discards
}

// DefaultPatience is Options.Patience when that is 0.
const DefaultPatience = 15 * time.Second

// Handler serves the bridge. The caller closes it.
type Handler struct {
	opts     Options
	mux      *http.ServeMux
	journals string // names the journals of this program: their numbers mean nothing to another one
	buffers  sync.Pool
	upgrader websocket.Upgrader

	life context.Context // ends with Close
	end  context.CancelCauseFunc
	work sync.WaitGroup // desks and viewers

	mu        sync.Mutex // guards what follows; taken before a desk's and an audience's
	desks     map[*sandbox.Context]*desk
	audiences map[*sandbox.Context]*audience
	ending    bool
}

// New makes a handler of the routes that Routes lists.
func New(opts Options) *Handler {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Patience = cmp.Or(opts.Patience, DefaultPatience)
	h := &Handler{
		opts: opts, mux: http.NewServeMux(), journals: uuid.NewString(),
		desks: make(map[*sandbox.Context]*desk), audiences: make(map[*sandbox.Context]*audience),
	}
	h.life, h.end = context.WithCancelCause(context.Background())
	h.upgrader = websocket.Upgrader{
		HandshakeTimeout: opts.Patience, ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: &h.buffers,
		Subprotocols: []string{Protocol},
		CheckOrigin:  func(*http.Request) bool { return true }, // admit did
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			writeProblem(w, status, problemIs(fault.InvalidArgument, reason.Error()))
		},
	}
	for _, r := range h.routes() {
		h.mux.HandleFunc(r.pattern, r.handle)
	}
	return h
}

type route struct {
	pattern string
	handle  http.HandlerFunc
}

func (h *Handler) routes() []route {
	return []route{
		{"GET /sandboxes/{id}/events", h.events},
		{"GET /sandboxes/{id}/contexts/{context}/libraries/{name}", h.library},
		{"GET /sandboxes/{id}/workspace/{path...}", h.inWorkspace(h.readFile)},
		{"PUT /sandboxes/{id}/workspace/{path...}", h.inWorkspace(h.writeFile)},
		{"DELETE /sandboxes/{id}/workspace/{path...}", h.inWorkspace(h.removeFile)},
	}
}

// Routes lists what the handler serves, as patterns of http.ServeMux.
func (h *Handler) Routes() []string {
	var patterns []string
	for _, r := range h.routes() {
		patterns = append(patterns, r.pattern)
	}
	return patterns
}

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// Close tells viewers that the daemon ends, interrupts the runs that were begun over the bridge and waits for both; ctx bounds the
// wait. It is idempotent.
func (h *Handler) Close(ctx context.Context) error {
	h.mu.Lock()
	h.ending = true
	h.mu.Unlock()
	h.end(errEnding)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.work.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter counts a viewer, unless the daemon is ending or its owner has too many. leave must be called at its end. The server has counted
// it among its owner's requests, unless it did not know whose it is.
func (h *Handler) enter(m *fleet.Member, r *http.Request) (leave func(), err error) {
	giveBack := func() {}
	if subprotocolToken(r) != "" {
		if giveBack, err = h.opts.Fleet.Stream(m.Owner()); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending {
		giveBack()
		return nil, errEnding
	}
	h.work.Add(1)
	return func() {
		giveBack()
		h.work.Done()
	}, nil
}

// admit finds the sandbox that a request is for. It has answered when ok is false.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request) (m *fleet.Member, ok bool) {
	if !h.allowed(r) {
		writeProblem(w, http.StatusForbidden, problemIs(fault.Forbidden,
			"pages of origin "+clip(r.Header.Get("Origin"))+" may not use this daemon: list it under its allowed origins"))
		return nil, false
	}
	owner, err := h.opts.Identify(r)
	if token := subprotocolToken(r); err != nil && token != "" {
		owner, err = h.opts.Identify(withToken(r, token))
	}
	if err == nil {
		m, err = h.opts.Fleet.Get(owner, r.PathValue("id"))
	}
	if err != nil {
		refuse(w, err)
		return nil, false
	}
	return m, true
}

// contextOf is the context that a request names; the default one when it names none, which is made when there is none yet.
func contextOf(ctx context.Context, m *fleet.Member, id string) (*sandbox.Context, error) {
	if id != "" {
		return m.Sandbox().Context(id)
	}
	if c := m.Sandbox().DefaultContext(); c != nil {
		return c, nil
	}
	if err := m.Awake(ctx); err != nil {
		return nil, err
	}
	return m.Sandbox().ContextFor(ctx, "")
}

// library serves the JavaScript that figures of a context rely on, as HTML for a sandboxed frame.
func (h *Handler) library(w http.ResponseWriter, r *http.Request) {
	m, ok := h.admit(w, r)
	if !ok {
		return
	}
	c, err := m.Sandbox().Context(r.PathValue("context"))
	if err != nil {
		refuse(w, err)
		return
	}
	library := c.Library(r.PathValue("name"))
	if library == "" {
		writeProblem(w, http.StatusNotFound, problemIs(fault.NotFound, "no figure of this context came with that library"))
		return
	}
	hostile(w.Header(), "")
	h.deliver(w, strings.NewReader(library))
}

// problemOf is an error as clients are told of it.
func problemOf(err error) *problem {
	_, p := classify(err)
	return p
}

func classify(err error) (status int, p *problem) {
	var mistake *requestError
	switch {
	case errors.As(err, &mistake):
		return http.StatusBadRequest, problemIs(fault.InvalidArgument, mistake.problem)
	case errors.Is(err, errDropped):
		return fault.StatusCanceled, problemIs(fault.Canceled, errDropped.Error())
	case errors.Is(err, errEnding):
		return http.StatusServiceUnavailable, problemIs(fault.Unavailable, errEnding.Error())
	}
	f := fault.Of(err)
	return f.Status, problemIs(f.Code, f.Message)
}

func problemIs(code fault.Code, message string) *problem {
	return &problem{Code: string(code), Message: message}
}

func refuse(w http.ResponseWriter, err error) {
	status, p := classify(err)
	writeProblem(w, status, p)
}

func writeProblem(w http.ResponseWriter, status int, p *problem) {
	writeJSON(w, status, map[string]*problem{"error": p})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // of values of ours
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // to a client that is gone nothing more can be said
}

func infoOf(c *sandbox.Context, main *sandbox.Context) *contextInfo {
	return &contextInfo{
		ID: c.ID(), Language: cmp.Or(c.Language(), c.Info().LanguageInfo.Name), Kernel: c.Kernel(), Dir: c.Dir(),
		State: string(c.State()), Default: c == main,
	}
}

func contextsOf(s *sandbox.Sandbox) []*contextInfo {
	infos := []*contextInfo{}
	main := s.DefaultContext()
	for _, c := range s.Contexts() {
		infos = append(infos, infoOf(c, main))
	}
	return infos
}

func joinLines(lines []string) string { return strings.Join(lines, "\n") }
