package main

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends/docker"
)

// dockerRow is the beginning of the names of rows that measure containers.
const dockerRow = "docker-"

func isDockerRow(name string) bool { return strings.HasPrefix(name, dockerRow) }

// noContainers tells why there are none to measure; empty when there are.
func noContainers(ctx context.Context) string {
	if _, err := docker.Available(ctx, docker.Config{}); err != nil {
		return err.Error()
	}
	return ""
}

// dockerClients are ours and, where there is the docker command, the plain way: `docker run` of the same image with an ipykernel, and
// jupyter_client over its published ports.
func dockerClients(self, python, name, number string) map[string][]string {
	clients := map[string][]string{ours: {self, "-child", name, number}}
	if _, err := exec.LookPath("docker"); err == nil && name != dockerRow+"live" {
		clients[jupyterClient] = []string{python, "bench/docker_peer.py", name[len(dockerRow):], number}
	}
	return clients
}

// dockerRows are about sandboxes in containers.
func dockerRows() []row {
	ms := func(x *measure) float64 { return milliseconds(x.P50) }
	best := func(x *measure) float64 { return milliseconds(x.Best) }
	worst := func(x *measure) float64 { return milliseconds(x.Worst) }
	spread := func(t *table, title, aim, format string, m measures) {
		t.compare(title+", p50, ms", m, aim, format, ms)
		t.compare("  best and", m, "", format, best)
		t.compare("  worst, ms", m, "", format, worst)
	}
	return []row{
		{name: dockerRow + "parked", title: "claim of a container", count: 20, report: func(t *table, m measures) {
			spread(t, "container that waited: create to first result", "<= 40", "%.1f", m)
		}},
		{name: dockerRow + "first", title: "create of a container", count: 10, report: func(t *table, m measures) {
			spread(t, "container, cold: create to first result", "<= 1500", "%.0f", m)
		}},
		{name: dockerRow + "small", title: "1+1 in a container", count: 500, report: func(t *table, m measures) {
			t.compare("1+1 in a container, p50, ms", m, "", "%.2f", ms)
			mine := m[ours]
			t.line("  above the local backend, p50 and best, ms", fmt.Sprintf("%+.2f, %+.2f", milliseconds(mine.P50-mine.Floor),
				milliseconds(mine.Best-mine.FloorBest)), "-", "-", "-", "<= 1")
		}},
		{name: dockerRow + "files", title: "100 MB into a container and out", count: 5, report: func(t *table, m measures) {
			rate := func(seconds func(*measure) float64) func(*measure) float64 {
				return func(x *measure) float64 { return fileSize / 1e6 / seconds(x) }
			}
			t.compare("100 MB file into a container (beside docker cp), p50, MB/s", m, ">= 150", "%.0f",
				rate(func(x *measure) float64 { return x.P50 }))
			t.compare("  best, MB/s", m, "", "%.0f", rate(func(x *measure) float64 { return x.Best }))
			t.compare("100 MB file out of it, p50, MB/s", m, ">= 150", "%.0f", rate(func(x *measure) float64 { return x.Floor }))
			t.compare("  best, MB/s", m, "", "%.0f", rate(func(x *measure) float64 { return x.FloorBest }))
		}},
		{name: dockerRow + "live", title: "50 live containers", count: 50, report: func(t *table, m measures) {
			mine := m[ours]
			t.line("50 live containers, 0 spares: that answered", fmt.Sprintf("%d of %d", mine.Messages, mine.Lines), "-", "-", "-", "all")
			t.line("  until all lived, s", fmt.Sprintf("%.1f", mine.Wall), "-", "-", "-", "")
			t.line("  memory of one, MB", fmt.Sprintf("%.0f", float64(mine.Bytes)/1e6), "-", "-", "-", "")
		}},
		{name: dockerRow + "kill", title: "kill of a container", count: 10, report: func(t *table, m measures) {
			spread(t, "kill of a container that computes", "all <= 1000", "%.0f", m)
		}},
	}
}

// containers prints the rows of containers, or why there are none.
func containers(ctx context.Context, t *table, wanted func(string) bool, python string, share int) error {
	titled := false
	for _, r := range dockerRows() {
		if !wanted(r.name) {
			continue
		}
		if reason := noContainers(ctx); reason != "" {
			t.line("in containers: skipped, "+reason, "-", "-", "-", "-", "")
			return t.Flush()
		}
		if !titled {
			t.line("in containers", ours, "docker run", "", "ratio", "aim")
			titled = true
		}
		m, err := r.measure(ctx, python, max(cmp.Or(r.count/share, 1), min(r.count, 2)))
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		r.report(t, m)
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
