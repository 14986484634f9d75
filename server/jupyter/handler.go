package jupyter

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Options of New. Nil and zero fields are the defaults.
type Options struct {
	// KernelTimeout is how long a sandbox that POST /api/kernels made lives while no websocket is open and nothing runs; 1 h.
	KernelTimeout time.Duration
	QueueBytes    int64         // how far a client may fall behind its kernel, and what is kept for one that is away; 32 MiB
	Absence       time.Duration // how long a client that named its session may be away before it is forgotten; 10 min
	MaxMessage    int64         // largest message taken from a client, bytes; 128 MiB
	Logger        *slog.Logger  // nil discards
}

func (o *Options) withDefaults(f *fleet.Fleet) Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.KernelTimeout = min(cmp.Or(out.KernelTimeout, time.Hour), f.MaxTimeout())
	out.QueueBytes = cmp.Or(out.QueueBytes, 32<<20)
	out.Absence = cmp.Or(out.Absence, 10*time.Minute)
	out.MaxMessage = cmp.Or(out.MaxMessage, 128<<20)
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out
}

// Handler serves the interface. The caller ends it with Close.
type Handler struct {
	fleet   *fleet.Fleet
	keys    *access.Keys
	opts    Options // complete
	mux     *http.ServeMux
	started time.Time

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup // goroutines that outlive a request

	mu     sync.Mutex               // guards what follows; taken before a hub's
	hubs   map[string]*hub          // by kernel id; those with clients
	made   map[string]*fleet.Member // by kernel id; what POST made
	closed bool
}

// New serves the kernels of a fleet's sandboxes to those who have a key.
func New(f *fleet.Fleet, keys *access.Keys, opts *Options) *Handler {
	h := &Handler{
		fleet: f, keys: keys, opts: opts.withDefaults(f), mux: http.NewServeMux(), started: time.Now(),
		hubs: make(map[string]*hub), made: make(map[string]*fleet.Member),
	}
	h.life, h.end = context.WithCancel(context.Background())
	h.routes()
	h.work.Go(h.keep)
	return h
}

// calls are what is answered.
var calls = []struct {
	pattern string
	answer  func(*Handler, http.ResponseWriter, *http.Request, scope)
}{
	{"GET /api/status", (*Handler).status},
	{"GET /api/me", (*Handler).me},
	{"GET /api/kernelspecs", (*Handler).kernelSpecs},
	{"GET /api/kernelspecs/{name}", (*Handler).kernelSpec},
	{"GET /api/kernels", (*Handler).list},
	{"POST /api/kernels", (*Handler).create},
	{"GET /api/kernels/{id}", (*Handler).show},
	{"DELETE /api/kernels/{id}", (*Handler).remove},
	{"POST /api/kernels/{id}/interrupt", (*Handler).interrupt},
	{"POST /api/kernels/{id}/restart", (*Handler).restart},
	{"GET /api/kernels/{id}/channels", (*Handler).channels},
}

const versionPattern = "GET /api" // for whoever asks

// Routes are the calls that are answered, "METHOD /path".
func Routes() []string {
	patterns := []string{versionPattern}
	for _, c := range calls {
		patterns = append(patterns, c.pattern)
	}
	return patterns
}

func (h *Handler) routes() {
	h.mux.HandleFunc(versionPattern, h.version)
	for _, c := range calls {
		h.mux.HandleFunc(c.pattern, h.scoped(func(w http.ResponseWriter, r *http.Request, s scope) { c.answer(h, w, r, s) }))
	}
	for prefix, instead := range map[string]string{
		"/api/sessions":  "a front end keeps its own; kernels are at /api/kernels",
		"/api/contents":  "a sandbox's files are served by E2B's interface",
		"/api/terminals": "terminals are served by E2B's interface",
	} {
		refuse := func(w http.ResponseWriter, _ *http.Request, _ scope) {
			writeError(w, http.StatusNotImplemented, "unsupported", prefix+" is not served: "+instead)
		}
		h.mux.HandleFunc(prefix, h.scoped(refuse))
		h.mux.HandleFunc(prefix+"/", h.scoped(refuse))
	}
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "not_found", "nothing is served at "+r.Method+" "+clip(r.URL.Path))
	})
}

// clip bounds what an answer repeats of a request.
func clip(s string) string { return s[:min(len(s), 200)] }

// cutPath splits a path into the sandbox that it names, if it does, and the rest; keyed says that a key stood before. Some clients write
// the whole URL in lower case, which keys and ids are in already.
func cutPath(path string) (keyed bool, sandbox, rest string) {
	rest = path
	if after, ok := strings.CutPrefix(rest, access.KeyPath); ok {
		_, tail, _ := strings.Cut(after, "/")
		keyed, rest = true, "/"+tail
	}
	if after, ok := strings.CutPrefix(rest, "/sandboxes/"); ok {
		if name, tail, ok := strings.Cut(after, "/jupyter/"); ok && !strings.Contains(name, "/") {
			sandbox, rest = name, "/"+tail
		}
	}
	return keyed, sandbox, rest
}

// ServeHTTP answers a request, also those of other sites' pages when they bring a key.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	// Without credentials: another site's page gets nothing by the browser's cookie.
	header.Set("Access-Control-Allow-Origin", "*")
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Headers", "accept, authorization, content-type, x-api-key, x-xsrftoken")
		header.Set("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	keyed, sandbox, rest := cutPath(r.URL.Path)
	ctx := context.WithValue(r.Context(), sandboxKey{}, sandbox)
	if keyed { // before the path is another one
		owner, err := h.keys.Identify(r)
		if err != nil {
			writeFault(w, err)
			return
		}
		ctx = access.With(ctx, owner)
	}
	r = r.Clone(ctx)
	r.URL.Path, r.URL.RawPath = path.Clean(rest), "" // a slash at the end, or two in a row, mean nothing
	h.mux.ServeHTTP(w, r)
}

// sandboxKey is where a request's context has the id of the sandbox that its path names.
type sandboxKey struct{}

// scope is what a request may see: an owner's kernels, or those of one sandbox.
type scope struct {
	owner  *fleet.Owner
	member *fleet.Member // nil: all of the owner's
	base   string        // of the interface, for addresses
}

// members are the sandboxes of a scope.
func (h *Handler) members(s scope) []*fleet.Member {
	if s.member != nil {
		return []*fleet.Member{s.member}
	}
	return h.fleet.Members(s.owner)
}

// scoped finds out who asks, and for what.
func (h *Handler) scoped(serve func(http.ResponseWriter, *http.Request, scope)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		owner, err := h.keys.Identify(r)
		if err != nil {
			writeFault(w, err)
			return
		}
		s := scope{owner: owner}
		if id, _ := r.Context().Value(sandboxKey{}).(string); id != "" {
			if s.member, err = h.fleet.Get(owner, id); err != nil {
				writeFault(w, err)
				return
			}
			s.base = "/sandboxes/" + id + "/jupyter"
		}
		serve(w, r, s)
	}
}

// Close ends every websocket and waits for all goroutines. Kernels live on with the fleet. It is idempotent.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closed = true
	hubs := make([]*hub, 0, len(h.hubs))
	for _, u := range h.hubs {
		hubs = append(hubs, u)
	}
	h.mu.Unlock()
	h.end()
	for _, u := range hubs {
		u.close()
	}
	h.work.Wait()
}

// spawn does something in the background, unless the handler is closed.
func (h *Handler) spawn(task func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.work.Go(task)
	return true
}
