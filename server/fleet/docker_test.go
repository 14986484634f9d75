package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// openDocker is openFleet on containers.
func openDocker(t *testing.T, options Options) *Fleet {
	t.Helper()
	engine, err := sandbox.Open(testContext(t), sandbox.Config{
		DefaultBackend: "docker", AgentBinary: dockertest.Config(t).Agent, NoForkServer: true, MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close(context.Background())) })
	options.SnapshotDir = t.TempDir()
	f, err := New(engine, &options)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.Close(context.Background()))
		for _, s := range f.Snapshots(ada, "") {
			require.NoError(t, f.RemoveSnapshot(context.Background(), ada, s.ID))
		}
		require.Empty(t, glob(t, options.SnapshotDir, "*"))
	})
	return f
}

func TestSnapshotsAndForksOfContainersAreImages(t *testing.T) {
	f := openDocker(t, Options{Images: []string{"ds-sandbox-kernel*"}})
	ctx := testContext(t)
	m := create(t, f, ada, Spec{})
	require.NoError(t, m.Sandbox().Files().WriteString(ctx, "a", "one"))
	taken, err := m.Snapshot(ctx, "work")
	require.NoError(t, err)
	require.Zero(t, taken.Size)
	image := f.snapshots.find("ada", "work").Image
	require.NotEmpty(t, image)
	fromIt := create(t, f, ada, Spec{Template: "work"})
	text, err := fromIt.Sandbox().Files().ReadString(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "one", text)
	require.NoError(t, f.RemoveSnapshot(ctx, ada, "work"), "at once, though something is made from it")
	require.NoError(t, fromIt.Kill(ctx))
	require.ErrorIs(t, f.Engine().RemoveSnapshot(ctx, image), sandbox.ErrNotFound, "the image went with its last sandbox")
	require.ErrorIs(t, f.Engine().RemoveSnapshot(ctx, "ds-sandbox-kernel:latest"), sandbox.ErrNotFound, "it is no snapshot")

	forks, err := m.Fork(ctx, 1, time.Hour)
	require.NoError(t, err)
	for _, fork := range forks {
		require.NoError(t, fork.Err)
		text, err := fork.Member.Sandbox().Files().ReadString(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, "one", text)
		require.NoError(t, fork.Member.Kill(ctx))
	}
	require.Empty(t, glob(t, f.options.SnapshotDir, "*"))

	from, err := f.resolve(ada, "ds-sandbox-kernel:latest")
	require.NoError(t, err)
	require.Equal(t, "ds-sandbox-kernel:latest", from.image)
	_, err = f.Create(ctx, ada, &Spec{Template: "debian:bookworm-slim", Lazy: true})
	require.ErrorIs(t, err, ErrNoTemplate)
}

func TestContainerThatSomebodyRemovedIsGone(t *testing.T) {
	f := openDocker(t, Options{})
	m, alive := create(t, f, ada, Spec{}), create(t, f, ada, Spec{})
	dockertest.RemoveContainer(t, dockertest.Siblings(t, m.ID())[m.ID()])
	ctx := testContext(t)
	for m.life.Err() == nil { // the engine tells of it by and by
		require.NoError(t, ctx.Err())
		f.bury(ctx)
	}
	<-m.ended
	var gone *GoneError
	_, err := f.Get(ada, m.ID())
	require.ErrorAs(t, err, &gone)
	require.Equal(t, EndedItself, gone.Reason)
	require.Equal(t, Running, alive.State())
	require.Len(t, f.Members(ada), 1)
}

func TestContainersWithoutANetworkStaySo(t *testing.T) {
	f := openDocker(t, Options{})
	ctx := testContext(t)
	m := create(t, f, ada, Spec{Network: &Network{NoInternet: true}})
	require.Equal(t, backends.NetworkNone, m.Sandbox().Container().Network.Mode)
	require.NoError(t, m.SetNetwork(ctx, &Network{Deny: []string{"8.8.8.8"}}), "it has less than that")
	require.Equal(t, []string{"8.8.8.8"}, m.Info().Network.Deny)
	require.ErrorContains(t, m.SetNetwork(ctx, &Network{Allow: []string{"pypi.org"}}), "this daemon gives sandboxes no network")
}
