package containers_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func waitForContainers(t *testing.T, e *sandbox.Engine, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return e.Metrics().Spares == n }, time.Minute, 5*time.Millisecond)
}

func TestContainersWaitForTheirOwner(t *testing.T) {
	engine := openDocker(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 2, 2 })
	ctx := testContext(t)
	waitForContainers(t, engine, 2)
	seen := make(map[string]bool)
	for i := range 4 {
		waitForContainers(t, engine, 2)
		name := fmt.Sprint("owner", i)
		begun := time.Now()
		sbx, err := engine.Create(ctx, &sandbox.Options{
			Env: map[string]string{"OWNER": name}, Metadata: map[string]string{"owner": name}, TimeToLive: time.Hour,
		})
		require.NoError(t, err)
		require.Equal(t, "'"+name+"'", text(t, sbx, "import os; os.environ['OWNER']"))
		t.Logf("claim to first result: %v", time.Since(begun))
		require.False(t, seen[sbx.ID()], "given away once")
		seen[sbx.ID()] = true
		info := sbx.Info()
		require.Equal(t, backends.StartSpare, info.Start.Kind)
		require.Equal(t, name, info.Metadata["owner"])
		require.InDelta(t, time.Hour, time.Until(info.ExpiresAt), float64(time.Minute))
		require.Equal(t, "[]", text(t, sbx, "import os; os.listdir()"), "nobody was here before")
		_, err = sbx.RunCode(ctx, "open('mine', 'w').write('x')", nil)
		require.NoError(t, err)
		command, err := sbx.Commands().Run(ctx, "echo $OWNER", nil)
		require.NoError(t, err)
		require.Equal(t, name+"\n", command.Stdout)
		require.NoError(t, sbx.DefaultContext().Restart(ctx))
		require.Equal(t, "'"+name+"'", text(t, sbx, "import os; os.environ['OWNER']"))
		require.NoError(t, sbx.Kill(ctx))
	}
	require.Equal(t, 4, engine.Metrics().Starts[backends.StartSpare].Count)
}

func TestWhatWasAskedForIsReadyTheNextTime(t *testing.T) {
	engine := openDocker(t, func(c *sandbox.Config) { c.MaxSpares = 3 })
	ctx := testContext(t)
	asked := []sandbox.Options{
		{Container: backends.Container{Profile: backends.ProfileCompatible}},
		{Limits: backends.Limits{Memory: 512 << 20, Processes: 200}},
	}
	for i := range asked {
		sbx, err := engine.Create(ctx, &asked[i])
		require.NoError(t, err)
		require.Equal(t, backends.StartCold, sbx.Info().Start.Kind, "nobody has asked for that before")
		require.NoError(t, sbx.Kill(ctx))
	}
	waitForContainers(t, engine, 2)
	for i := range asked {
		sbx, err := engine.Create(ctx, &asked[i])
		require.NoError(t, err)
		info := sbx.Info()
		require.Equal(t, backends.StartSpare, info.Start.Kind)
		if asked[i].Limits.Memory > 0 {
			require.Equal(t, asked[i].Limits, info.Limits)
			require.Contains(t, info.Enforcement, backends.LimitMemory)
			continue
		}
		require.Equal(t, backends.ProfileCompatible, info.Container.Profile)
		command, err := sbx.Commands().Run(ctx, "sudo -n id -u", nil)
		require.NoError(t, err)
		require.Equal(t, "0\n", command.Stdout)
	}
	usual, err := engine.Create(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, backends.StartCold, usual.Info().Start.Kind)
	require.Zero(t, usual.Info().Limits.Memory)
}

func TestASpareGetsTheRulesOfWhoTakesIt(t *testing.T) {
	engine := openDocker(t, func(c *sandbox.Config) { c.MaxSpares = 1 })
	ctx := testContext(t)
	networked := func(n backends.Network) *sandbox.Sandbox {
		sbx, err := engine.Create(ctx, &sandbox.Options{Container: backends.Container{Network: n}})
		require.NoError(t, err)
		return sbx
	}
	require.NoError(t, networked(backends.Network{Mode: backends.NetworkBridge}).Kill(ctx))
	waitForContainers(t, engine, 1)
	rules := backends.Network{Mode: backends.NetworkAllow, Allow: []string{"192.0.2.1"}}
	begun := time.Now()
	sbx := networked(rules)
	t.Logf("claim with other rules: %v", time.Since(begun))
	require.Equal(t, backends.StartSpare, sbx.Info().Start.Kind)
	require.Equal(t, rules, sbx.Info().Container.Network)
	require.Contains(t, text(t, sbx, "import socket\ntry:\n    socket.create_connection(('1.1.1.1', 80), 3); e = 'open'\nexcept OSError as x: e = 'refused'\ne"),
		"refused")
	_, err := engine.Create(ctx, &sandbox.Options{Container: backends.Container{Network: backends.Network{
		Mode: backends.NetworkAllow, Allow: []string{"no such thing"},
	}}})
	require.ErrorContains(t, err, "no such thing")
}

func TestASpareThatWasRemovedIsReplacedUnseen(t *testing.T) {
	engine := openDocker(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 1, 1 })
	ctx := testContext(t)
	waitForContainers(t, engine, 1)
	sbx, err := engine.Create(ctx, nil)
	require.NoError(t, err)
	waitForContainers(t, engine, 1)
	remove := func() (id string) {
		others := dockertest.Siblings(t, sbx.ID())
		delete(others, sbx.ID())
		require.Len(t, others, 1)
		for id, container := range others {
			dockertest.RemoveContainer(t, container)
			return id
		}
		return ""
	}
	// Nobody asks: another takes its place.
	dead := remove()
	require.Eventually(t, func() bool {
		ids := slices.Collect(maps.Keys(dockertest.Siblings(t, sbx.ID())))
		return engine.Metrics().Spares == 1 && !slices.Contains(ids, dead)
	}, time.Minute, 20*time.Millisecond)
	// Somebody asks at that moment.
	remove()
	other, err := engine.Create(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, "2", text(t, other, "1 + 1"))
}

// leaveSpares makes a sandbox and a spare, tells the id of the sandbox, and waits to be killed.
func leaveSpares() error {
	ctx := context.Background()
	engine, err := sandbox.Open(ctx, sandbox.Config{DefaultBackend: "docker", NoForkServer: true, MinSpares: 1, MaxSpares: 1})
	if err != nil {
		return err
	}
	for engine.Metrics().Spares < 1 {
		time.Sleep(5 * time.Millisecond)
	}
	sbx, err := engine.Create(ctx, nil) // a spare itself, until then
	if err != nil {
		return err
	}
	for engine.Metrics().Spares < 1 {
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Println("left", sbx.ID(), sbx.Info().Start.Kind)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestSparesOfADeadProgramAreNobodysAndEnd(t *testing.T) {
	id, kind := left(t, "spares")
	require.EqualValues(t, backends.StartSpare, kind)
	all := dockertest.Siblings(t, id)
	require.Len(t, all, 2, "the sandbox and a spare")
	engine := openDocker(t, nil)
	ctx := testContext(t)
	orphans, err := engine.Orphans(ctx)
	require.NoError(t, err)
	require.Contains(t, orphans, id, "what was claimed is somebody's")
	for other := range all {
		if other != id {
			require.NotContains(t, orphans, other)
			_, err = engine.Connect(ctx, other)
			require.ErrorIs(t, err, sandbox.ErrNotFound)
		}
	}
	require.Eventually(t, func() bool { return len(dockertest.Siblings(t, id)) == 1 }, 20*time.Second, 50*time.Millisecond)
	sbx, err := engine.Connect(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "2", text(t, sbx, "1 + 1"))
	require.NoError(t, sbx.Kill(ctx))
}
