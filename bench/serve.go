package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// serveRow is the beginning of the names of rows that measure the daemon.
const serveRow = "serve-"

func isServeRow(name string) bool { return strings.HasPrefix(name, serveRow) }

// serveClients are the daemon and, where `make bench` has installed it, jupyter_server with the same kernel.
func serveClients(self, python, name, number string) map[string][]string {
	clients := map[string][]string{ours: {self, "-child", name, number}}
	peers := map[string]bool{"execute": true, "output": true, "viewers": true}
	server := os.Getenv("DS_SANDBOX_BENCH_JUPYTER_SERVER") // a folder with the package
	if _, err := os.Stat(filepath.Join(server, "jupyter_server")); err == nil && peers[name[len(serveRow):]] {
		clients[jupyterClient] = []string{python, "bench/serve_peer.py", server, name[len(serveRow):], number}
	}
	return clients
}

// serveRows are about the daemon. The peer's column is jupyter_server's.
func serveRows() []row {
	const jupyterServer = " (peer: jupyter_server)"
	ms := func(x *measure) float64 { return milliseconds(x.P50) }
	return []row{
		{name: serveRow + "execute", title: "1+1 over HTTP", count: 500, report: func(t *table, m measures) {
			t.compare("1+1 over HTTP, p50, ms"+jupyterServer, m, "", "%.2f", ms)
			t.line("  above the library call, p50, ms", fmt.Sprintf("%+.2f", milliseconds(m[ours].P50-m[ours].Floor)), "-", "-", "-", "<= 0.7")
		}},
		{name: serveRow + "streams", title: "200 streams at once", count: 200, report: func(t *table, m measures) {
			mine := m[ours]
			good := fmt.Sprintf("%d of %d", mine.Messages, mine.Lines)
			t.line("200 streaming runs at once on 50 sandboxes: without a fault", good, "-", "-", "-", "all")
			t.line("  from the first request to the last end, s", fmt.Sprintf("%.1f", mine.Wall), "-", "-", "-", "")
		}},
		{name: serveRow + "viewers", title: "idle viewers", count: 1000, report: func(t *table, m measures) {
			t.compare("1,000 idle viewers, memory of each, KiB"+jupyterServer, m, "<= 60", "%.1f", func(x *measure) float64 {
				return float64(x.PeakRSS-x.BaseRSS) / float64(x.Messages) / 1024
			})
		}},
		{name: serveRow + "output", title: "200 MB streamed over HTTP", count: 200_000_000, report: func(t *table, m measures) {
			t.compare("200 MB in messages of 100 kB over HTTP, s"+jupyterServer, m, "", "%.2f", func(x *measure) float64 { return x.Wall })
			t.compare("  bytes lost", m, "0", "%.0f", func(x *measure) float64 { return 200_000_000 - float64(x.Bytes) })
			t.compare("  memory of the server grown by, MB", m, "flat", "%.0f", func(x *measure) float64 {
				return float64(x.PeakRSS-x.BaseRSS) / 1e6
			})
		}},
		{name: serveRow + "result", title: "a result of 100 MB over HTTP", count: 100_000_000, report: func(t *table, m measures) {
			t.compare("one result of 100 MB over HTTP, s", m, "", "%.2f", func(x *measure) float64 { return x.Wall })
			t.compare("  bytes lost", m, "0", "%.0f", func(x *measure) float64 { return 100_000_000 - float64(x.Bytes) })
		}},
		{name: serveRow + "view", title: "from the kernel to a viewer", count: 200, report: func(t *table, m measures) {
			t.compare("from display() in the kernel to a viewer, p50, ms", m, "<= 5", "%.2f", ms)
			t.compare("  p99, ms", m, "", "%.2f", func(x *measure) float64 { return milliseconds(x.P99) })
		}},
	}
}
