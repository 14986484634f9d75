package kerneltest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// readFlood reads a flood and checks each message of it.
func readFlood(t testing.TB, c *client, n, size int) {
	t.Helper()
	id := c.send(t, messaging.Shell, &messaging.ExecuteRequest{Code: kerneltest.FloodCode(n, size)})
	ids := make(map[string]bool, n)
	for got, replied, idle := 0, false, false; !replied || !idle; {
		m := c.recv(t)
		switch m.Header.MsgType {
		case "stream":
			content, err := m.Decode()
			require.NoError(t, err)
			stream := content.(*messaging.Stream)
			if want := kerneltest.FloodLine(got, size); stream.Text != want || stream.Name != messaging.Stdout {
				require.Equal(t, want, stream.Text)
				require.Equal(t, messaging.Stdout, stream.Name)
			}
			if m.ParentID() != id.MsgID || ids[m.Header.MsgID] {
				require.Equal(t, id.MsgID, m.ParentID())
				require.NotContains(t, ids, m.Header.MsgID)
			}
			ids[m.Header.MsgID] = true
			got++
		case "execute_reply":
			replied = true
		case "status":
			if idle = line(m) == "iopub status idle"; idle {
				require.Equal(t, n, got)
			}
		}
	}
}

func TestFloodArrivesWholeAndInOrder(t *testing.T) {
	for _, opts := range []*kerneltest.Options{nil, {Unsigned: true}} {
		overSockets(t, opts, func(t *testing.T, _ *kerneltest.Kernel, info *messaging.ConnectionInfo) {
			c := connect(t, info)
			readFlood(t, c, 20_000, 0)
			readFlood(t, c, 1000, 5000)
			readFlood(t, c, 0, 0)
			readFlood(t, c, 1, 1<<20)
		})
	}
}

func TestFloodOverPipe(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, _ *kerneltest.Kernel, c *client) { readFlood(t, c, 1000, 20) })
}

func TestCodeThatIsNoFloodIsEchoed(t *testing.T) {
	overPipe(t, nil, func(t *testing.T, _ *kerneltest.Kernel, c *client) {
		for _, code := range []string{"flood", "flood 1", "flood -1 20", "flood 1 x", "flood 99999999999 1", "flood 1 9999999", "flood 1 2 3"} {
			out, err := c.run(t.Context(), code)
			require.NoError(t, err)
			require.Equal(t, code, out.stdout)
		}
	})
}

func TestCloseEndsAFloodThatNobodyReads(t *testing.T) {
	k := kerneltest.New(nil)
	info, err := kerneltest.Listen(k, "unix")
	require.NoError(t, err)
	c := connect(t, info)
	c.send(t, messaging.Shell, &messaging.ExecuteRequest{Code: kerneltest.FloodCode(1_000_000_000, 100)})
	c.recv(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Close()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the flood did not end")
	}
}

// BenchmarkFlood is the rate at which a process of its own sends and this one reads, verifies and decodes.
func BenchmarkFlood(b *testing.B) {
	p, err := kerneltest.StartProcess(b.Context(), "unix")
	require.NoError(b, err)
	defer func() { require.NoError(b, p.Close()) }()
	transport, err := zmtp.Connect(b.Context(), p.Info, nil)
	require.NoError(b, err)
	defer func() { require.NoError(b, transport.Close()) }()
	c := newClient(transport)
	require.NoError(b, c.ready(b.Context()))
	b.ResetTimer()
	c.send(b, messaging.Shell, &messaging.ExecuteRequest{Code: kerneltest.FloodCode(b.N, 60)})
	got := 0
	for {
		m, err := transport.Recv(context.Background())
		require.NoError(b, err)
		if m.Header.MsgType == "stream" {
			if _, err := m.Decode(); err != nil {
				b.Fatal(err)
			}
			got++
		} else if line(m) == "iopub status idle" {
			break
		}
	}
	require.Equal(b, b.N, got)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
