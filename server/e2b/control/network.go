package control

import (
	"encoding/json"
	"net/http"

	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// networkBody is what a sandbox may reach, and who may reach it.
type networkBody struct {
	AllowOut           []string        `json:"allowOut,omitempty"`
	DenyOut            []string        `json:"denyOut,omitempty"`
	AllowPublicTraffic *bool           `json:"allowPublicTraffic,omitempty"`
	MaskRequestHost    string          `json:"maskRequestHost,omitempty"`
	Rules              json.RawMessage `json:"rules,omitempty"`
	EgressProxy        json.RawMessage `json:"egressProxy,omitempty"`
	HTTPSPorts         json.RawMessage `json:"httpsPorts,omitempty"`
}

// network is what the fleet makes of it; nil when nothing was said. A request's own word on the internet comes beside it.
func (b *networkBody) network(internet *bool) (*fleet.Network, error) {
	if b == nil {
		b = new(networkBody)
	}
	switch {
	case !empty(b.Rules):
		return nil, refusef(fault.Unsupported, "network.rules: %s", reasonRules)
	case !empty(b.EgressProxy):
		return nil, refusef(fault.Unsupported, "network.egressProxy: %s", reasonProxy)
	case !empty(b.HTTPSPorts):
		return nil, refusef(fault.Unsupported, "network.httpsPorts: %s", reasonHTTPS)
	}
	n := &fleet.Network{Allow: b.AllowOut, Deny: b.DenyOut, MaskHost: b.MaskRequestHost, NoInternet: internet != nil && !*internet}
	if len(n.Allow)+len(n.Deny) == 0 && n.MaskHost == "" && !n.NoInternet {
		return nil, nil
	}
	return n, nil
}

// public reports whether the sandbox's ports are open to who knows its id.
func (b *networkBody) public() bool {
	return b == nil || b.AllowPublicTraffic == nil || *b.AllowPublicTraffic
}

// setNetwork replaces what the sandbox may reach; what is left out is cleared. Who may reach it, and as what host, stays.
func (h *Handler) setNetwork(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	var body struct {
		networkBody
		AllowInternetAccess *bool `json:"allow_internet_access"`
	}
	m, err := h.member(r, owner)
	if err != nil {
		return err
	}
	if err := decode(w, r, &body); err != nil {
		return err
	}
	body.MaskRequestHost = ""
	network, err := body.network(body.AllowInternetAccess)
	if err != nil {
		return err
	}
	if before := m.Info().Network; before != nil && before.MaskHost != "" {
		if network == nil {
			network = new(fleet.Network)
		}
		network.MaskHost = before.MaskHost
	}
	if err := m.SetNetwork(r.Context(), network); err != nil {
		return err
	}
	return answer(w, http.StatusNoContent, nil)
}
