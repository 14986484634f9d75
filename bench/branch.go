package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// What the session holds that the rows about copies copy.
const (
	imports  = "import os, numpy, pandas, matplotlib.pyplot"
	gigabyte = imports + "\nframe = pandas.DataFrame(numpy.ones((1 << 20, 128)))"
)

// branches measures copies of a running session: from the request to the first answer of the copy.
func branches(ctx context.Context, row string, n int) (*measure, error) {
	kind, held, _ := strings.Cut(row, "-")
	code := imports
	if held == "1gb" {
		code = gigabyte
	}
	m := new(measure)
	err := withSandboxOf(ctx, sandbox.Config{MaxSpares: sandbox.NoSpares}, func(sbx *sandbox.Sandbox) error {
		if _, err := result(ctx, sbx, code); err != nil {
			return err
		}
		var err error
		switch {
		case held == "twenty":
			m, err = twenty(ctx, sbx, n)
		case kind == "fork":
			m, err = forks(ctx, sbx, n)
		case kind == "checkpoint":
			m, err = checkpoints(ctx, sbx, n)
		case kind == "rollback":
			m, err = rollbacks(ctx, sbx, n)
		}
		return err
	})
	return m, err
}

// forks measures forks of one session, each killed before the next, and the private memory of the copy.
func forks(ctx context.Context, sbx *sandbox.Sandbox, n int) (*measure, error) {
	var times []time.Duration
	var private int64
	for range n {
		start := time.Now()
		made, err := sbx.Fork(ctx, 1, nil)
		if err != nil {
			return nil, err
		}
		if _, err := result(ctx, made[0], "1+1"); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
		if private, err = privateMemory(ctx, made[0]); err != nil {
			return nil, err
		}
		if err := made[0].Kill(ctx); err != nil {
			return nil, err
		}
	}
	m := spread(times)
	m.Bytes = private
	return m, nil
}

// twenty measures twenty forks of one session at once, until each has answered; Lines are the answers.
func twenty(ctx context.Context, sbx *sandbox.Sandbox, n int) (*measure, error) {
	var times []time.Duration
	answered := 0
	for range n {
		start := time.Now()
		made, err := sbx.Fork(ctx, 20, nil)
		if err != nil {
			return nil, err
		}
		errs := make([]error, len(made))
		var wg sync.WaitGroup
		for i, fork := range made {
			wg.Go(func() { _, errs[i] = result(ctx, fork, "1+1") })
		}
		wg.Wait()
		times = append(times, time.Since(start))
		for i, fork := range made {
			if errs[i] == nil {
				answered++
			}
			if err := fork.Kill(ctx); err != nil {
				return nil, err
			}
		}
	}
	m := spread(times)
	m.Lines, m.Messages = answered, 20*n
	return m, nil
}

func checkpoints(ctx context.Context, sbx *sandbox.Sandbox, n int) (*measure, error) {
	var times []time.Duration
	for range n {
		start := time.Now()
		p, err := sbx.DefaultContext().Checkpoint(ctx, nil)
		if err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
		if err := p.Drop(ctx); err != nil {
			return nil, err
		}
	}
	return spread(times), nil
}

// rollbacks measures ways back to one checkpoint, to the first answer.
func rollbacks(ctx context.Context, sbx *sandbox.Sandbox, n int) (*measure, error) {
	p, err := sbx.DefaultContext().Checkpoint(ctx, nil)
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for range n {
		start := time.Now()
		if err := sbx.DefaultContext().Rollback(ctx, p); err != nil {
			return nil, err
		}
		if _, err := result(ctx, sbx, "1+1"); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
		time.Sleep(lookAround)
	}
	return spread(times), nil
}

// lookAround is how long one who went back stays there at least.
const lookAround = 100 * time.Millisecond

// result runs code and returns its value.
func result(ctx context.Context, sbx *sandbox.Sandbox, code string) (string, error) {
	run, err := sbx.RunCode(ctx, code, nil)
	if err != nil {
		return "", err
	}
	return run.Text(), run.Err()
}

// privateMemory is what a kernel has for itself, bytes.
func privateMemory(ctx context.Context, sbx *sandbox.Sandbox) (int64, error) {
	pid, err := result(ctx, sbx, "os.getpid()")
	if err != nil {
		return 0, err
	}
	data, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	if err != nil {
		return 0, fmt.Errorf("private memory: %w", err)
	}
	var private int64
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if strings.HasPrefix(line, "Private_") && len(fields) > 1 {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("private memory: %w", err)
			}
			private += kilobytes << 10
		}
	}
	return private, nil
}

// branchRows are about copies of running sessions, which no peer has.
func branchRows() []row {
	var rows []row
	add := func(name, title, aim, memory string) {
		rows = append(rows, row{name: name, title: title, count: 30, report: func(t *table, m measures) {
			t.line(title+", p50, ms", fmt.Sprintf("%.1f", milliseconds(m[ours].P50)), "-", "-", "-", aim)
			if memory != "" {
				t.line("  its private memory, MB", fmt.Sprintf("%.1f", float64(m[ours].Bytes)/1e6), "-", "-", "-", memory)
			}
		}})
	}
	add("fork-imports", "fork of a forked session with pandas and pyplot, 0 spares, to its first answer", "<= 40", "<= 12")
	add("fork-1gb", "fork of a forked session holding 1 GB, 0 spares, to its first answer", "<= 60", "<= 12")
	rows = append(rows, row{name: "fork-twenty", title: "20 forks at once", count: 30, report: func(t *table, m measures) {
		took := fmt.Sprintf("%.0f", milliseconds(m[ours].P50))
		t.line("20 forks of a session at once, 0 spares, until each has answered, p50, ms", took, "-", "-", "-", "")
		t.line("  that answered", fmt.Sprintf("%d of %d", m[ours].Lines, m[ours].Messages), "-", "-", "-", "all")
	}})
	add("checkpoint-1gb", "checkpoint of a forked session, 1 GB held", "<= 35", "")
	add("rollback-1gb", "rollback of a forked session to the first answer, 1 GB held", "<= 25", "")
	return rows
}

// isBranchRow reports whether a row is about copies.
func isBranchRow(name string) bool {
	kind, _, _ := strings.Cut(name, "-")
	return kind == "fork" || kind == "checkpoint" || kind == "rollback"
}
