package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/local"
	"github.com/ds-sandbox/ds-sandbox/backends/local/pyenv"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// child does our part of one row and prints its measure as JSON.
func child(ctx context.Context, name string, count int) error {
	var m *measure
	var err error
	switch {
	case name == "crowd":
		m, err = crowd(ctx, count)
	case name == "live":
		m, err = live(ctx, count)
	case name == "private":
		m, err = private(ctx, count)
	case isStartRow(name):
		m, err = starts(ctx, name, count)
	case isDockerRow(name):
		m, err = inContainers(ctx, name, count)
	case name == serveRow+"dial":
		return dialViewers(ctx, count)
	case isServeRow(name):
		m, err = serving(ctx, name, count)
	case isBranchRow(name):
		m, err = branches(ctx, name, count)
	case name == "first":
		m, err = first(ctx, count)
	case name == "small" || name == old:
		m, err = small(ctx, count)
	case name == floor:
		m, err = bare(ctx, count)
	case name == "notebook" || name == "mixed":
		m, err = notebooks(ctx, name, count)
	case name == "socket":
		m, err = socket(ctx, count)
	default:
		m, err = stream(ctx, fmt.Sprintf(codes[name], count))
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// coldConfig is of rows that are not about starts in advance.
var coldConfig = sandbox.Config{NoForkServer: true, MaxSpares: sandbox.NoSpares}

func spread(times []time.Duration) *measure {
	slices.Sort(times)
	at := func(p float64) float64 { return times[min(len(times)-1, int(float64(len(times))*p))].Seconds() }
	return &measure{P50: at(0.5), P99: at(0.99), Best: at(0), Worst: at(1)}
}

// first measures from creating a sandbox to its first result.
func first(ctx context.Context, n int) (_ *measure, err error) {
	engine, err := sandbox.Open(ctx, coldConfig)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	var times []time.Duration
	for range n {
		start := time.Now()
		sbx, err := engine.Create(ctx, nil)
		if err != nil {
			return nil, err
		}
		run, err := sbx.RunCode(ctx, "1+1", nil)
		if err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
		if run.Text() != "2" {
			return nil, fmt.Errorf("1+1 is %q", run.Text())
		}
		if err := sbx.Kill(ctx); err != nil {
			return nil, err
		}
	}
	return spread(times), nil
}

// warmUp is how many runs are made before those that count.
const warmUp = 20

func small(ctx context.Context, n int) (*measure, error) {
	var times []time.Duration
	err := withSandbox(ctx, func(sbx *sandbox.Sandbox) error {
		for i := range n + warmUp {
			start := time.Now()
			run, err := sbx.RunCode(ctx, "1+1", nil)
			if err != nil {
				return err
			}
			if i >= warmUp {
				times = append(times, time.Since(start))
			}
			if run.Text() != "2" {
				return fmt.Errorf("1+1 is %q", run.Text())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return spread(times), nil
}

func withSandbox(ctx context.Context, f func(*sandbox.Sandbox) error) (err error) {
	return withSandboxOf(ctx, coldConfig, f)
}

// withSandboxOf gives away a sandbox; its interpreter is a fork if the configuration has a fork server.
func withSandboxOf(ctx context.Context, config sandbox.Config, f func(*sandbox.Sandbox) error) (err error) {
	engine, err := sandbox.Open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close(ctx)) }()
	if !config.NoForkServer {
		if err := engine.Warm(ctx); err != nil {
			return err
		}
	}
	sbx, err := engine.Create(ctx, nil)
	if err != nil {
		return err
	}
	return f(sbx)
}

// stream runs code that prints and counts what arrives.
func stream(ctx context.Context, code string) (*measure, error) {
	m := new(measure)
	err := withSandbox(ctx, func(sbx *sandbox.Sandbox) error {
		if _, err := sbx.RunCode(ctx, "pass", nil); err != nil {
			return err
		}
		_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // peak memory counts from here
		m.BaseRSS = peakRSS()
		start, cpu := time.Now(), cpuTime()
		run, err := sbx.RunCode(ctx, code, &sandbox.RunOptions{OnStdout: func(o sandbox.OutputMessage) {
			m.Messages++
			m.Lines += strings.Count(o.Text, "\n")
			m.Bytes += int64(len(o.Text))
		}})
		m.Wall, m.CPU, m.PeakRSS = time.Since(start).Seconds(), (cpuTime() - cpu).Seconds(), peakRSS()
		if err != nil {
			return err
		}
		return run.Err()
	})
	return m, err
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// peakRSS is the highest resident set since it was last set back, bytes.
func peakRSS() int64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	kilobytes, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return kilobytes << 10
}

// bare measures the kernel's own floor: one request, and then its reply and its idle, with nothing between us and the
// sockets.
func bare(ctx context.Context, n int) (_ *measure, err error) {
	python, err := pyenv.Find(ctx, pyenv.Options{})
	if err != nil {
		return nil, err
	}
	backend, err := local.Open(ctx, local.Config{Python: python, NoForkServer: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	instance, err := backend.Create(ctx, backends.Spec{ID: "floor" + strconv.Itoa(os.Getpid())})
	if err != nil {
		return nil, err
	}
	process, err := instance.StartKernel(ctx, backends.KernelConfig{})
	if err != nil {
		return nil, err
	}
	transport, err := process.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = transport.Close() }()
	session := messaging.NewSession("")
	var times []time.Duration
	for i := range n + warmUp {
		request := messaging.Content(&messaging.ExecuteRequest{Code: "1+1", StoreHistory: true, StopOnError: true})
		if i == 0 {
			request = &messaging.KernelInfoRequest{}
		}
		start := time.Now()
		if err := exchange(ctx, transport, session, request); err != nil {
			return nil, err
		}
		if i >= warmUp {
			times = append(times, time.Since(start))
		}
	}
	return spread(times), nil
}

func exchange(ctx context.Context, t messaging.Transport, session *messaging.Session, body messaging.Content) error {
	m, err := session.New(messaging.Shell, body)
	if err != nil {
		return err
	}
	if err := t.Send(ctx, m); err != nil {
		return err
	}
	for replied, idle := false, false; !replied || !idle; {
		answer, err := t.Recv(ctx)
		if err != nil {
			return err
		}
		if answer.ParentID() != m.Header.MsgID {
			continue
		}
		replied = replied || answer.Channel == messaging.Shell
		idle = idle || answer.Header.MsgType == "status" && strings.Contains(string(answer.Content), `"idle"`)
	}
	return nil
}
