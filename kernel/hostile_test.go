package kernel_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// hostileMemory is what a run on a hostile kernel may hold, bytes; all that is announced is far beyond.
const hostileMemory = 200 << 20

// talk connects, runs code once and returns what it printed.
func talk(ctx context.Context, info *messaging.ConnectionInfo) (printed string, err error) {
	transport, err := zmtp.Connect(ctx, info, &zmtp.TransportOptions{HandshakeTimeout: time.Second})
	if err != nil {
		return "", err
	}
	conn := kernel.New(transport, &kernel.Options{
		IdleGrace: 500 * time.Millisecond, ReplyGrace: 200 * time.Millisecond, InterruptGrace: 500 * time.Millisecond,
	})
	defer func() { _ = conn.Close() }()
	if _, err := conn.Ready(ctx); err != nil {
		return "", err
	}
	run, err := conn.Execute(ctx, &messaging.ExecuteRequest{Code: "run", AllowStdin: true}, nil)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for event, err := range run.All(context.Background()) { // the run's own context bounds it
		if err != nil {
			return out.String(), err
		}
		if s, ok := event.Content.(*messaging.Stream); ok && out.Len() < 1<<20 {
			out.WriteString(s.Text)
		}
	}
	reply, err := run.Wait(ctx)
	if err != nil {
		return out.String(), err
	}
	if !reply.Status.OK() {
		return out.String(), fmt.Errorf("reply: %s", reply.Status)
	}
	return out.String(), nil
}

func TestHostileKernelsHarmNobody(t *testing.T) {
	for _, h := range kerneltest.Hostile() {
		t.Run(strings.ReplaceAll(h.Name, " ", "-"), func(t *testing.T) {
			fake, info, err := h.Start("unix")
			require.NoError(t, err)
			defer fake.Close()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			// A run that ends only by our own clocks gets a short one.
			limit := 3 * time.Minute // a million messages take half a minute under the race detector
			if h.Patience {
				limit = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			start := time.Now()
			printed, err := talk(ctx, info)
			require.Less(t, time.Since(start), limit+5*time.Second)
			runtime.ReadMemStats(&after)
			require.Less(t, after.HeapInuse, before.HeapInuse+hostileMemory)
			require.NotContains(t, printed, "evil")
			switch h.Outcome {
			case kerneltest.EndsWell:
				require.NoError(t, err)
				require.Equal(t, kerneltest.HostileOutput, printed)
			case kerneltest.EndsBadly:
				require.Error(t, err)
			case kerneltest.EndsEither:
			}
		})
	}
}

func TestOutputOverTheFrameLimitIsLeftOutAndCounted(t *testing.T) {
	fake := kerneltest.New(nil)
	defer fake.Close()
	info, err := kerneltest.Listen(fake, "unix")
	require.NoError(t, err)
	transport, err := zmtp.Connect(t.Context(), info, &zmtp.TransportOptions{MaxFrame: 1 << 20})
	require.NoError(t, err)
	conn := kernel.New(transport, nil)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = conn.Ready(t.Context())
	require.NoError(t, err)
	fake.On("much", func(c *kerneltest.Call) {
		c.Stream("stdout", "before")
		c.Stream("stdout", strings.Repeat("x", 5<<20))
		c.Stream("stdout", "after")
	})
	s := collect(t, execute(t, conn, "much"))
	require.NoError(t, s.err)
	require.Equal(t, []string{"before", "after"}, s.texts)
	require.Equal(t, 1, s.cut.Messages)
	require.InDelta(t, 5<<20, s.cut.Bytes, 2000)
	require.Equal(t, []string{"next"}, collect(t, execute(t, conn, "next")).texts)
}

func TestFakeKernelOverSocketsIsAKernel(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			fake := kerneltest.New(nil)
			defer fake.Close()
			info, err := kerneltest.Listen(fake, network)
			require.NoError(t, err)
			transport, err := zmtp.Connect(t.Context(), info, nil)
			require.NoError(t, err)
			conn := kernel.New(transport, nil) // interrupts by message
			defer func() { require.NoError(t, conn.Close()) }()
			_, err = conn.Ready(t.Context())
			require.NoError(t, err)
			require.Equal(t, []string{"hello"}, collect(t, execute(t, conn, "hello")).texts)

			fake.On("sleep", block)
			e := execute(t, conn, "sleep")
			e.Interrupt()
			require.Equal(t, []string{"error KeyboardInterrupt"}, collect(t, e).texts)

			const n = 20_000
			e = execute(t, conn, kerneltest.FloodCode(n, 40))
			got := 0
			for event, err := range e.All(t.Context()) {
				require.NoError(t, err)
				if s, ok := event.Content.(*messaging.Stream); ok {
					require.Equal(t, kerneltest.FloodLine(got, 40), s.Text)
					got++
				}
			}
			require.Equal(t, n, got, "a reader that keeps up loses nothing")
			fake.Die()
			<-conn.Done()
			require.ErrorIs(t, conn.Err(), kernel.ErrDead)
		})
	}
}
