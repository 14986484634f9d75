package containers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// openBetween is openDocker with something that stands before the engine.
func openBetween(t *testing.T) (*sandbox.Engine, *dockertest.Between) {
	t.Helper()
	between := dockertest.NewBetween(t)
	t.Setenv("DOCKER_HOST", between.Host)
	engine := openDocker(t, nil)
	t.Setenv("DOCKER_HOST", between.Engine)
	return engine, between
}

// TestASandboxThatEndsWhileItIsTakenOverIsNotFound ends the container at each step of that.
func TestASandboxThatEndsWhileItIsTakenOverIsNotFound(t *testing.T) {
	first := openDocker(t, nil)
	ends := []func(testing.TB, string){dockertest.KillContainer, dockertest.RemoveContainer}
	second, between := openBetween(t)
	ctx := testContext(t)
	found, lost := 0, 0
	for step := 1; ; step += 2 { // a call of the agent is two writes
		sbx, err := first.Create(ctx, &sandbox.Options{Lazy: true})
		require.NoError(t, err)
		container := dockertest.Siblings(t, sbx.ID())[sbx.ID()]
		require.NoError(t, sbx.Detach(ctx))
		cancel := between.Before(step, func() { ends[step/2%len(ends)](t, container) })
		taken, err := second.Connect(ctx, sbx.ID())
		ended := cancel()
		if err == nil {
			found++ // it ended when it was ours, or not at all
			require.NoError(t, taken.Kill(ctx))
		} else {
			lost++
			t.Logf("step %d: %v", step, err)
			require.ErrorIs(t, err, sandbox.ErrNotFound)
			dockertest.RemoveContainer(t, container)
		}
		if !ended {
			break
		}
	}
	require.Positive(t, found)
	require.Greater(t, lost, 3)
}
