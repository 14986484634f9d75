package sandbox_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// watchFolder watches a folder, or skips the test where that can't be.
func watchFolder(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox, name string) *sandbox.Watcher {
	t.Helper()
	w, err := sbx.Files().Watch(ctx, name, &sandbox.WatchOptions{Recursive: true, Entry: true})
	if errors.Is(err, backends.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}

func TestWatch(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		t.Run("ByChannel", func(t *testing.T) {
			w := watchFolder(t, ctx, sbx, "")
			mustRun(t, ctx, sbx, "import os; os.makedirs('out/deep'); open('out/deep/a.csv', 'w').write('x,y')")
			for _, name := range []string{"out", "out/deep", "out/deep/a.csv"} {
				event := <-w.Events()
				require.Equal(t, sandbox.FileEvent{Name: name, Op: sandbox.WatchCreate, Entry: event.Entry}, event)
				require.Equal(t, name, event.Entry.Path)
			}
			require.NoError(t, w.Err())
			require.NoError(t, w.Close())
			require.NoError(t, w.Close())
			for range w.Events() {
			}
			require.NoError(t, w.Err())
		})
		t.Run("ByPolling", func(t *testing.T) {
			require.NoError(t, sbx.Files().MakeDir(ctx, "polled"))
			w := watchFolder(t, ctx, sbx, "polled")
			events, err := w.Poll()
			require.NoError(t, err)
			require.Empty(t, events)
			require.NoError(t, sbx.Files().WriteString(ctx, "polled/f", "text"))
			seen := make(map[sandbox.WatchOp]bool)
			for !seen[sandbox.WatchCreate] || !seen[sandbox.WatchWrite] {
				events, err := w.Poll()
				require.NoError(t, err)
				for _, event := range events {
					require.Equal(t, "f", event.Name)
					require.False(t, seen[event.Op], "drained, and none twice")
					seen[event.Op] = true
				}
			}
			require.NoError(t, sbx.Files().Remove(ctx, "polled"))
			for err == nil {
				_, err = w.Poll()
			}
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.ErrorContains(t, err, "polled")
			require.ErrorIs(t, w.Err(), fs.ErrNotExist)
		})
		t.Run("EndsWithItsContext", func(t *testing.T) {
			reason := errors.New("seen enough")
			watching, cancel := context.WithCancelCause(ctx)
			w := watchFolder(t, watching, sbx, "")
			events := w.Events()
			cancel(reason)
			for range events {
			}
			require.ErrorIs(t, w.Err(), reason)
			_, err := w.Poll()
			require.ErrorIs(t, err, reason)
		})
		t.Run("Mistakes", func(t *testing.T) {
			watchFolder(t, ctx, sbx, "")
			require.NoError(t, sbx.Files().WriteString(ctx, "file", ""))
			_, err := sbx.Files().Watch(ctx, "none", nil)
			require.ErrorIs(t, err, fs.ErrNotExist)
			_, err = sbx.Files().Watch(ctx, "file", nil)
			require.ErrorIs(t, err, sandbox.ErrNotDir)
			require.ErrorContains(t, err, `sandbox: watch "file"`)
		})
		t.Run("EndsWithTheSandbox", func(t *testing.T) {
			w, silent := watchFolder(t, ctx, sbx, ""), watchFolder(t, ctx, sbx, "")
			events := w.Events()
			require.NoError(t, sbx.Kill(ctx))
			for range events {
			}
			require.ErrorIs(t, w.Err(), sandbox.ErrKilled)
			_, err := silent.Poll()
			require.ErrorIs(t, err, sandbox.ErrKilled)
			_, err = sbx.Files().Watch(ctx, "", nil)
			require.ErrorIs(t, err, sandbox.ErrKilled)
		})
	})
}
