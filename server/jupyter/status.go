package jupyter

import (
	"encoding/json"
	"net/http"
	"time"
)

// serverVersion is the version of jupyter_server whose interface this is.
const serverVersion = "2.21.0"

// version answers without a key: front ends ask before they have one.
func (h *Handler) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"version": serverVersion})
}

func (h *Handler) status(w http.ResponseWriter, _ *http.Request, s scope) {
	status := struct {
		Connections  int    `json:"connections"`
		Kernels      int    `json:"kernels"`
		LastActivity string `json:"last_activity"`
		Started      string `json:"started"`
	}{Started: date(h.started)}
	latest := h.started
	for _, k := range h.kernels(s) {
		status.Kernels++
		status.Connections += h.connections(k.id())
		if at := k.context.LastActivity(); at.After(latest) {
			latest = at
		}
	}
	status.LastActivity = date(latest)
	writeJSON(w, http.StatusOK, status)
}

// me says who asks, and which of the permissions that they name they have: all of kernels and kernelspecs.
func (h *Handler) me(w http.ResponseWriter, r *http.Request, s scope) {
	asked := make(map[string][]string)
	if text := r.URL.Query().Get("permissions"); text != "" && json.Unmarshal([]byte(text), &asked) != nil {
		writeError(w, http.StatusBadRequest, "invalid_argument", "permissions is not an object of lists of actions")
		return
	}
	granted := map[string][]string{"updatable_fields": {}}
	for resource, actions := range asked {
		granted[resource] = []string{}
		if resource == "kernels" || resource == "kernelspecs" {
			granted[resource] = actions
		}
	}
	name := s.owner.Name
	writeJSON(w, http.StatusOK, map[string]any{
		"identity": map[string]any{
			"username": name, "name": name, "display_name": name, "initials": name[:1], "avatar_url": nil, "color": nil,
		},
		"permissions": granted,
	})
}

// keep lets the sandboxes made here live while somebody is connected or something runs.
func (h *Handler) keep() {
	ticker := time.NewTicker(max(h.opts.KernelTimeout/4, 10*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-h.life.Done():
			return
		case <-ticker.C:
			h.keepAlive()
		}
	}
}
