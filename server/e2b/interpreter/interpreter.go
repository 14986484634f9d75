package interpreter

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Options of New. Nil and zero fields are the defaults.
type Options struct {
	Logger *slog.Logger // hears of runs that end badly; none
	// Keepalive is how long a stream may be silent until a line says that it lives; 5 s.
	Keepalive time.Duration
	// WriteTimeout is how long a client may take to read what is written at once, 64 KiB at most; 30 s.
	WriteTimeout time.Duration
	// StartPatience is how long the answer to a run may wait for a new interpreter; 20 s. Beyond, the start goes on, and its failure
	// is told in the stream.
	StartPatience time.Duration
}

// Handler serves the API. It may be used by several goroutines.
type Handler struct {
	options Options
	mux     *http.ServeMux
}

// The bounds of requests.
const (
	maxBody     = 16 << 20         // bytes
	bodyTimeout = 60 * time.Second // to read it
)

// New makes a handler. A nil opts is the default.
func New(opts *Options) *Handler {
	h := &Handler{mux: http.NewServeMux()}
	if opts != nil {
		h.options = *opts
	}
	o := &h.options
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		field  *time.Duration
		normal time.Duration
	}{{&o.Keepalive, 5 * time.Second}, {&o.WriteTimeout, 30 * time.Second}, {&o.StartPatience, 20 * time.Second}} {
		if *d.field <= 0 {
			*d.field = d.normal
		}
	}
	h.mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { answer(w, "OK") })
	h.mux.HandleFunc("POST /execute", h.execute)
	h.mux.HandleFunc("GET /contexts", h.list)
	h.mux.HandleFunc("POST /contexts", h.create)
	h.mux.HandleFunc("DELETE /contexts/{id}", h.remove)
	h.mux.HandleFunc("POST /contexts/{id}/restart", h.restart)
	return h
}

// ServeHTTP answers a request for the sandbox in its context.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", "*")
		header.Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if clean := path.Clean("/" + r.URL.Path); clean != r.URL.Path { // clients double slashes, and the mux would redirect
		u := *r.URL
		u.Path, u.RawPath = clean, ""
		r2 := *r
		r2.URL = &u
		r = &r2
	}
	h.mux.ServeHTTP(w, r)
}

// answer writes a JSON body.
func answer(w http.ResponseWriter, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // who is gone needs no answer
}

// refuse answers with an error as this API has them: a status and a text.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	h.abortIfGone(r, err)
	var (
		missing *backends.SpecNotFoundError
		start   *backends.StartError
		bad     *requestError
	)
	switch {
	case errors.As(err, &bad):
		http.Error(w, bad.text, bad.status)
	case errors.As(err, &missing): // E2B's own is 500, of which its clients for JavaScript show no text
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.As(err, &start):
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		f := fault.Of(err)
		http.Error(w, f.Message, f.Status)
	}
}

// abortIfGone breaks the connection off when the sandbox has been killed: clients then ask whether it lives.
func (h *Handler) abortIfGone(r *http.Request, err error) {
	member := fleet.From(r.Context())
	select {
	case <-member.Gone():
	default:
		if !errors.Is(err, sandbox.ErrKilled) && !errors.Is(err, fleet.ErrGone) {
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// requestError is what is wrong with a request.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return e.text }

// read decodes a body; an empty one is an empty object.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a writer of a test may have none
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = control.SetReadDeadline(time.Time{}) // the server goes on reading, to notice that the client leaves
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &requestError{http.StatusRequestEntityTooLarge, "the request has more than 16 MiB: write large data to a file of the sandbox"}
	case err != nil:
		return &requestError{http.StatusBadRequest, "the request can't be read: " + err.Error()}
	case len(data) == 0:
		return nil
	}
	err = json.Unmarshal(data, into)
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mistyped):
		text := cmp.Or(mistyped.Field, "the request") + " can't be a JSON " + mistyped.Value
		return &requestError{http.StatusUnprocessableEntity, text}
	case err != nil:
		return &requestError{http.StatusUnprocessableEntity, "the request is not as it should be: " + err.Error()}
	}
	return nil
}
