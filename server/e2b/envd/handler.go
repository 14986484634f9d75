package envd

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Handler serves the API of whichever sandbox a request is for.
type Handler struct {
	fleet *fleet.Fleet
	mux   *http.ServeMux

	mu    sync.Mutex // guards known
	known map[*fleet.Member]*state
}

// maxMessage bounds a message of the services, bytes: input for a process comes in one.
const maxMessage = 16 << 20

// New makes a handler for the sandboxes of a fleet.
func New(f *fleet.Fleet) *Handler {
	h := &Handler{fleet: f, mux: http.NewServeMux(), known: make(map[*fleet.Member]*state)}
	h.mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	h.mux.HandleFunc("GET /files", h.plain(h.download))
	h.mux.HandleFunc("POST /files", h.plain(h.upload))
	h.mux.HandleFunc("/files", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, refusef(http.StatusMethodNotAllowed, "use GET to read a file, POST to write some"))
	})
	h.mux.HandleFunc("POST /files/compose", h.plain(h.compose))
	h.mux.HandleFunc("GET /metrics", h.plain(h.metrics))
	h.mux.HandleFunc("GET /envs", h.plain(h.envs))
	options := []connect.HandlerOption{connect.WithReadMaxBytes(maxMessage), connect.WithInterceptors(interceptor{})}
	h.mux.Handle(envdpb.NewFilesystemHandler(&filesystem{h}, options...))
	h.mux.Handle(envdpb.NewProcessHandler(&processes{h}, options...))
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, refusef(http.StatusNotFound, "there is no %.100q here", r.URL.Path))
	})
	return h
}

// ServeHTTP serves a request whose context has the member that it is for.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "*")
	// What a sandbox holds is shown in no place where it could act as a page of ours.
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", "*")
		header.Set("Access-Control-Allow-Headers", "*, Authorization")
		header.Set("Access-Control-Max-Age", "7200")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	m := fleet.From(r.Context())
	if m == nil {
		writeError(w, refusef(http.StatusNotFound, "the request is for no sandbox"))
		return
	}
	ctx, detach := m.Attach(r.Context())
	defer detach()
	r = r.WithContext(ctx)
	if path := strings.TrimLeft(r.URL.Path, "/"); "/"+path != r.URL.Path { // doubled slashes, which the mux would redirect
		clone := *r.URL
		clone.Path, clone.RawPath = "/"+path, ""
		r.URL = &clone
	}
	if err := h.admit(m, r); err != nil {
		writeError(w, err)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// plain serves a plain request; an error is the answer as long as none has begun, and else cuts it.
func (h *Handler) plain(do func(w http.ResponseWriter, r *http.Request, m *fleet.Member) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer := &answer{ResponseWriter: w}
		err := do(answer, r, fleet.From(r.Context()))
		cutIfGone(r.Context())
		switch {
		case err == nil:
		case answer.begun:
			panic(http.ErrAbortHandler)
		default:
			writeError(w, err)
		}
	}
}

// answer knows whether it has begun.
type answer struct {
	http.ResponseWriter
	begun bool
}

func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// cutIfGone ends the connection of a request whose sandbox was killed. Clients take a proper end of an answer for the end of what it
// tells of (section 3.4).
func cutIfGone(ctx context.Context) {
	if errors.Is(context.Cause(ctx), fleet.ErrGone) {
		panic(http.ErrAbortHandler)
	}
}
