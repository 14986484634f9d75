package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// What is asked of a sandbox as soon as it is there; peers.py has the same.
const (
	pandasCode = "import pandas as pd\nint(pd.DataFrame({'a': [1, 2]}).a.sum())"
	chartCode  = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 4]); plt.title('t'); plt.show()"
)

// spareCount is how many spares the rows about them have.
const spareCount = 2

// startRow measures one kind of start.
type startRow struct {
	code  string
	want  backends.StartKind
	peer  string // the peers' row
	aim   string
	title string
}

var startRows = map[string]startRow{
	"start-spare": {code: "1+1", want: backends.StartSpare, peer: "first", aim: "<= 8", title: "create to 1+1, 2 spares"},
	"start-fork":  {code: "1+1", want: backends.StartFork, peer: "first", aim: "<= 70", title: "create to 1+1, forked, 0 spares"},
	"start-pandas": {
		code: pandasCode, want: backends.StartSpare, peer: "first-pandas", aim: "<= 15",
		title: "create to a pandas result, 2 spares",
	},
	"start-chart": {
		code: chartCode, want: backends.StartSpare, peer: "first-chart", aim: "savefig + 40",
		title: "create to a chart (PNG and data), 2 spares",
	},
}

// starts measures creations to the first result, each sandbox killed before the next.
func starts(ctx context.Context, name string, n int) (_ *measure, err error) {
	r := startRows[name]
	config := sandbox.Config{MaxSpares: sandbox.NoSpares}
	if r.want == backends.StartSpare {
		config = sandbox.Config{MinSpares: spareCount, MaxSpares: spareCount}
	}
	engine, err := sandbox.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	if err := engine.Warm(ctx); err != nil {
		return nil, err
	}
	var times []time.Duration
	for len(times) < n {
		for r.want == backends.StartSpare && engine.Metrics().Spares < spareCount {
			time.Sleep(5 * time.Millisecond)
		}
		start := time.Now()
		sbx, err := engine.Create(ctx, nil)
		if err != nil {
			return nil, err
		}
		if _, err := result(ctx, sbx, r.code); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
		if kind := sbx.Info().Start.Kind; kind != r.want {
			return nil, fmt.Errorf("start was %s", kind)
		}
		if err := sbx.Kill(ctx); err != nil {
			return nil, err
		}
	}
	return spread(times), nil
}

// crowd creates sandboxes at once, without spares, and lets each return a pandas result.
func crowd(ctx context.Context, n int) (_ *measure, err error) {
	engine, err := sandbox.Open(ctx, sandbox.Config{MaxSpares: sandbox.NoSpares})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	if err := engine.Warm(ctx); err != nil {
		return nil, err
	}
	m := new(measure)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	start := time.Now()
	sandboxes := make([]*sandbox.Sandbox, n)
	for i := range n {
		wg.Go(func() {
			sbx, err := engine.Create(ctx, nil)
			if err == nil {
				sandboxes[i] = sbx
				_, err = result(ctx, sbx, pandasCode)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	wg.Wait()
	m.Wall, m.Lines = time.Since(start).Seconds(), n-len(failed)
	// All live now: each answers, and what one has for itself is looked at.
	for _, sbx := range sandboxes {
		if sbx == nil {
			continue
		}
		if _, err := result(ctx, sbx, "1+1"); err != nil {
			failed = append(failed, err)
		}
	}
	m.Messages = n - len(failed)
	return m, errors.Join(failed...)
}

// private measures the memory that a kernel with pandas and pyplot has for itself, idle and after a chart, and restarts.
func private(ctx context.Context, n int) (_ *measure, err error) {
	engine, err := sandbox.Open(ctx, sandbox.Config{MaxSpares: sandbox.NoSpares})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	if err := engine.Warm(ctx); err != nil {
		return nil, err
	}
	sbx, err := engine.Create(ctx, nil)
	if err != nil {
		return nil, err
	}
	m := new(measure)
	if _, err := result(ctx, sbx, imports); err != nil {
		return nil, err
	}
	if m.BaseRSS, err = privateMemory(ctx, sbx); err != nil {
		return nil, err
	}
	if _, err := result(ctx, sbx, chartCode); err != nil {
		return nil, err
	}
	if m.PeakRSS, err = privateMemory(ctx, sbx); err != nil {
		return nil, err
	}
	var times []time.Duration
	for range n {
		start := time.Now()
		if err := sbx.DefaultContext().Restart(ctx); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	at := spread(times)
	m.P50, m.P99 = at.P50, at.P99
	return m, nil
}

// isStartRow reports whether a row is about starts in advance.
func isStartRow(name string) bool {
	_, ok := startRows[name]
	return ok || name == "crowd" || name == "private"
}

func startTable() []row {
	ms := func(x *measure) float64 { return milliseconds(x.P50) }
	var rows []row
	for _, name := range []string{"start-spare", "start-fork", "start-pandas", "start-chart"} {
		r := startRows[name]
		rows = append(rows, row{name: name, title: r.title, count: 30, report: func(t *table, m measures) {
			aim := r.aim
			if floor := m[savefig]; floor != nil {
				aim = fmt.Sprintf("<= %.0f (%s)", ms(floor)+40, r.aim)
			}
			t.compare(r.title+", p50, ms", m, aim, "%.1f", ms)
		}})
	}
	return append(rows,
		row{name: "crowd", title: "100 sandboxes at once", count: 100, report: func(t *table, m measures) {
			t.line("100 sandboxes at once, 0 spares, each a pandas result, s", fmt.Sprintf("%.2f", m[ours].Wall), "-", "-", "-", "<= 5")
			t.line("  that answered, and did so again while all lived", fmt.Sprintf("%d, %d", m[ours].Lines, m[ours].Messages), "-", "-", "-", "all")
		}},
		row{name: "private", title: "memory and restarts", count: 30, report: func(t *table, m measures) {
			t.line("private memory with pandas and pyplot, idle, MB", fmt.Sprintf("%.1f", float64(m[ours].BaseRSS)/1e6), "-", "-", "-", "<= 22")
			t.line("  after a chart, MB", fmt.Sprintf("%.1f", float64(m[ours].PeakRSS)/1e6), "-", "-", "-", "<= 40")
			t.line("restart, p50, ms", fmt.Sprintf("%.1f", milliseconds(m[ours].P50)), "-", "-", "-", "<= 80")
		}},
	)
}

// peerRow is the peers' name of a row.
func peerRow(name string) string {
	if r, ok := startRows[name]; ok {
		return r.peer
	}
	return name
}
