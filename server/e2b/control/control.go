package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// EnvdVersion is the version of E2B's in-sandbox service whose features sandboxes have here. The SDKs ask for more the higher it is.
const EnvdVersion = "0.6.13"

// clientID is what clients once needed to reach a sandbox, and still want to see.
const clientID = "dssandbox"

// Options of New. Nil and zero fields are the defaults.
type Options struct {
	// Domain is what clients make the host names of sandboxes' ports from, PORT-ID.Domain; it may have a port. Without one they use
	// what they are configured with.
	Domain string
}

// Handler answers the control plane's calls.
type Handler struct {
	fleet  *fleet.Fleet
	keys   *access.Keys
	domain string
	mux    *http.ServeMux
}

// call is one call of an owner's. What it returns is answered as package fault has it.
type call func(h *Handler, w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error

// route is a call's method and path.
type route struct {
	pattern string
	call    call
}

// routes are all calls that are answered. They are more than the SDKs of today use: those of earlier years still work.
var routes = []route{
	{"POST /sandboxes", (*Handler).createV1},
	{"POST /v2/sandboxes", (*Handler).createV2},
	{"GET /sandboxes", (*Handler).listV1},
	{"GET /v2/sandboxes", (*Handler).listV2},
	{"GET /sandboxes/metrics", (*Handler).metricsOfMany},
	{"GET /sandboxes/{id}", (*Handler).get},
	{"DELETE /sandboxes/{id}", (*Handler).kill},
	{"POST /sandboxes/{id}/timeout", (*Handler).setTimeout},
	{"POST /sandboxes/{id}/refreshes", (*Handler).refresh},
	{"POST /sandboxes/{id}/connect", (*Handler).connect},
	{"POST /v2/sandboxes/{id}/connect", (*Handler).connect},
	{"POST /sandboxes/{id}/resume", (*Handler).resume},
	{"POST /sandboxes/{id}/pause", (*Handler).pause},
	{"POST /sandboxes/{id}/snapshots", (*Handler).snapshot},
	{"POST /sandboxes/{id}/fork", (*Handler).fork},
	{"GET /sandboxes/{id}/metrics", (*Handler).metrics},
	{"GET /sandboxes/{id}/logs", (*Handler).logsV1},
	{"GET /v2/sandboxes/{id}/logs", (*Handler).logsV2},
	{"PUT /sandboxes/{id}/network", (*Handler).setNetwork},
	{"GET /snapshots", (*Handler).listSnapshots},
	{"GET /templates", (*Handler).listTemplates},
	{"GET /templates/aliases/{alias}", (*Handler).templateByAlias},
	{"DELETE /templates/{id}", (*Handler).removeTemplate},
}

// Routes are the calls that are answered, "METHOD /path".
func Routes() []string {
	patterns := make([]string, len(routes))
	for i, r := range routes {
		patterns[i] = r.pattern
	}
	return patterns
}

// New makes the handler of a fleet's control plane, for owners of these keys.
func New(f *fleet.Fleet, keys *access.Keys, opts *Options) *Handler {
	h := &Handler{fleet: f, keys: keys, mux: http.NewServeMux()}
	if opts != nil {
		h.domain = opts.Domain
	}
	for _, r := range routes {
		h.handle(r.pattern, r.call)
	}
	for _, part := range refused {
		for _, pattern := range part.patterns {
			h.handle(pattern, func(*Handler, http.ResponseWriter, *http.Request, *fleet.Owner) error {
				return refusef(fault.Unsupported, "not supported: %s", part.why)
			})
		}
	}
	h.handle("/", func(_ *Handler, _ http.ResponseWriter, r *http.Request, _ *fleet.Owner) error {
		return refusef(fault.NotFound, "there is no %s %.200q here", r.Method, r.URL.Path)
	})
	return h
}

// handle answers a pattern by a call, to who has a key.
func (h *Handler) handle(pattern string, call call) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		owner, err := h.keys.Identify(r)
		if err == nil {
			err = call(h, w, r, owner)
		}
		if err != nil {
			write(w, err)
		}
	})
}

// ServeHTTP answers a request whose path has single slashes.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// member finds the sandbox that a request names. Old clients put their own name behind the id, and a dash between.
func (h *Handler) member(r *http.Request, owner *fleet.Owner) (*fleet.Member, error) {
	id, _, _ := strings.Cut(r.PathValue("id"), "-")
	return h.fleet.Get(owner, id)
}

// refusal is an error that this package finds itself.
type refusal struct{ fault fault.Fault }

func (e *refusal) Error() string { return e.fault.Message }

func write(w http.ResponseWriter, err error) {
	var own *refusal
	if errors.As(err, &own) {
		own.fault.Write(w)
		return
	}
	fault.Write(w, err)
}

// describe is an error as the entry of a list that holds others.
func describe(err error) *errorBody {
	f := fault.Of(err)
	return &errorBody{Code: f.Status, Message: f.Message}
}

// answer writes a body; none when it is nil.
func answer(w http.ResponseWriter, status int, body any) error {
	w.Header().Set("Cache-Control", "no-store")
	if body == nil {
		w.WriteHeader(status)
		return nil
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // who does not read it has gone
	return nil
}
