package main

import (
	"context"
	"errors"
	"time"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// lineSize is the size of a message's text in the flood, bytes.
const lineSize = 40

// socket measures how many stream messages a second come from a fake kernel's socket, in a process of its own, to the reader
// of a run: each distinct, signed, verified and decoded.
func socket(ctx context.Context, n int) (_ *measure, err error) {
	fake, err := kerneltest.StartProcess(ctx, "unix")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, fake.Close()) }()
	transport, err := zmtp.Connect(ctx, fake.Info, nil)
	if err != nil {
		return nil, err
	}
	conn := kernel.New(transport, nil)
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.Ready(ctx); err != nil {
		return nil, err
	}
	m := new(measure)
	start, cpu := time.Now(), cpuTime()
	run, err := conn.Execute(ctx, &messaging.ExecuteRequest{Code: kerneltest.FloodCode(n, lineSize)}, nil)
	if err != nil {
		return nil, err
	}
	for event, err := range run.All(ctx) {
		if err != nil {
			return nil, err
		}
		if s, ok := event.Content.(*messaging.Stream); ok {
			if s.Text == kerneltest.FloodLine(m.Messages, lineSize) {
				m.Messages++
			}
		}
	}
	m.Wall, m.CPU = time.Since(start).Seconds(), (cpuTime() - cpu).Seconds()
	return m, nil
}
