package agent

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// BenchmarkMeter measures a real kernel, with all of its threads, in a workspace of 20 files.
func BenchmarkMeter(b *testing.B) {
	in := openPlace(b, newAgent(b))
	for i := range 20 {
		require.NoError(b, os.WriteFile(filepath.Join(in.Workspace(), strconv.Itoa(i)), nil, 0o600))
	}
	k, err := in.StartKernel(b.Context(), backends.KernelConfig{})
	require.NoError(b, err)
	t, err := k.Connect(b.Context())
	require.NoError(b, err)
	defer func() { require.NoError(b, t.Close()) }()
	for b.Loop() {
		m, err := k.Meter(b.Context())
		require.NoError(b, err)
		_, err = m.Stop(b.Context())
		require.NoError(b, err)
	}
}

// BenchmarkOverlay measures how long a sandbox's Python environment takes to write.
func BenchmarkOverlay(b *testing.B) {
	p, dir := python(b), b.TempDir()
	for i := 0; b.Loop(); i++ {
		_, err := makeOverlay(filepath.Join(dir, strconv.Itoa(i)), p)
		require.NoError(b, err)
	}
}

// BenchmarkConnect measures what waiting for a kernel's sockets adds: from the last one's appearance to the connection.
func BenchmarkConnect(b *testing.B) {
	in := openPlace(b, newAgent(b))
	var added time.Duration
	for b.Loop() {
		started, err := in.StartKernel(b.Context(), backends.KernelConfig{})
		require.NoError(b, err)
		t, err := started.Connect(b.Context())
		require.NoError(b, err)
		now, k := time.Now(), started.(*kernelProcess)
		var last time.Time
		for port := 1; port <= 4; port++ {
			info, err := os.Stat(k.info.IP + "-" + strconv.Itoa(port))
			require.NoError(b, err)
			if info.ModTime().After(last) {
				last = info.ModTime()
			}
		}
		added += now.Sub(last)
		require.NoError(b, t.Close())
		require.NoError(b, k.Signal(context.Background(), backends.Kill))
		_, err = k.Wait(b.Context())
		require.NoError(b, err)
	}
	b.ReportMetric(float64(added.Microseconds())/float64(b.N), "added-µs/op")
}
