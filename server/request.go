package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// requestHeader names a request, in logs here and at the client.
const requestHeader = "X-Request-Id"

var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// handle is what every request goes through.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	leave, ok := s.enter()
	if !ok {
		w.Header().Set("Connection", "close")
		fault.Write(w, fleet.ErrClosed)
		return
	}
	defer leave()
	begun := time.Now()
	id := r.Header.Get(requestHeader)
	if !requestID.MatchString(id) {
		id = newRequestID()
		r.Header.Set(requestHeader, id)
	}
	w.Header().Set(requestHeader, id)

	target, forSandbox, err := targetOf(r)
	c := classOf(r)
	if forSandbox {
		c = classOfPort(target.Port)
	}
	if c != classPort {
		singleSlashes(r)
		if !forSandbox {
			c = classOf(r)
		}
	}
	out := s.bind(w, r, c)
	ctx, span := s.tracing.start(r, c)
	seen := &sight{id: id, class: c, target: target.ID}
	if !forSandbox {
		seen.target = sandboxInPath(r.URL.Path)
	}
	aborted := true // unless the handler returns
	defer func() {
		out.finish()
		took := time.Since(begun)
		s.metrics.request(c, out, took)
		s.log(r, out, seen, took, aborted)
		span.end(out.status, seen)
	}()
	s.guard(out, seen, func() {
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
		if forSandbox {
			ctx = fleet.WithTarget(ctx, target)
		}
		s.admit(out, r.WithContext(fleet.WithRequest(ctx, id)), seen)
	})
	aborted = false
}

// sight is what the log tells of a request besides its own words.
type sight struct {
	id     string
	class  class
	target string // id of a sandbox
	owner  string
	panic  any
}

func newRequestID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// guard keeps a panic of a handler from everybody else: it is answered with 500, if there is no answer yet, and else cuts the answer off.
func (s *Server) guard(w *response, seen *sight, serve func()) {
	defer func() {
		what := recover()
		switch what {
		case nil:
			return
		case http.ErrAbortHandler:
			panic(what)
		}
		seen.panic = what
		s.config.Logger.Error("panic", "request", seen.id, "class", seen.class, "sandbox", seen.target,
			"panic", fmt.Sprint(what), "stack", string(debug.Stack()))
		s.metrics.panics.Inc()
		if w.status != 0 {
			panic(http.ErrAbortHandler)
		}
		fault.Fault{Status: http.StatusInternalServerError, Code: fault.Internal, Message: "internal error: the daemon's log tells more"}.Write(w)
	}()
	serve()
}

// admit finds whose request it is, counts it, and hands it on. Whether it may be asked is its dialect's to say.
func (s *Server) admit(w *response, r *http.Request, seen *sight) {
	ctx, c := r.Context(), seen.class
	var owner *fleet.Owner
	switch target, ok := fleet.TargetOf(ctx); {
	case ok:
		if m, err := s.fleet.Find(target.ID); err == nil {
			owner, ctx = m.Owner(), fleet.With(ctx, m)
		}
	case c == classSigned:
		m, err := s.signed(r)
		if err != nil {
			fault.Fault{Status: http.StatusUnauthorized, Code: fault.Unauthorized, Message: err.Error()}.Write(w)
			return
		}
		owner, seen.target = m.Owner(), m.ID()
		ctx = fleet.With(fleet.WithTarget(ctx, fleet.Target{ID: m.ID(), Port: EnvdPort}), m)
	default:
		if o, err := s.keys.Identify(r); err == nil {
			owner, ctx = o, access.With(ctx, o)
		}
	}
	if owner != nil {
		seen.owner = owner.Name
		leave, err := s.fleet.Stream(owner)
		if err != nil {
			fault.Write(w, err)
			return
		}
		defer leave()
	}
	s.dispatch(w, r.WithContext(ctx), c)
}

var errNoSignature = errors.New("missing signature query parameter")

func (s *Server) signed(r *http.Request) (*fleet.Member, error) {
	if s.dialects.Signed == nil {
		return nil, errNoSignature
	}
	return s.dialects.Signed(r)
}

// log tells of a request that is over. Its query may hold secrets and is left out.
func (s *Server) log(r *http.Request, w *response, seen *sight, took time.Duration, aborted bool) {
	level := slog.LevelInfo
	switch {
	case w.status >= 500:
		level = slog.LevelWarn
	case seen.class == classDaemon:
		level = slog.LevelDebug
	}
	ctx := context.WithoutCancel(r.Context())
	if !s.config.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request", seen.id), slog.String("method", r.Method), slog.String("path", clip(access.WithoutKey(r.URL.Path), 256)),
		slog.String("class", string(seen.class)), slog.Int("status", w.status), slog.Int64("bytes", w.written),
		slog.Duration("took", took), slog.String("client", r.RemoteAddr),
	}
	if w.body != nil && w.body.received() > 0 {
		attrs = append(attrs, slog.Int64("received", w.body.received()))
	}
	if seen.target != "" {
		attrs = append(attrs, slog.String("sandbox", seen.target))
	}
	if seen.owner != "" {
		attrs = append(attrs, slog.String("owner", seen.owner))
	}
	if aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	s.config.Logger.LogAttrs(ctx, level, "request", attrs...)
}

func clip(text string, most int) string {
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
