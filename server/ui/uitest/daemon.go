// Package uitest runs the page for tests: a daemon, and programs in Node that drive a browser.
package uitest

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server"
)

// Key opens the daemon.
const Key = "e2b_0123456789abcdef0123456789abcdef01234567"

// Open opens a daemon on the local backend for a test, and returns its address.
func Open(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dsu")
	require.NoError(t, err)
	engine, err := sandbox.Open(t.Context(), sandbox.Config{
		DefaultBackend: "local", Python: backendtest.Pythons(t)[0], WorkspaceBaseDir: dir + "/base", RuntimeDir: dir, MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	daemon, err := server.New(t.Context(), engine, server.Config{Listen: "127.0.0.1:0", DataDir: dir + "/data", Key: Key})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- daemon.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		daemon.Hurry()
		require.NoError(t, <-ended)
		require.NoError(t, engine.Close(context.Background()))
		require.NoError(t, os.RemoveAll(dir))
	})
	return daemon.URL()
}
