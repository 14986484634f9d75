package agent

import (
	"context"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// meter measures one span of a kernel's work.
type meter struct {
	in     *Instance
	pid    int
	gauge  gauge
	begin  time.Time
	before snapshot
}

// clockGrain is by how much the times of files may lag behind ours.
const clockGrain = 10 * time.Millisecond

// Meter starts measuring.
func (k *kernelProcess) Meter(context.Context) (backends.Meter, error) {
	m := &meter{in: k.in, pid: k.pid, gauge: k.tree.start(), begin: time.Now().Add(-clockGrain)}
	m.before = k.in.files.snapshot()
	m.in.watch((*watchdog).begin)
	return m, nil
}

// Stop ends the measuring.
func (m *meter) Stop(context.Context) (backends.Usage, error) {
	var hits []*backends.LimitError
	m.in.watch(func(w *watchdog) {
		w.finish()
		hits = w.hits(m.begin.Add(clockGrain), m.pid)
	})
	cpu, peak := m.gauge.stop()
	after := m.in.files.snapshot()
	return backends.Usage{
		CPU: cpu, PeakMemory: peak, Files: m.before.changes(after, m.begin), FilesPartial: m.before.partial || after.partial,
		LimitsHit: hits,
	}, nil
}
