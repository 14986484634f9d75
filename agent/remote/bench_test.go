package remote_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// roundTrip measures a kernel_info, which costs the kernel next to nothing.
func roundTrip(b *testing.B, start func(context.Context, backends.KernelConfig) (backends.KernelProcess, error)) {
	process, err := start(b.Context(), backends.KernelConfig{})
	require.NoError(b, err)
	wire, err := process.Connect(b.Context())
	require.NoError(b, err)
	defer func() { _ = wire.Close() }()
	session := messaging.NewSession("bench")
	ask := func() {
		m, err := session.New(messaging.Control, &messaging.KernelInfoRequest{})
		require.NoError(b, err)
		require.NoError(b, wire.Send(b.Context(), m))
		for {
			m, err := wire.Recv(b.Context())
			require.NoError(b, err)
			if m.Header.MsgType == "kernel_info_reply" {
				return
			}
		}
	}
	for range 20 {
		ask()
	}
	for b.Loop() {
		ask()
	}
}

func BenchmarkRoundTripLocal(b *testing.B) {
	python, err := agent.Probe(b.Context(), backendtest.Pythons(b)[0])
	require.NoError(b, err)
	runtime, err := os.MkdirTemp("", "brt")
	require.NoError(b, err)
	defer func() { _ = os.RemoveAll(runtime) }()
	a, err := agent.New(agent.Config{Python: python, RuntimeDir: runtime, NoForkServer: true})
	require.NoError(b, err)
	defer func() { _ = a.Close() }()
	dir := b.TempDir()
	for _, name := range []string{"ws", "private"} {
		require.NoError(b, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	in, err := a.Open(agent.Place{ID: "one", Mark: "one", Workspace: dir + "/ws", Private: dir + "/private", Runtime: runtime})
	require.NoError(b, err)
	defer func() { _ = in.Close(b.Context()) }()
	roundTrip(b, in.StartKernel)
}

func newRemote(b *testing.B) backends.Instance {
	f, err := openFar(backendtest.Pythons(b)[0])
	require.NoError(b, err)
	b.Cleanup(func() { _ = f.end() })
	client, err := remote.Open(b.Context(), f.dial, nil)
	require.NoError(b, err)
	b.Cleanup(func() { _ = client.Close() })
	require.NoError(b, client.Configure(b.Context(), remote.Setup{ID: "one", NoForkServer: true}))
	return client.Instance()
}

func BenchmarkRoundTripRemote(b *testing.B) { roundTrip(b, newRemote(b).StartKernel) }

func BenchmarkFiles(b *testing.B) {
	in := newRemote(b)
	data := strings.Repeat("0123456789abcdef", 100<<20/16)
	b.Run("In", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			_, err := in.Files().Write(b.Context(), "big", strings.NewReader(data), nil)
			require.NoError(b, err)
		}
	})
	b.Run("Out", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			r, err := in.Files().Open(b.Context(), "big", nil)
			require.NoError(b, err)
			_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 256<<10))
			require.NoError(b, err)
			require.NoError(b, r.Close())
		}
	})
	b.Run("Tree", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			require.NoError(b, in.Files().Export(b.Context(), "", io.Discard))
		}
	})
}
