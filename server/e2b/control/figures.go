package control

import (
	"net/http"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// metricBody is what a sandbox used at a moment.
type metricBody struct {
	Timestamp     time.Time `json:"timestamp"`
	TimestampUnix int64     `json:"timestampUnix"`
	CPUCount      int       `json:"cpuCount"`
	CPUUsedPct    float64   `json:"cpuUsedPct"`
	MemUsed       int64     `json:"memUsed"` // bytes, like those that follow
	MemTotal      int64     `json:"memTotal"`
	MemCache      int64     `json:"memCache"` // of files; it is no part of memUsed, and not told apart from the machine's own
	DiskUsed      int64     `json:"diskUsed"`
	DiskTotal     int64     `json:"diskTotal"`
}

func newMetricBody(f *fleet.Figure) metricBody {
	return metricBody{
		Timestamp: f.Time.UTC(), TimestampUnix: f.Time.Unix(), CPUCount: f.CPUs, CPUUsedPct: f.CPUPercent,
		MemUsed: f.MemoryUsed, MemTotal: f.MemoryTotal, DiskUsed: f.DiskUsed, DiskTotal: f.DiskTotal,
	}
}

// metrics are a sandbox's in a span. Until the first are taken there are those of now.
func (h *Handler) metrics(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	m, err := h.member(r, owner)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	since, err := moment(q, "start", time.Second)
	if err != nil {
		return err
	}
	until, err := moment(q, "end", time.Second)
	if err != nil {
		return err
	}
	if !until.IsZero() {
		until = until.Add(time.Second - 1) // all of that second
		if until.Before(since) {
			return badf("end: it is before start")
		}
	}
	figures := m.Figures(since, until)
	if now := time.Now(); len(figures) == 0 && !since.After(now) && (until.IsZero() || !until.Before(now)) {
		latest, err := m.Latest(r.Context())
		if err != nil {
			return err
		}
		figures = append(figures, latest)
	}
	list := make([]metricBody, len(figures))
	for i := range figures {
		list[i] = newMetricBody(&figures[i])
	}
	return answer(w, http.StatusOK, list)
}

// maxMany bounds how many sandboxes are asked about at once.
const maxMany = 100

// metricsOfMany are the latest of several sandboxes; those that are not there are left out.
func (h *Handler) metricsOfMany(w http.ResponseWriter, r *http.Request, owner *fleet.Owner) error {
	ids := strings.FieldsFunc(strings.Join(r.URL.Query()["sandbox_ids"], ","), func(c rune) bool { return c == ',' })
	if len(ids) == 0 || len(ids) > maxMany {
		return badf("sandbox_ids: %d are asked for: name 1 to %d", len(ids), maxMany)
	}
	body := struct {
		Sandboxes map[string]metricBody `json:"sandboxes"`
	}{make(map[string]metricBody)}
	for _, id := range ids {
		m, err := h.fleet.Get(owner, id)
		if err != nil {
			continue
		}
		if latest, err := m.Latest(r.Context()); err == nil {
			body.Sandboxes[id] = newMetricBody(&latest)
		} else if !fleet.Dead(err) {
			return err
		}
	}
	return answer(w, http.StatusOK, body)
}
