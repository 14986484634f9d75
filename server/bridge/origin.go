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

// subprotocolToken is the token that stands among a websocket's subprotocols; "" when there is none.
func subprotocolToken(r *http.Request) string {
	for _, line := range r.Header.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if token, ok := strings.CutPrefix(strings.TrimSpace(p), tokenProtocol); ok {
				return token
			}
		}
	}
	return ""
}

// withToken is a request that has a token where all requests have it.
func withToken(r *http.Request, token string) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Set("X-Api-Key", token)
	return r
}
