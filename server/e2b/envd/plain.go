package envd

import (
	"maps"
	"net/http"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// metrics answers with what the sandbox uses now (section 3.2).
func (h *Handler) metrics(w http.ResponseWriter, r *http.Request, m *fleet.Member) error {
	f, err := m.Latest(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"ts": f.Time.Unix(), "cpu_count": f.CPUs, "cpu_used_pct": f.CPUPercent,
		"mem_total": f.MemoryTotal, "mem_used": f.MemoryUsed, "mem_cache": 0, // pages of files are nobody's use here
		"mem_total_mib": f.MemoryTotal >> 20, "mem_used_mib": f.MemoryUsed >> 20,
		"disk_used": f.DiskUsed, "disk_total": f.DiskTotal,
	})
	return nil
}

// envs answers with the variables that every process of the sandbox gets.
func (h *Handler) envs(w http.ResponseWriter, _ *http.Request, m *fleet.Member) error {
	env := environment(m)
	maps.Copy(env, m.Info().Env)
	writeJSON(w, http.StatusOK, env)
	return nil
}

// environment is what processes get besides the sandbox's own variables, which are theirs in any case.
func environment(m *fleet.Member) map[string]string {
	return map[string]string{"E2B_SANDBOX": "true", "E2B_SANDBOX_ID": m.ID(), "E2B_TEMPLATE_ID": m.Info().Template}
}
