package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

// live keeps sandboxes without spares, a few made at a time, until all live and each has answered; Bytes is what one has for itself.
func live(ctx context.Context, n int) (_ *measure, err error) {
	engine, err := sandbox.Open(ctx, sandbox.Config{MaxSpares: sandbox.NoSpares})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	if err := engine.Warm(ctx); err != nil {
		return nil, err
	}
	sandboxes, errs := make([]*sandbox.Sandbox, n), make([]error, n)
	few := make(chan struct{}, 4)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		few <- struct{}{}
		wg.Go(func() {
			defer func() { <-few }()
			if sandboxes[i], errs[i] = engine.Create(ctx, nil); errs[i] == nil {
				_, errs[i] = result(ctx, sandboxes[i], imports)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m := &measure{Wall: time.Since(start).Seconds()}
	for i, sbx := range sandboxes {
		want := strconv.Itoa(i + 1)
		if got, err := result(ctx, sbx, want); err == nil && got == want {
			m.Messages++
		}
	}
	m.Bytes, err = privateMemory(ctx, sandboxes[n/2])
	return m, err
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
	return ok || name == "crowd" || name == "private" || name == "live"
}

func startTable() []row {
	ms := func(x *measure) float64 { return milliseconds(x.P50) }
	wall := func(x *measure) float64 { return x.Wall }
	idle := func(x *measure) float64 { return float64(x.BaseRSS) / 1e6 }
	var rows []row
	for _, name := range []string{"start-spare", "start-fork", "start-pandas", "start-chart"} {
		r := startRows[name]
		rows = append(rows, row{name: name, title: r.title, count: 30, report: func(t *table, m measures) {
			aim := r.aim
			if floor := m[savefig]; floor != nil {
				aim = fmt.Sprintf("<= %.0f (%s)", ms(floor)+40, r.aim)
			}
			t.compare(r.title+", p50, ms", m, aim, "%.1f", ms)
			if peer := m[pool]; peer != nil {
				t.line(fmt.Sprintf("  the first answer of a pool of %d started kernels", spareCount), "-", fmt.Sprintf("%.1f", ms(peer)), "-", "-", "")
			}
		}})
	}
	return append(rows,
		row{name: "crowd", title: "100 sandboxes at once", count: 100, report: func(t *table, m measures) {
			t.compare("100 sandboxes at once, once, 0 spares, each a pandas result, s", m, "<= 5", "%.2f", wall)
			answered := func(x *measure) string { return fmt.Sprintf("%d, %d", x.Lines, x.Messages) }
			t.line("  that answered, and did so again while all lived", answered(m[ours]), answered(m[jupyterClient]), "-", "-", "all")
		}},
		row{name: "live", title: "300 live kernels", count: 300, report: func(t *table, m measures) {
			t.line("300 live kernels with pandas and pyplot, 0 spares: that answered", strconv.Itoa(m[ours].Messages), "-", "-", "-", "all")
			t.line("  private memory of one, MB", fmt.Sprintf("%.1f", float64(m[ours].Bytes)/1e6), "-", "-", "-", "")
		}},
		row{name: "private", title: "memory and restarts", count: 30, report: func(t *table, m measures) {
			t.compare("private memory with pandas and pyplot, 0 spares, idle, MB", m, "<= 22", "%.1f", idle)
			t.compare("  after a chart, MB", m, "<= 40", "%.1f", func(x *measure) float64 { return float64(x.PeakRSS) / 1e6 })
			t.compare("restart, 0 spares, p50, ms", m, "<= 80", "%.1f", ms)
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
