package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// fileSize is of the file that goes in and out, bytes.
const fileSize = 100_000_000

// inContainers does our part of a row about containers.
func inContainers(ctx context.Context, name string, n int) (m *measure, err error) {
	config := sandbox.Config{DefaultBackend: "docker", MaxSpares: sandbox.NoSpares}
	measureIt := map[string]func(context.Context, *sandbox.Engine, int) (*measure, error){
		"parked": parkedContainers, "first": coldContainers, "small": smallInContainer, "files": filesOfContainer, "live": liveContainers,
		"kill": killedContainers,
	}[name[len(dockerRow):]]
	if name == dockerRow+"parked" {
		config.MinSpares, config.MaxSpares = spareCount, spareCount
	}
	if name == dockerRow+"small" || name == dockerRow+"kill" || name == dockerRow+"files" {
		config.NoForkServer = true // whose imports would be measured, too
	}
	err = withEngine(ctx, config, func(e *sandbox.Engine) error {
		m, err = measureIt(ctx, e, n)
		return err
	})
	return m, err
}

func withEngine(ctx context.Context, config sandbox.Config, f func(*sandbox.Engine) error) (err error) {
	engine, err := sandbox.Open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	return f(engine)
}

// parkedContainers measures claims to the first result.
func parkedContainers(ctx context.Context, e *sandbox.Engine, n int) (*measure, error) {
	return containersTo(ctx, e, n, backends.StartSpare, func() {
		for e.Metrics().Spares < spareCount {
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(2 * time.Second) // their fork servers import
	})
}

// coldContainers measures creations to the first result.
func coldContainers(ctx context.Context, e *sandbox.Engine, n int) (*measure, error) {
	return containersTo(ctx, e, n, backends.StartCold, func() {})
}

func containersTo(ctx context.Context, e *sandbox.Engine, n int, want backends.StartKind, before func()) (*measure, error) {
	var times []time.Duration
	for range n {
		before()
		start := time.Now()
		sbx, err := e.Create(ctx, nil)
		if err != nil {
			return nil, err
		}
		if got, err := result(ctx, sbx, "1+1"); err != nil || got != "2" {
			return nil, errors.Join(err, fmt.Errorf("1+1 is %q", got))
		}
		times = append(times, time.Since(start))
		if kind := sbx.Info().Start.Kind; kind != want {
			return nil, fmt.Errorf("start was %s", kind)
		}
		if err := sbx.Kill(ctx); err != nil {
			return nil, err
		}
	}
	return spread(times), nil
}

// smallInContainer measures 1+1 in a container and, in turns, locally: both meet the same machine. Floor is the local figure.
func smallInContainer(ctx context.Context, e *sandbox.Engine, n int) (*measure, error) {
	var m *measure
	config := sandbox.Config{DefaultBackend: "local", NoForkServer: true, MaxSpares: sandbox.NoSpares}
	err := withSandboxOf(ctx, config, func(local *sandbox.Sandbox) error {
		far, err := e.Create(ctx, nil)
		if err != nil {
			return err
		}
		var times [2][]time.Duration
		const turn = 25
		for done := -warmUp; done < n; done += turn {
			for i, sbx := range []*sandbox.Sandbox{far, local} {
				for range turn {
					start := time.Now()
					if _, err := sbx.RunCode(ctx, "1+1", nil); err != nil {
						return err
					}
					if done >= 0 {
						times[i] = append(times[i], time.Since(start))
					}
				}
			}
		}
		m = spread(times[0])
		floor := spread(times[1])
		m.Floor, m.FloorBest = floor.P50, floor.Best
		return nil
	})
	return m, err
}

// filesOfContainer measures a file that goes in, and out, which is Floor.
func filesOfContainer(ctx context.Context, e *sandbox.Engine, n int) (*measure, error) {
	sbx, err := e.Create(ctx, &sandbox.Options{Lazy: true})
	if err != nil {
		return nil, err
	}
	var in, out []time.Duration
	data := strings.Repeat("0123456789", fileSize/10)
	for range n {
		start := time.Now()
		if _, err := sbx.Files().WriteFrom(ctx, "big", strings.NewReader(data), nil); err != nil {
			return nil, err
		}
		in = append(in, time.Since(start))
		start = time.Now()
		r, err := sbx.Files().Open(ctx, "big")
		if err != nil {
			return nil, err
		}
		got, err := io.Copy(struct{ io.Writer }{io.Discard}, r) // in pieces as a file would take it
		if err = errors.Join(err, r.Close()); err != nil || got != fileSize {
			return nil, errors.Join(err, fmt.Errorf("%d bytes came back", got))
		}
		out = append(out, time.Since(start))
	}
	m, outs := spread(in), spread(out)
	m.Floor, m.FloorBest = outs.P50, outs.Best
	return m, nil
}

// liveContainers keeps containers, a few made at a time, until all live; then each answers. Bytes is what one of them holds in memory, the
// median, once all is quiet.
func liveContainers(ctx context.Context, e *sandbox.Engine, n int) (*measure, error) {
	all, errs := make([]*sandbox.Sandbox, n), make([]error, n)
	few := make(chan struct{}, 4)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		few <- struct{}{}
		wg.Go(func() {
			defer func() { <-few }()
			all[i], errs[i] = e.Create(ctx, nil)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m := &measure{Wall: time.Since(start).Seconds(), Lines: n}
	for i, sbx := range all {
		want := fmt.Sprint(i)
		if got, err := result(ctx, sbx, want); err == nil && got == want {
			m.Messages++
		}
	}
	time.Sleep(20 * time.Second)
	var memory []int64
	for _, sbx := range all {
		stats, err := sbx.Stats(ctx)
		if err != nil {
			return nil, err
		}
		memory = append(memory, stats.Memory)
	}
	slices.Sort(memory)
	m.Bytes = memory[n/2]
	return m, nil
}

// killedContainers measures the end of containers whose code computes.
func killedContainers(ctx context.Context, e *sandbox.Engine, n int) (*measure, error) {
	var times []time.Duration
	for range n {
		sbx, err := e.Create(ctx, nil)
		if err != nil {
			return nil, err
		}
		run, err := sbx.StartCode(ctx, "print(flush=True)\nwhile True: pass", nil)
		if err != nil {
			return nil, err
		}
		if _, err := run.Next(ctx); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := sbx.Kill(ctx); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return spread(times), nil
}
