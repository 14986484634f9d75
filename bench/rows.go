package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

func milliseconds(s float64) float64 { return s * 1e3 }

func rows() []row {
	return append([]row{
		{name: "first", title: "create to first result", count: 30, report: func(t *table, m measures) {
			t.compare("create to first result, cold, p50, ms", m, "ratio <= 0.7", "%.0f", func(x *measure) float64 { return milliseconds(x.P50) })
		}},
		{name: "small", title: "1+1", count: 500, report: func(t *table, m measures) {
			t.compare("1+1, p50, ms", m, "ratio <= 0.5", "%.2f", func(x *measure) float64 { return milliseconds(x.P50) })
			t.compare("1+1, p99, ms", m, "", "%.2f", func(x *measure) float64 { return milliseconds(x.P99) })
			over := milliseconds(m[ours].P50 - m[floor].P50)
			t.line("  bare exchange (floor), p50, ms", fmt.Sprintf("%.2f", milliseconds(m[floor].P50)), "-", "-", "-", "")
			t.line("  above the floor, ms", fmt.Sprintf("%+.2f", over), "-", "-", "-", "<= 0.4")
		}},
		{name: old, title: "1+1 on the system's Python", count: 500, report: func(t *table, m measures) {
			t.compare("1+1 on the system's ipykernel, p50, ms", m, "ratio <= 0.5", "%.2f", func(x *measure) float64 { return milliseconds(x.P50) })
			t.line("  above the floor, ms", fmt.Sprintf("%+.2f", milliseconds(m[ours].P50-m[floor].P50)), "-", "-", "-", "<= 0.4")
		}},
		{name: "lines", title: "flushed lines", count: 20_000, report: func(t *table, m measures) {
			n := 20_000.0
			if m[ours].Lines < 20_000 && m[ours].Lines > 0 && m[jupyterClient].Lines < 20_000 {
				n = float64(max(m[ours].Lines, m[jupyterClient].Lines)) // a quick run
			}
			t.compare("flushed lines: lost", m, "0", "%.0f", func(x *measure) float64 { return n - float64(x.Lines) })
			t.compare("flushed lines, 1/s", m, "ratio >= 1", "%.0f", func(x *measure) float64 { return float64(x.Lines) / x.Wall })
			t.compare("client CPU per message, us", m, "ratio <= 0.1", "%.1f", func(x *measure) float64 { return x.CPU / float64(x.Messages) * 1e6 })
		}},
		{name: "big", title: "one print of 50 MB", count: 50_000_000, report: func(t *table, m measures) {
			t.compare("one print of 50 MB, ms", m, "", "%.0f", func(x *measure) float64 { return milliseconds(x.Wall) })
			t.compare("  bytes lost", m, "0", "%.0f", func(x *measure) float64 { return 50_000_001 - float64(x.Bytes) })
		}},
		{name: "prints", title: "2 million prints", count: 2_000_000, report: func(t *table, m measures) {
			t.compare("2 million prints, once, s", m, "ratio <= 0.2", "%.2f", func(x *measure) float64 { return x.Wall })
			t.compare("  lines lost", m, "0", "%.0f", func(x *measure) float64 { return 2_000_000 - float64(x.Lines) })
		}},
		{name: "gigabyte", title: "1 GB in 10,000 messages", count: 10_000, report: func(t *table, m measures) {
			t.compare("1 GB in messages of 100 kB, s", m, "", "%.2f", func(x *measure) float64 { return x.Wall })
			t.compare("  memory grown by, MB", m, "flat", "%.0f", func(x *measure) float64 { return float64(x.PeakRSS-x.BaseRSS) / 1e6 })
			t.compare("  bytes lost", m, "0", "%.0f", func(x *measure) float64 { return 1e9 - float64(x.Bytes) })
		}},
		{name: "notebook", title: "notebook of 50 cells", count: 30, report: func(t *table, m measures) {
			t.notebooks("50 cells of 1+1", m, "of nbclient <= 0.5")
		}},
		{name: "mixed", title: "notebook with tables and figures", count: 30, report: func(t *table, m measures) {
			t.notebooks("50 cells, 5 with tables, 5 with figures", m, "")
		}},
		{name: "socket", title: "fake kernel", count: 1_000_000, report: func(t *table, m measures) {
			t.line("fake kernel over sockets, messages/s", fmt.Sprintf("%.0f", float64(m[ours].Messages)/m[ours].Wall), "-", "-", "-", ">= 100000")
			t.line("  lost", strconv.Itoa(1_000_000-m[ours].Messages), "-", "-", "-", "0")
		}},
	}, slices.Concat(startTable(), branchRows(), serveRows())...)
}

// codes is what the rows run; peers.py has the same.
var codes = map[string]string{
	"lines":    "for i in range(%d):\n    print(i, flush=True)",
	"big":      "print('x' * %d)",
	"prints":   "for i in range(%d):\n    print(i)",
	"gigabyte": "import sys\nfor i in range(%d):\n    sys.stdout.write('y' * 99_999 + '\\n'); sys.stdout.flush()",
}

// measure lets each client do the row's work, each in a process of its own.
func (r row) measure(ctx context.Context, python string, count int) (measures, error) {
	m := make(measures)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(), "DS_SANDBOX_PYTHON="+python, "JUPYTER_PREFER_ENV_PATH=1")
	number := strconv.Itoa(count)
	clients := map[string][]string{
		ours:          {self, "-child", r.name, number},
		jupyterClient: {python, "bench/peers.py", jupyterClient, peerRow(r.name), number},
		nbClient:      {python, "bench/peers.py", nbClient, peerRow(r.name), number},
	}
	if isBranchRow(r.name) || r.name == "live" {
		clients = map[string][]string{ours: clients[ours]}
	}
	if r.name == "start-chart" {
		clients[savefig] = []string{python, "bench/peers.py", savefig, savefig, number}
	}
	if start, ok := startRows[r.name]; ok && start.want == backends.StartSpare {
		clients[pool] = []string{python, "bench/peers.py", pool, r.name[len("start-"):], number}
	}
	if isStartRow(r.name) {
		delete(clients, nbClient) // has no way to leave out the end of its kernel
	}
	if isDockerRow(r.name) {
		clients = dockerClients(self, python, r.name, number)
	}
	if isServeRow(r.name) {
		clients = serveClients(self, python, r.name, number)
	}
	switch r.name {
	case old:
		delete(clients, nbClient) // which may be missing there
		fallthrough
	case "small":
		clients[floor] = []string{self, "-child", floor, number}
	case "notebook", "mixed":
		delete(clients, jupyterClient)
		clients[paperMill] = []string{python, "bench/peers.py", paperMill, r.name, number}
	case "socket":
		clients = map[string][]string{ours: clients[ours]}
	}
	for _, client := range []string{ours, floor, jupyterClient, pool, nbClient, paperMill, savefig} {
		argv, ok := clients[client]
		if !ok {
			continue
		}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env, cmd.Stderr = env, os.Stderr
		out, err := cmd.Output()
		if err != nil && client == jupyterClient && isDockerRow(r.name) {
			continue // an engine may have no bridge to publish ports on; the peer has said so
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", client, err)
		}
		m[client] = new(measure)
		if err := json.Unmarshal(out, m[client]); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", client, err, out)
		}
	}
	return m, nil
}
