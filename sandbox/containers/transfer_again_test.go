package containers_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestATransferWhoseConnectionBreaksBeginsAgain(t *testing.T) {
	engine, between := openBetween(t)
	ctx := testContext(t)
	sbx, err := engine.Create(ctx, &sandbox.Options{Lazy: true})
	require.NoError(t, err)
	data := make([]byte, 20<<20)
	_, _ = rand.Read(data)
	local := t.TempDir()
	for _, name := range []string{"a", "b"} {
		require.NoError(t, os.WriteFile(filepath.Join(local, name), data, 0o600))
	}
	// cut does something and breaks its connection in the middle.
	cut := func(do func() error) error {
		cancel := between.Before(10, between.Cut)
		err := do()
		require.True(t, cancel(), "it was over too soon")
		return err
	}
	files := sbx.Files()
	require.NoError(t, cut(func() error {
		done, err := files.Upload(ctx, local, "tree", nil)
		require.Equal(t, 2, done.Sent, "what is counted begins again")
		return err
	}))
	require.NoError(t, cut(func() error { return files.Write(ctx, "written", data) }))
	back := t.TempDir()
	require.NoError(t, cut(func() error {
		_, err := files.Download(ctx, "tree", back, nil)
		return err
	}))
	written, err := files.Read(ctx, "written")
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, written))
	for _, name := range []string{"a", "b"} {
		read, err := os.ReadFile(filepath.Join(back, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, read), name)
	}
	err = cut(func() error {
		_, err := files.WriteFrom(ctx, "stream", io.LimitReader(zeros{}, 20<<20), nil)
		return err
	})
	require.ErrorIs(t, err, backends.ErrCut, "what was read of it is gone")
	require.Regexp(t, `\((read|write): `, err.Error(), "and why")
	require.NoError(t, sbx.Kill(ctx))
}
