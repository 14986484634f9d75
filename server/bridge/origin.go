package bridge

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Protocol is the websocket's subprotocol.
const Protocol = "ds-sandbox.events.v1"

// tokenProtocol begins a subprotocol that is no subprotocol but a token: pages can send no headers with a websocket. It is never
// chosen, so nobody repeats it.
const tokenProtocol = "ds-sandbox.token."

// allowed reports whether the page that sends a request may do so. Programs, which have no origin, may.
func (h *Handler) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.ContainsFunc(h.opts.Origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// withSubprotocolToken is the request with the token that stands among its subprotocols, if one does, as a header.
func withSubprotocolToken(r *http.Request) *http.Request {
	for _, line := range r.Header.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if token, ok := strings.CutPrefix(strings.TrimSpace(p), tokenProtocol); ok && r.Header.Get("X-Api-Key") == "" {
				r = r.Clone(r.Context())
				r.Header.Set("X-Api-Key", token)
				return r
			}
		}
	}
	return r
}
