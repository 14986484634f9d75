package kernel

import (
	"context"
	"fmt"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// nudges are the pauses before kernel_info is asked again while nothing is heard on iopub; the last one repeats.
var nudges = []time.Duration{
	20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second,
}

// Ready waits until the kernel has answered kernel_info and the subscription is known to be active, so that no
// output of the first run can be lost. Any iopub message proves the subscription: the transport subscribes to
// everything first. There are no sleeps: a kernel that is up is ready after one exchange.
func (c *Conn) Ready(ctx context.Context) (*messaging.KernelInfoReply, error) {
	return c.readyBy(ctx, messaging.Shell)
}

func (c *Conn) readyBy(ctx context.Context, ch messaging.Channel) (*messaging.KernelInfoReply, error) {
	reply, err := c.ready(ctx, ch)
	if err != nil {
		return nil, fmt.Errorf("kernel: ready: %w", err)
	}
	c.update(func(f *inFlight) { f.ready = true })
	return reply, nil
}

func (c *Conn) ready(ctx context.Context, ch messaging.Channel) (*messaging.KernelInfoReply, error) {
	answers := make(chan answer, 1)
	var calls []*call
	defer func() {
		for _, k := range calls {
			k.forget()
		}
	}()
	ask := func() error {
		k, err := c.startCall(ctx, ch, &messaging.KernelInfoRequest{}, answers)
		if err == nil {
			calls = append(calls, k)
		}
		return err
	}
	if err := ask(); err != nil {
		return nil, err
	}
	again := time.NewTimer(nudges[0])
	defer again.Stop()
	var info *messaging.Message
	for heard := (<-chan struct{})(c.heard); info == nil || heard != nil; {
		select {
		case a := <-answers:
			if a.err == nil {
				info = a.reply
			}
		case <-heard:
			heard = nil
		case <-again.C:
			if err := ask(); err != nil {
				return nil, err
			}
			again.Reset(nudges[min(len(calls), len(nudges)-1)])
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-c.life.Done():
			return nil, c.Err()
		}
	}
	content, err := info.Decode()
	if err != nil {
		return nil, err
	}
	reply, ok := content.(*messaging.KernelInfoReply)
	if !ok {
		return nil, fmt.Errorf("kernel_info_request answered by %s", content.MsgType())
	}
	return reply, nil
}
