package fleet

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds each test; nothing here comes near it.
const testTimeout = 3 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// openFleet makes a fleet on an engine of its own, and checks that nothing is left when the test ends.
func openFleet(t *testing.T, options Options) *Fleet {
	t.Helper()
	engine := openEngine(t)
	if options.SnapshotDir == "" {
		options.SnapshotDir = filepath.Join(t.TempDir(), "snapshots")
	}
	f, err := New(engine, &options)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.Close(testContext(t)))
		require.Empty(t, f.Members(nil))
		require.Zero(t, f.ledger.total)
		for name, a := range f.ledger.accounts {
			require.Zero(t, a.sandboxes, name)
			require.Zero(t, a.memory, name)
			require.Zero(t, a.streams, name)
		}
		left, err := engine.List(context.Background())
		require.NoError(t, err)
		require.Empty(t, left)
	})
	return f
}

func openEngine(t *testing.T) *sandbox.Engine {
	t.Helper()
	base := filepath.Join(t.TempDir(), "base")
	runtime, err := os.MkdirTemp("", "dsf") // a short path: sockets live there
	require.NoError(t, err)
	engine, err := sandbox.Open(testContext(t), sandbox.Config{
		DefaultBackend: "local", Python: backendtest.Pythons(t)[0], WorkspaceBaseDir: base, RuntimeDir: runtime,
		NoForkServer: true, MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, engine.Close(context.Background()))
		left, err := filepath.Glob(filepath.Join(base, "*"))
		require.NoError(t, err)
		require.Empty(t, left, "folders left behind")
		require.NoError(t, os.RemoveAll(runtime))
	})
	return engine
}

var (
	ada = &Owner{Name: "ada"}
	bob = &Owner{Name: "bob"}
)

// create makes a member without a kernel, which is there at once.
func create(t *testing.T, f *Fleet, owner *Owner, spec Spec) *Member {
	t.Helper()
	spec.Lazy = true
	m, err := f.Create(testContext(t), owner, &spec)
	require.NoError(t, err)
	return m
}

// expire is what the member's timer does when its time is over.
func expire(m *Member) {
	m.mu.Lock()
	epoch := m.epoch
	m.mu.Unlock()
	m.expire(epoch)
}
