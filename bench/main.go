// Command bench measures the engine beside its peers, jupyter_client and nbclient, in one run with one kernel and one
// Python, and prints a table. See `make bench`.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"text/tabwriter"

	"github.com/ds-sandbox/ds-sandbox/backends/local/pyenv"
	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
)

func main() {
	kerneltest.ServeIfChild()
	quick := flag.Bool("quick", false, "a tenth of the work, for a look")
	only := flag.String("rows", "", "only rows whose whole names match this regular expression: first, small, small-617, lines, big, prints, "+
		"gigabyte, socket, notebook, mixed, start-spare, start-fork, start-pandas, start-chart, crowd, live, private, fork-imports, fork-1gb, "+
		"fork-twenty, checkpoint-1gb, rollback-1gb, place, docker-parked, docker-first, docker-small, docker-files, docker-live, "+
		"docker-kill, serve-execute, serve-streams, serve-viewers, serve-output, serve-result or serve-view")
	file := flag.String("results", "", "write the table to this file too, as JSON; with -rows, put those in their places in it")
	isChild := flag.Bool("child", false, "do one client's part of one row: ROW COUNT")
	profile := flag.String("cpuprofile", "", "with -child: write a CPU profile to this file")
	flag.Parse()
	if *isChild {
		defer startProfile(*profile)()
		count, err := strconv.Atoi(flag.Arg(1))
		if err == nil {
			err = child(context.Background(), flag.Arg(0), count)
		}
		if err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := run(context.Background(), *quick, *only, *file); err != nil {
		log.Fatal(err)
	}
}

// startProfile begins a CPU profile if a file is named; the result ends it.
func startProfile(name string) (stop func()) {
	if name == "" {
		return func() {}
	}
	f, err := os.Create(name)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		log.Fatal(err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}
}

// row is one line of the table.
type row struct {
	name   string // as peers.py knows it
	title  string
	count  int
	report func(t *table, m measures)
}

// measures are a row's results by client.
type measures map[string]*measure

// measure is what one client did in one row.
type measure struct {
	P50      float64 `json:"p50"` // s
	P99      float64 `json:"p99"` // s
	Best     float64 `json:"best"`
	Worst    float64 `json:"worst"`
	Messages int     `json:"messages"`
	Lines    int     `json:"lines"`
	Bytes    int64   `json:"bytes"`
	Wall     float64 `json:"wall"`     // s
	CPU      float64 `json:"cpu"`      // s, of the client's process
	BaseRSS  int64   `json:"base_rss"` // bytes, before the row
	PeakRSS  int64   `json:"peak_rss"` // bytes
	// Floor is the median of a second figure of the row, FloorBest its best, s.
	Floor     float64 `json:"floor"`
	FloorBest float64 `json:"floor_best"`
}

// The clients, in the order of the columns.
const (
	ours          = "ds-sandbox"
	jupyterClient = "jupyter_client"
	nbClient      = "nbclient"
	pool          = "pool" // of kernels that jupyter_client has started before
	paperMill     = "papermill"
	floor         = "floor"
	savefig       = "savefig" // a bare Python
)

// old is the row of the system's Python, whose ipykernel is 6.17 on Debian 12.
const (
	old       = "small-617"
	oldPython = "/usr/bin/python3"
)

func hasOld(ctx context.Context) bool {
	return exec.CommandContext(ctx, oldPython, "-I", "-c", "import ipykernel, jupyter_client").Run() == nil
}

func run(ctx context.Context, quick bool, only, file string) error {
	wanted, err := regexp.Compile("^(?:" + cmp.Or(only, ".*") + ")$")
	if err != nil {
		return err
	}
	python, err := pyenv.Find(ctx, pyenv.Options{})
	if err != nil {
		return err
	}
	out := results{
		Machine: fmt.Sprintf("%d cores of %s", runtime.NumCPU(), machine()),
		Kernel:  fmt.Sprintf("ipykernel %s, Python %s, %s", python.Packages["ipykernel"], python.Version, runtime.Version()),
	}
	fmt.Printf("%s; %s\n\n", out.Kernel, out.Machine)
	share := 1
	if quick {
		share = 10
	}
	t := &table{Writer: tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)}
	t.line("", ours, jupyterClient, nbClient, "ratio", "aim")
	for _, r := range rows() {
		if !wanted.MatchString(r.name) || r.name == old && !hasOld(ctx) {
			continue
		}
		executable := python.Executable
		if r.name == old {
			executable = oldPython
		}
		m, err := r.measure(ctx, executable, max(1, r.count/share))
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		r.report(t, m)
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if wanted.MatchString(placeName) {
		if err := place(ctx, t, share); err != nil {
			return err
		}
	}
	if err := containers(ctx, t, wanted.MatchString, python.Executable, share); err != nil {
		return err
	}
	if file == "" {
		return nil
	}
	out.Columns, out.Rows = t.lines[0], t.lines[1:]
	if only != "" {
		if err := out.update(file); err != nil {
			return err
		}
	}
	return out.write(file)
}

// table prints rows: what, ours, the peers', our part of jupyter_client's, and the aim.
type table struct {
	*tabwriter.Writer
	lines [][]string
}

func (t *table) line(cells ...string) {
	t.lines = append(t.lines, cells)
	for _, c := range cells {
		_, _ = fmt.Fprint(t, c, "\t")
	}
	_, _ = fmt.Fprintln(t)
}

// notebooks prints the time of a notebook, kernel start and end included, and below it papermill's.
func (t *table) notebooks(title string, m measures, aim string) {
	cell := func(client string) string { return fmt.Sprintf("%.2f", m[client].P50) }
	ratio := func(client string) string { return fmt.Sprintf("%.2f", m[ours].P50/m[client].P50) }
	t.line(title+", start and end of the kernel included, p50, s", cell(ours), "-", cell(nbClient), ratio(nbClient), aim)
	t.line("  beside papermill, which takes "+cell(paperMill), cell(ours), "-", "-", ratio(paperMill), "")
}

// compare prints one figure of each client.
func (t *table) compare(title string, m measures, aim, format string, figure func(*measure) float64) {
	cell := func(client string) string {
		if m[client] == nil {
			return "-"
		}
		return fmt.Sprintf(format, figure(m[client]))
	}
	ratio := "-"
	if peer := m[jupyterClient]; peer != nil && figure(peer) != 0 {
		ratio = fmt.Sprintf("%.2f", figure(m[ours])/figure(peer))
	}
	t.line(title, cell(ours), cell(jupyterClient), cell(nbClient), ratio, aim)
}
