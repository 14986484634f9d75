package control

import (
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// errorBody is an error, where it is a part of an answer.
type errorBody struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// sandboxBody is what a client needs to use a sandbox.
type sandboxBody struct {
	TemplateID         string  `json:"templateID"`
	Alias              string  `json:"alias,omitempty"`
	SandboxID          string  `json:"sandboxID"`
	ClientID           string  `json:"clientID"`
	EnvdVersion        string  `json:"envdVersion"`
	EnvdAccessToken    string  `json:"envdAccessToken"`
	TrafficAccessToken *string `json:"trafficAccessToken"`
	Domain             *string `json:"domain"`
}

func (h *Handler) sandboxBody(m *fleet.Member) sandboxBody {
	info := m.Info()
	return sandboxBody{
		TemplateID: info.Template, Alias: info.Alias, SandboxID: info.ID, ClientID: clientID, EnvdVersion: EnvdVersion,
		EnvdAccessToken: m.AccessToken(), TrafficAccessToken: orNull(m.TrafficToken()), Domain: orNull(h.domain),
	}
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// listedBody is a sandbox in a list.
type listedBody struct {
	TemplateID   string            `json:"templateID"`
	Alias        string            `json:"alias,omitempty"`
	SandboxID    string            `json:"sandboxID"`
	ClientID     string            `json:"clientID"`
	StartedAt    time.Time         `json:"startedAt"`
	EndAt        time.Time         `json:"endAt"`
	CPUCount     int               `json:"cpuCount"`
	MemoryMB     int64             `json:"memoryMB"`
	DiskSizeMB   int64             `json:"diskSizeMB"`
	Metadata     map[string]string `json:"metadata"`
	State        fleet.State       `json:"state"`
	EnvdVersion  string            `json:"envdVersion"`
	VolumeMounts []struct{}        `json:"volumeMounts"`
}

func newListedBody(info *fleet.Info) listedBody {
	body := listedBody{
		TemplateID: info.Template, Alias: info.Alias, SandboxID: info.ID, ClientID: clientID,
		StartedAt: info.StartedAt.UTC(), EndAt: info.EndsAt.UTC(),
		CPUCount: info.Size.CPUs, MemoryMB: info.Size.Memory >> 20, DiskSizeMB: info.Size.Disk >> 20,
		Metadata: info.Metadata, State: info.State, EnvdVersion: EnvdVersion, VolumeMounts: []struct{}{},
	}
	if body.Metadata == nil {
		body.Metadata = map[string]string{}
	}
	return body
}

// detailBody is all about a sandbox.
type detailBody struct {
	listedBody
	EnvdAccessToken     string        `json:"envdAccessToken"`
	Domain              *string       `json:"domain"`
	AllowInternetAccess *bool         `json:"allowInternetAccess"` // null when nothing was said of it
	Network             *networkBody  `json:"network,omitempty"`
	Lifecycle           lifecycleBody `json:"lifecycle"`
}

// lifecycleBody is what becomes of a sandbox at the end of its time.
type lifecycleBody struct {
	OnTimeout  fleet.Action `json:"onTimeout"`
	AutoResume bool         `json:"autoResume"`
}

func (h *Handler) detailBody(m *fleet.Member) detailBody {
	info := m.Info()
	body := detailBody{
		listedBody: newListedBody(&info), EnvdAccessToken: m.AccessToken(), Domain: orNull(h.domain),
		Lifecycle: lifecycleBody{info.OnTimeout, info.AutoResume},
	}
	if n := info.Network; n != nil {
		if n.NoInternet {
			body.AllowInternetAccess = new(bool)
		}
		body.Network = &networkBody{AllowOut: n.Allow, DenyOut: n.Deny, AllowPublicTraffic: &info.Public, MaskRequestHost: n.MaskHost}
	} else if !info.Public {
		body.Network = &networkBody{AllowPublicTraffic: &info.Public}
	}
	return body
}
