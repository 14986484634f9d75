package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// dialTime bounds how long a server in a sandbox may take to accept a connection.
const dialTime = 10 * time.Second

// newTransport sends requests to servers in sandboxes. The host of such a request is the id of the sandbox, with the port.
func newTransport(f *fleet.Fleet) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			id, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			m, err := f.Find(id)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, dialTime)
			defer cancel()
			return m.Sandbox().DialContext(ctx, network, net.JoinHostPort("localhost", port))
		},
		DisableCompression: true, MaxIdleConns: 1024, MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
}

// rewrite makes of a client's request that to the server. What is the client's word to us alone stays here; all else is passed on as it is.
func (h *Handler) rewrite(r *httputil.ProxyRequest) {
	target, _ := fleet.TargetOf(r.In.Context())
	port := strconv.Itoa(target.Port)
	r.Out.URL.Scheme, r.Out.URL.Host = "http", net.JoinHostPort(target.ID, port)
	r.Out.URL.RawQuery = r.In.URL.RawQuery // the server may read it otherwise than Go
	r.Out.Host = r.In.Host
	if n := fleet.From(r.In.Context()).Info().Network; n != nil && n.MaskHost != "" {
		r.Out.Host = strings.ReplaceAll(n.MaskHost, "${PORT}", port)
	}
	r.SetXForwarded()
	for _, name := range []string{"E2b-Sandbox-Id", "E2b-Sandbox-Port", TokenHeader} {
		r.Out.Header.Del(name)
	}
	h.hideKeys(r.Out)
}

// hideKeys takes the daemon's own keys out of a request: code in a sandbox is not to have what opens all of an owner's. A server may have
// keys of its own in the same places.
func (h *Handler) hideKeys(r *http.Request) {
	if h.keys.Owner(r.Header.Get("X-Api-Key")) != nil {
		r.Header.Del("X-Api-Key")
	}
	if _, secret, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && h.keys.Owner(strings.TrimSpace(secret)) != nil {
		r.Header.Del("Authorization")
	}
	if query := r.URL.Query(); h.keys.Owner(query.Get("token")) != nil {
		query.Del("token")
		r.URL.RawQuery = query.Encode()
	}
	if _, err := r.Cookie(access.Cookie); err != nil {
		return
	}
	cookies := r.Cookies()
	r.Header.Del("Cookie")
	for _, c := range cookies {
		if c.Name != access.Cookie {
			r.AddCookie(c)
		}
	}
}

// failed answers a request that its server did not.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	target, _ := fleet.TargetOf(r.Context())
	var large *http.MaxBytesError
	switch {
	case r.Context().Err() != nil: // the client has gone, or the sandbox
	case errors.Is(err, backends.ErrNotListening):
		notOpen(w, r, target)
	case errors.Is(err, backends.ErrUnsupported), errors.As(err, &large), fleet.Dead(err), errors.Is(err, fleet.ErrPaused):
		answerError(w, r, target, err)
	case errors.Is(err, context.DeadlineExceeded):
		respond(w, r, refusal{
			SandboxID: target.ID, Port: target.Port, Code: http.StatusGatewayTimeout,
			Message: fmt.Sprintf("The server took no connection within %v", dialTime),
		})
	default:
		respond(w, r, refusal{
			SandboxID: target.ID, Port: target.Port, Code: http.StatusBadGateway,
			Message: "The server on the port broke the connection off, or speaks no HTTP",
		})
	}
}
