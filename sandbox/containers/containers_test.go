package containers_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// openDocker opens an engine whose sandboxes are containers.
func openDocker(t *testing.T, change func(*sandbox.Config)) *sandbox.Engine {
	t.Helper()
	config := sandbox.Config{
		DefaultBackend: "docker", AgentBinary: dockertest.Config(t).Agent, NoForkServer: true, MaxSpares: sandbox.NoSpares,
	}
	if change != nil {
		change(&config)
	}
	engine, err := sandbox.Open(testContext(t), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close(context.Background())) })
	return engine
}

// text runs code and returns the text of its value.
func text(t *testing.T, sbx *sandbox.Sandbox, code string) string {
	t.Helper()
	execution, err := sbx.RunCode(testContext(t), code, nil)
	require.NoError(t, err)
	require.Nil(t, execution.Error)
	return execution.Text()
}

func TestASandboxInAContainer(t *testing.T) {
	engine := openDocker(t, nil)
	ctx := testContext(t)
	require.Equal(t, "docker", engine.Choice().Backend)
	require.Equal(t, "asked for", engine.Choice().Reason)
	require.Equal(t, backends.IsolationContainer, engine.Choice().Isolation)
	begun := time.Now()
	sbx, err := engine.Create(ctx, &sandbox.Options{Env: map[string]string{"GREETING": "hello"}})
	require.NoError(t, err)
	require.Equal(t, "2", text(t, sbx, "1 + 1"))
	t.Logf("cold create to first result: %v", time.Since(begun).Round(time.Millisecond))
	info := sbx.Info()
	require.Equal(t, "docker", info.Backend)
	require.Equal(t, "/home/user", info.Workspace)
	require.Equal(t, backends.IsolationContainer, info.Isolation)
	require.Equal(t, backends.ProfileHardened, info.Container.Profile)
	require.Equal(t, backends.NetworkNone, info.Container.Network.Mode)
	require.Equal(t, "'hello'", text(t, sbx, "import os; os.environ['GREETING']"))

	execution, err := sbx.RunCode(ctx, "import matplotlib.pyplot as plt; _ = plt.plot([1, 4, 9]); plt.title('Größe 大小')", nil)
	require.NoError(t, err)
	require.Nil(t, execution.Error)
	require.NotEmpty(t, execution.Results)
	require.NotNil(t, execution.Results[len(execution.Results)-1].Figure)
	require.NotContains(t, execution.Stderr(), "missing from", "the fonts have all of the letters")

	_, err = sbx.Files().WriteFrom(ctx, "data.csv", strings.NewReader("a,b\n1,2\n"), nil)
	require.NoError(t, err)
	require.Equal(t, "(1, 2)", text(t, sbx, "import pandas as pd; pd.read_csv('data.csv').shape"))
	require.NoError(t, sbx.Pause(ctx))
	_, err = sbx.RunCode(ctx, "1", nil)
	require.ErrorIs(t, err, sandbox.ErrPaused)
	require.NoError(t, sbx.Resume(ctx))
	require.Equal(t, "'hello'", text(t, sbx, "os.environ['GREETING']"), "it has its variables")
	begun = time.Now()
	require.NoError(t, sbx.Kill(ctx))
	require.Less(t, time.Since(begun), 2*time.Second)
}

func TestSnapshotsAreImagesOfSandboxes(t *testing.T) {
	engine := openDocker(t, nil)
	ctx := testContext(t)
	sbx, err := engine.Create(ctx, nil)
	require.NoError(t, err)
	text(t, sbx, "open('kept', 'w').write('here')")
	id, err := sbx.Snapshot(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dockertest.Remove(id)) })
	again, err := engine.Create(ctx, &sandbox.Options{Container: backends.Container{Image: id}})
	require.NoError(t, err)
	require.Equal(t, "'here'", text(t, again, "open('kept').read()"))
	require.Equal(t, id, again.Info().Container.Image)
	require.NoError(t, again.Kill(ctx))
}

func TestAnExplicitDockerNeverFallsBack(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/none.sock")
	_, err := sandbox.Open(testContext(t), sandbox.Config{DefaultBackend: "docker"})
	require.ErrorContains(t, err, "no engine answers at unix://")
	require.ErrorContains(t, err, "DOCKER_HOST")
}

func TestAutoSaysWhyItIsNoContainer(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/none.sock")
	t.Setenv("DS_SANDBOX_PYTHON", "")
	engine, err := sandbox.Open(testContext(t), sandbox.Config{WorkspaceBaseDir: t.TempDir()})
	if err != nil {
		require.ErrorContains(t, err, "ipykernel", "no Python to fall back to")
		t.Skip(err)
	}
	require.Equal(t, "local", engine.Choice().Backend)
	require.Contains(t, engine.Choice().Reason, "no containers: no engine answers")
	require.NoError(t, engine.Close(testContext(t)))
}

func TestAutoTakesContainersWhereTheyCanBeHad(t *testing.T) {
	dockertest.Config(t)
	t.Setenv("DS_SANDBOX_PYTHON", "")
	engine := openDocker(t, func(c *sandbox.Config) { c.DefaultBackend = "auto" })
	require.Equal(t, "docker", engine.Choice().Backend)
	require.Contains(t, engine.Choice().Reason, "an engine answers")
}

func TestContainersSettingsAreChecked(t *testing.T) {
	for variable, says := range map[string]string{"DS_SANDBOX_PROFILE": "hardened or compatible", "DS_SANDBOX_NETWORK": "none, bridge or allow"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "nonsense")
			_, err := sandbox.Open(testContext(t), sandbox.Config{})
			require.ErrorContains(t, err, variable)
			require.ErrorContains(t, err, says)
		})
	}
}

func TestOnlyUsualContainersAreSpares(t *testing.T) {
	engine := openDocker(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 1, 1 })
	ctx := testContext(t)
	ready := func() bool { return engine.Metrics().Spares == 1 }
	require.Eventually(t, ready, time.Minute, 20*time.Millisecond)
	sbx, err := engine.Create(ctx, &sandbox.Options{Container: backends.Container{Profile: backends.ProfileHardened}, Env: map[string]string{"X": "1"}})
	require.NoError(t, err)
	require.Equal(t, backends.StartSpare, sbx.Info().Start.Kind, "what is asked for is what all have")
	t.Logf("claim: %v", sbx.Info().Start.Time)
	require.Equal(t, "'1'", text(t, sbx, "import os; os.environ['X']"))
	require.Eventually(t, ready, time.Minute, 20*time.Millisecond)
	sbx, err = engine.Create(ctx, &sandbox.Options{Container: backends.Container{Profile: backends.ProfileCompatible}})
	require.NoError(t, err)
	require.NotEqual(t, backends.StartSpare, sbx.Info().Start.Kind)
}

func TestWhatOnlyLocalSandboxesHave(t *testing.T) {
	engine := openDocker(t, nil)
	_, err := engine.Create(testContext(t), &sandbox.Options{WorkspacePath: t.TempDir()})
	require.ErrorIs(t, err, backends.ErrUnsupported)
	require.ErrorContains(t, err, "local backend")
}

func TestLargeFilesGoInAndOut(t *testing.T) {
	engine := openDocker(t, nil)
	ctx := testContext(t)
	sbx, err := engine.Create(ctx, &sandbox.Options{Lazy: true})
	require.NoError(t, err)
	const size = 100 << 20
	begun := time.Now()
	_, err = sbx.Files().WriteFrom(ctx, "big", io.LimitReader(zeros{}, size), nil)
	require.NoError(t, err)
	in := time.Since(begun)
	begun = time.Now()
	r, err := sbx.Files().Open(ctx, "big")
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, r)
	require.NoError(t, err)
	require.EqualValues(t, size, n)
	require.NoError(t, r.Close())
	t.Logf("100 MiB: in at %.0f MB/s, out at %.0f MB/s", size/1e6/in.Seconds(), size/1e6/time.Since(begun).Seconds())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
