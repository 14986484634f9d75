package remote

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// meter is a span that is measured there.
type meter struct {
	c      *Client
	number uint64
}

// Meter starts measuring.
func (k *kernelProcess) Meter(ctx context.Context) (backends.Meter, error) {
	answer, err := call(ctx, k.in.c, change, k.in.c.kernel.StartMeter, &agentpb.StartMeterRequest{Kernel: k.id})
	if err != nil {
		return nil, wrap("measure", err)
	}
	return &meter{c: k.in.c, number: answer.Meter}, nil
}

// Stop ends the measuring.
func (m *meter) Stop(ctx context.Context) (backends.Usage, error) {
	answer, err := call(ctx, m.c, change, m.c.kernel.StopMeter, &agentpb.StopMeterRequest{Meter: m.number})
	if err != nil {
		return backends.Usage{}, wrap("measure", err)
	}
	return answer.Value(), nil
}

// metering is what a kernel's process knows of the run that is measured.
type metering struct {
	mu   sync.Mutex // guards what follows
	next *runMeter  // waits for its request
	run  *runMeter  // whose request was sent last
}

// runMeter measures one run. It is begun beside the run's request and its usage comes with the run's end, so that it costs no round trip.
type runMeter struct {
	k      *kernelProcess
	number uint64
	usage  *agentpb.Usage // once it was told; guarded by the kernel's metering
	sent   bool           // likewise
}

// MeterNext measures the next request to execute code.
func (k *kernelProcess) MeterNext() backends.Meter {
	m := &runMeter{k: k, number: rand.Uint64() | 1}
	k.metering.mu.Lock()
	defer k.metering.mu.Unlock()
	k.metering.next = m
	return m
}

// forRun is what the agent is told beside a request; nil when the run is not to be measured.
func (m *metering) forRun(request string) *agentpb.MeterRun {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == nil {
		return nil
	}
	m.run, m.next = m.next, nil
	m.run.sent = true
	return &agentpb.MeterRun{Number: m.run.number, Run: request}
}

// told takes what the agent has measured.
func (m *metering) told(u *agentpb.RunUsage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run != nil && m.run.number == u.Number && u.Usage != nil {
		m.run.usage = u.Usage
	}
}

// Stop returns what the run used. It asks when that did not come with the run's end: there was none, or the stream broke.
func (m *runMeter) Stop(ctx context.Context) (backends.Usage, error) {
	all := &m.k.metering
	all.mu.Lock()
	usage, sent := m.usage, m.sent
	if all.next == m {
		all.next = nil
	}
	all.mu.Unlock()
	if !sent {
		return backends.Usage{}, nil
	}
	if usage == nil {
		var err error
		c := m.k.in.c
		usage, err = call(ctx, c, change, c.kernel.StopMeter, &agentpb.StopMeterRequest{Meter: m.number, Kernel: m.k.id})
		if err != nil {
			return backends.Usage{}, wrap("measure", err)
		}
	}
	return usage.Value(), nil
}

var _ backends.RunMeterer = (*kernelProcess)(nil)
