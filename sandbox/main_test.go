package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(tests{m})
}

// testTimeout bounds each test's work with a kernel; nothing here comes near it.
const testTimeout = 3 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// openEngine opens an engine with folders of its own, and closes it and checks that nothing is left when the test ends.
func openEngine(t *testing.T, python *agent.Python, change func(*sandbox.Config)) *sandbox.Engine {
	t.Helper()
	base := filepath.Join(t.TempDir(), "base")
	// A short path: sockets live there, and the test's own folder has a long name.
	runtime, err := os.MkdirTemp("", "dst")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	config := sandbox.Config{
		DefaultBackend: "local", Python: python.Executable, WorkspaceBaseDir: base, RuntimeDir: runtime,
		NoForkServer: true, MaxSpares: sandbox.NoSpares, // which tests of starts are about
	}
	if change != nil {
		change(&config)
	}
	engine, err := sandbox.Open(testContext(t), config)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, engine.Close(context.Background()))
		left, err := filepath.Glob(filepath.Join(base, "*"))
		require.NoError(t, err)
		require.Empty(t, left, "folders left behind")
		left, err = filepath.Glob(filepath.Join(runtime, "e*"))
		require.NoError(t, err)
		require.Empty(t, left, "runtime folders left behind")
	})
	return engine
}

// withSandbox runs a test in a fresh sandbox of each Python, of an engine that others use as well.
func withSandbox(t *testing.T, test func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox)) {
	t.Helper()
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		sbx, err := engineFor(t, python).Create(ctx, nil)
		require.NoError(t, err)
		test(t, ctx, sbx)
	})
}

// withColdSandbox is withSandbox on an engine of its own, whose kernels are started afresh.
func withColdSandbox(t *testing.T, test func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox)) {
	t.Helper()
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		sbx, err := openEngine(t, python, nil).Create(ctx, nil)
		require.NoError(t, err)
		test(t, ctx, sbx)
	})
}

// mustRun runs code that must neither fail nor raise.
func mustRun(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox, code string) *sandbox.Execution {
	t.Helper()
	run, err := sbx.RunCode(ctx, code, nil)
	require.NoError(t, err)
	require.NoError(t, run.Err())
	return run
}

// withBranches is withSandbox; the interpreter of a second sandbox of each Python was a spare, and so a fork itself.
func withBranches(t *testing.T, test func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox)) {
	t.Helper()
	withColdSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		t.Run("cold", func(t *testing.T) { test(t, ctx, sbx) })
	})
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 1, 1 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		waitForSpares(t, e, 1)
		sbx := create(t, ctx, e, nil)
		require.Equal(t, backends.StartSpare, sbx.Info().Start.Kind)
		t.Run("spare", func(t *testing.T) { test(t, ctx, sbx) })
	})
}
