package server

import (
	"context"
	"net/http"

	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Dialects are the protocols that the daemon speaks. A nil one is answered with 501.
type Dialects struct {
	// Traffic answers requests for a port of a sandbox. fleet.TargetOf has the port, and fleet.From the member, nil when there is none.
	Traffic http.Handler
	// Signed finds the sandbox of a file that is asked for by a signature alone; its error is answered with 401.
	Signed func(r *http.Request) (*fleet.Member, error)

	Control http.Handler // E2B's control plane, and all that nobody else is for
	Bridge  http.Handler // /sandboxes/{id}/events, .../workspace/..., .../contexts/...
	Jupyter http.Handler // /api/...
	Page    http.Handler // /, /ui/...

	// Close ends what the handlers have begun besides requests; nil when that is nothing.
	Close func(context.Context) error
}

// Mount gives the server other dialects than its own. It is called before Serve.
func (s *Server) Mount(d Dialects) { s.dialects = d }

// dispatch hands a request to its dialect. Of a sandbox's request the member is in its context already.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, c class) {
	d := &s.dialects
	switch c {
	case classEnvd, classInterpreter, classPort, classSigned:
		serve(w, r, d.Traffic)
	case classDaemon:
		s.own.ServeHTTP(w, r)
	case classJupyter:
		serve(w, r, d.Jupyter)
	case classBridge:
		serve(w, r, d.Bridge)
	case classPage:
		serve(w, r, d.Page)
	default:
		serve(w, r, d.Control)
	}
}

func serve(w http.ResponseWriter, r *http.Request, h http.Handler) {
	if h == nil {
		fault.Fault{Status: http.StatusNotImplemented, Code: fault.Unsupported, Message: "this daemon does not speak that protocol"}.Write(w)
		return
	}
	h.ServeHTTP(w, r)
}
