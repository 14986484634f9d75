package sandbox_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestIdleContextIsCulledAndSaysSoOnce(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		engine := engineFor(t, python)
		require.Equal(t, sandbox.NoTimeout, engine.Config().CullAfter)
		first, err := engine.Create(ctx, nil)
		require.NoError(t, err)
		sbx, err := engine.Create(ctx, &sandbox.Options{CullAfter: 1500 * time.Millisecond})
		require.NoError(t, err)
		c := sbx.DefaultContext()
		// A run that takes longer is not cut short, nor is the time before it counted.
		mustRun(t, ctx, sbx, "import time; x = 1; time.sleep(2)")
		require.Equal(t, "1", mustRun(t, ctx, sbx, "x").Text())
		require.Eventually(t, func() bool { return c.State() == kernel.Dead }, 20*time.Second, time.Millisecond)
		require.Equal(t, kernel.Idle, first.DefaultContext().State(), "another sandbox's")

		_, err = c.Complete(ctx, "x.", 2)
		require.ErrorIs(t, err, sandbox.ErrCulled)
		_, err = sbx.RunCode(ctx, "x", nil)
		require.ErrorIs(t, err, sandbox.ErrCulled)
		require.ErrorContains(t, err, "variables are lost")
		run, err := sbx.RunCode(ctx, "x", nil)
		require.NoError(t, err)
		require.Equal(t, "NameError", run.Error.Name)
		require.Equal(t, "1", mustRun(t, ctx, sbx, "x = 1; x").Text())

		require.Eventually(t, func() bool { return c.State() == kernel.Dead }, 20*time.Second, time.Millisecond)
		require.NoError(t, c.Restart(ctx))
		require.Equal(t, "2", mustRun(t, ctx, sbx, "1 + 1").Text(), "who restarts it knows")
		require.NoError(t, c.Remove(ctx))
		_, err = c.RunCode(ctx, "1", nil)
		require.ErrorIs(t, err, sandbox.ErrRemoved)

		_, err = engine.Create(ctx, &sandbox.Options{CullAfter: -1})
		require.ErrorContains(t, err, "cull after")
	})
}
