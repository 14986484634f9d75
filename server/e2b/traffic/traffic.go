package traffic

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// The ports of the daemon's own services.
const (
	EnvdPort        = 49983
	InterpreterPort = 49999
)

// TokenHeader carries the token for ports of a sandbox that are not open to all.
const TokenHeader = "E2B-Traffic-Access-Token"

// Handler answers requests for ports of sandboxes. The caller ends it with Close.
type Handler struct {
	keys              *access.Keys
	envd, interpreter http.Handler
	proxy             *httputil.ReverseProxy
	transport         *http.Transport
}

// New makes the handler of a fleet's sandbox traffic. envd and interpreter answer for the daemon's own services; keys are what no server
// in a sandbox is to see.
func New(f *fleet.Fleet, keys *access.Keys, envd, interpreter http.Handler) *Handler {
	h := &Handler{keys: keys, envd: envd, interpreter: interpreter, transport: newTransport(f)}
	h.proxy = &httputil.ReverseProxy{
		Rewrite: h.rewrite, Transport: h.transport, FlushInterval: -1, ErrorHandler: h.failed, ErrorLog: log.New(io.Discard, "", 0),
	}
	return h
}

// Close closes connections to servers in sandboxes that no request uses.
func (h *Handler) Close() { h.transport.CloseIdleConnections() }

// ServeHTTP answers a request of whose context the server has said for which sandbox and port it is. When its sandbox is killed the
// client sees its connection break, and never a regular end, by which it would take half an answer for all of it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target, ok := fleet.TargetOf(r.Context())
	if !ok {
		http.Error(w, "the request names no sandbox", http.StatusBadRequest)
		return
	}
	m := fleet.From(r.Context())
	if m == nil {
		notFound(w, r, target)
		return
	}
	// The token for files and processes is envd's own to ask for.
	if token := m.TrafficToken(); token != "" && target.Port != EnvdPort && !fleet.SameSecret(r.Header.Get(TokenHeader), token) {
		forbidden(w, r, target)
		return
	}
	ctx, detach := m.Attach(r.Context())
	defer detach()
	defer context.AfterFunc(ctx, func() {
		if gone(m) {
			cut(w) // the handler may wait for a client that does not read, or send
		}
	})()
	h.serve(w, r.WithContext(ctx), m, target)
	if gone(m) {
		panic(http.ErrAbortHandler)
	}
}

// serve wakes the sandbox and hands the request on.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, m *fleet.Member, target fleet.Target) {
	if err := m.Awake(r.Context()); err != nil {
		answerError(w, r, target, err)
		return
	}
	switch target.Port {
	case EnvdPort:
		h.envd.ServeHTTP(w, r)
	case InterpreterPort:
		h.interpreter.ServeHTTP(w, r)
	default:
		fullDuplex(w) // a server may answer while it is still being asked
		defer endBody(w, r)()
		h.proxy.ServeHTTP(w, r)
	}
}

func gone(m *fleet.Member) bool {
	select {
	case <-m.Gone():
		return true
	default:
		return false
	}
}

// endBody returns what lets go of a body that has not come to its end when the answer has. net/http ends a read that is under way
// then; for one that begins right after, its connection would wait as long as the client sends nothing.
func endBody(w http.ResponseWriter, r *http.Request) func() {
	if r.Body == nil || r.Body == http.NoBody {
		return func() {}
	}
	body := &watchedBody{ReadCloser: r.Body}
	r.Body = body
	return func() {
		if !body.ended.Load() {
			_ = http.NewResponseController(w).SetReadDeadline(past)
		}
	}
}

// watchedBody notes its end.
type watchedBody struct {
	io.ReadCloser
	ended atomic.Bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// cut fails what is being read from a client, or written to it.
func cut(w http.ResponseWriter) {
	control := http.NewResponseController(w)
	_, _ = control.SetReadDeadline(past), control.SetWriteDeadline(past)
}

// fullDuplex has an answer go out before the request's body has come, where the protocol of the connection would have it wait.
func fullDuplex(w http.ResponseWriter) { _ = http.NewResponseController(w).EnableFullDuplex() }

// answerError answers for a request that its sandbox can't be asked.
func answerError(w http.ResponseWriter, r *http.Request, target fleet.Target, err error) {
	if fleet.Dead(err) || errors.Is(err, fleet.ErrPaused) {
		notFound(w, r, target)
		return
	}
	f := fault.Of(err)
	f.SetHeader(w.Header())
	respond(w, r, refusal{SandboxID: target.ID, Message: f.Message, Code: f.Status})
}
