package control

import (
	"net/http"
	"runtime"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// templateBody is a template in a list.
type templateBody struct {
	TemplateID  string   `json:"templateID"`
	BuildID     string   `json:"buildID"`
	BuildStatus string   `json:"buildStatus"`
	BuildCount  int      `json:"buildCount"`
	CPUCount    int      `json:"cpuCount"`
	MemoryMB    int64    `json:"memoryMB"`
	DiskSizeMB  int64    `json:"diskSizeMB"`
	Public      bool     `json:"public"`
	Aliases     []string `json:"aliases"`
	Names       []string `json:"names"`
	EnvdVersion string   `json:"envdVersion"`
}

// listTemplates has the daemon's templates and the owner's snapshots.
func (h *Handler) listTemplates(w http.ResponseWriter, _ *http.Request, owner *fleet.Owner) error {
	templates := h.fleet.Templates(owner)
	list := make([]templateBody, len(templates))
	for i, t := range templates {
		list[i] = templateBody{
			TemplateID: t.ID, BuildID: t.ID, BuildStatus: "ready", BuildCount: 1, CPUCount: runtime.NumCPU(),
			MemoryMB: t.Limits.Memory >> 20, DiskSizeMB: t.Limits.Disk >> 20, Public: !t.Snapshot,
			Aliases: append([]string{}, t.Aliases...), Names: append([]string{t.ID}, t.Aliases...), EnvdVersion: EnvdVersion,
		}
		if t.Limits.CPUs > 0 {
			list[i].CPUCount = max(1, int(t.Limits.CPUs))
		}
	}
	return answer(w, http.StatusOK, list)
}

func (h *Handler) templateByAlias(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	t, err := h.fleet.Template(owner, r.PathValue("alias"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, struct {
		TemplateID string `json:"templateID"`
		Public     bool   `json:"public"`
	}{t.ID, !t.Snapshot})
}

// removeTemplate removes a snapshot. The templates of the daemon stay.
func (h *Handler) removeTemplate(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	if err := h.fleet.RemoveSnapshot(r.Context(), owner, r.PathValue("id")); err != nil {
		return err
	}
	return answer(w, http.StatusNoContent, nil)
}
