package backendtest

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

func testInstances(t *testing.T, open Open) {
	t.Run("IDsAreChecked", func(t *testing.T) {
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		for _, id := range []string{"", "Up", "a-b", "../x", "a/b", "ü", "a\x00", "0123456789012345678901234567890123456789x"} {
			_, err := b.Create(t.Context(), backends.Spec{ID: id})
			require.Error(t, err, id)
		}
		_, err := b.Create(t.Context(), backends.Spec{ID: "one"})
		require.NoError(t, err)
		_, err = b.Create(t.Context(), backends.Spec{ID: "one"})
		require.ErrorContains(t, err, "taken")
	})
	t.Run("ClosedBackendMakesNone", func(t *testing.T) {
		b := open(t)
		_, err := b.Create(t.Context(), backends.Spec{ID: "left"})
		require.NoError(t, err)
		require.NoError(t, b.Close(), "what is left is destroyed")
		require.NoError(t, b.Close())
		_, err = b.Create(t.Context(), backends.Spec{ID: "late"})
		require.Error(t, err)
	})
	with(t, open, "DestroyedInstanceRefusesAll", func(t *testing.T, ctx context.Context, in backends.Instance) {
		require.Equal(t, "suite", in.ID())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := in.Destroy(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		_, err := in.StartKernel(ctx, backends.KernelConfig{})
		require.ErrorIs(t, err, backends.ErrDestroyed)
		_, err = in.Files().List(ctx, "", 1)
		require.ErrorIs(t, err, backends.ErrDestroyed)
	})
}
