package server

import (
	_ "embed"
	"net/http"

	"github.com/ds-sandbox/ds-sandbox/server/fault"
)

//go:embed openapi.yaml
var openAPI []byte

// Routes are the daemon's own, "METHOD /path".
func Routes() []string {
	routes := make([]string, len(ownRoutes))
	for i, r := range ownRoutes {
		routes[i] = r.pattern
	}
	return routes
}

var ownRoutes = []struct {
	pattern string
	handler func(*Server) http.HandlerFunc
}{
	{"GET /health", (*Server).health},
	{"GET /metrics", (*Server).figures},
	{"GET /openapi.yaml", (*Server).description},
}

func (s *Server) ownRoutes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range ownRoutes {
		mux.Handle(r.pattern, r.handler(s))
	}
	return mux
}

// health answers whoever asks that the daemon works; to one that ends, no request comes.
func (s *Server) health() http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	}
}

// figures are for any key: they tell of all owners, but of none in particular.
func (s *Server) figures() http.HandlerFunc {
	handler := s.metrics.handler()
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.keys.Identify(r); err != nil {
			fault.Write(w, err)
			return
		}
		handler.ServeHTTP(w, r)
	}
}

func (s *Server) description() http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(openAPI)
	}
}
