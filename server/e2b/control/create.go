package control

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/fault"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// How long sandboxes live for which nothing was said, in each version of the protocol.
const (
	timeoutV1 = 15 * time.Second
	timeoutV2 = 300 * time.Second
)

// createBody asks for a sandbox.
type createBody struct {
	TemplateID          string            `json:"templateID"`
	Timeout             *int64            `json:"timeout"` // seconds
	Metadata            map[string]string `json:"metadata"`
	EnvVars             map[string]string `json:"envVars"`
	Secure              *bool             `json:"secure"` // of the first version; the second has no other
	AllowInternetAccess *bool             `json:"allow_internet_access"`
	AutoPause           bool              `json:"autoPause"`
	AutoPauseMemory     *bool             `json:"autoPauseMemory"`
	AutoResume          *struct {
		Enabled bool `json:"enabled"`
	} `json:"autoResume"`
	Network      *networkBody    `json:"network"`
	VolumeMounts json.RawMessage `json:"volumeMounts"`
	MCP          json.RawMessage `json:"mcp"`
	IAM          json.RawMessage `json:"iam"`
}

// empty reports whether a member asks for nothing.
func empty(raw json.RawMessage) bool {
	switch string(bytes.Join(bytes.Fields(raw), nil)) {
	case "", "null", "[]", "{}", `""`:
		return true
	}
	return false
}

func (h *Handler) createV1(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	return h.create(w, r, owner, timeoutV1, false)
}

func (h *Handler) createV2(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	return h.create(w, r, owner, timeoutV2, true)
}

// create makes a sandbox. All of them are secured, those of the first version too that did not ask for it: a client gets the token and
// sends it.
func (h *Handler) create(w http.ResponseWriter, r *http.Request, owner *fleet.Owner, timeout time.Duration, secured bool) error {
	var body createBody
	if err := decode(w, r, &body); err != nil {
		return err
	}
	spec, err := body.spec(timeout, secured)
	if err != nil {
		return err
	}
	m, err := h.fleet.Create(r.Context(), owner, spec)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, h.sandboxBody(m))
}

func (b *createBody) spec(timeout time.Duration, secured bool) (*fleet.Spec, error) {
	if b.TemplateID == "" {
		return nil, badf("templateID: it is missing: name a template, such as %q", fleet.DefaultTemplate)
	}
	if err := b.refuse(); err != nil {
		return nil, err
	}
	timeout, err := duration("timeout", b.Timeout, timeout)
	if err != nil {
		return nil, err
	}
	network, err := b.Network.network(b.AllowInternetAccess)
	if err != nil {
		return nil, err
	}
	spec := &fleet.Spec{
		Template: b.TemplateID, Timeout: timeout, Env: b.EnvVars, Metadata: b.Metadata, OnTimeout: fleet.Kill, Public: b.Network.public(),
		AutoResume: b.AutoResume != nil && b.AutoResume.Enabled, Network: network,
	}
	if b.AutoPause {
		spec.OnTimeout = fleet.Pause
	}
	if !spec.Public && !secured && b.Secure != nil && !*b.Secure {
		return nil, badf("network.allowPublicTraffic: false needs a secured sandbox: leave out secure, or set it")
	}
	return spec, nil
}

// refuse says what can't be had.
func (b *createBody) refuse() error {
	keepMemory := b.AutoPauseMemory == nil || *b.AutoPauseMemory
	switch {
	case !keepMemory && !b.AutoPause:
		return badf("autoPauseMemory: it says how a sandbox is paused at the end of its time: set autoPause too")
	case !keepMemory && b.AutoResume != nil && b.AutoResume.Enabled:
		return badf("autoPauseMemory: requests can't wake a sandbox whose processes are gone: leave it out, or autoResume")
	case !keepMemory:
		return refusef(fault.Unsupported, "autoPauseMemory: %s", reasonMemory)
	case !empty(b.VolumeMounts):
		return refusef(fault.Unsupported, "volumeMounts: %s", reasonVolumes)
	case !empty(b.MCP):
		return refusef(fault.Unsupported, "mcp: %s", reasonMCP)
	case !empty(b.IAM):
		return refusef(fault.Unsupported, "iam: %s", reasonIAM)
	}
	return nil
}
