package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// rooted is a folder with a canary beside it.
func rooted(t *testing.T) (root *os.Root, dir, canary string) {
	t.Helper()
	top := t.TempDir()
	dir, canary = filepath.Join(top, "dir"), filepath.Join(top, "canary")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(canary, nil, 0o600))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, root.Close()) })
	return root, dir, canary
}

// dig makes folders so deep that no path reaches the bottom.
func dig(t *testing.T, dir string, depth int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	require.NoError(t, err)
	for range depth {
		require.NoError(t, unix.Mkdirat(fd, "deeper", 0o700))
		next, err := unix.Openat(fd, "deeper", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		fd = next
	}
	require.NoError(t, unix.Close(fd))
}

func TestRemoveAllRemovesWhateverCodeLeft(t *testing.T) {
	root, dir, canary := rooted(t)
	top := filepath.Join(dir, "top")
	require.NoError(t, os.Mkdir(top, 0o700))
	dig(t, top, 3000)
	require.NoError(t, os.Mkdir(filepath.Join(top, "closed"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(top, "closed", "f"), nil, 0o400))
	require.NoError(t, os.Chmod(filepath.Join(top, "closed"), 0))
	require.NoError(t, os.Symlink(filepath.Dir(canary), filepath.Join(top, "out")))
	for i := range 3000 {
		require.NoError(t, os.WriteFile(filepath.Join(top, strconv.Itoa(i)), nil, 0o600))
	}
	require.NoError(t, RemoveAll(t.Context(), root, "top"))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	require.FileExists(t, canary)
	require.NoError(t, RemoveAll(t.Context(), root, "top"), "what is gone is no error")
}

func TestRemoveAllStopsWithItsContext(t *testing.T) {
	root, dir, _ := rooted(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	require.ErrorIs(t, RemoveAll(ctx, root, "a"), reason)
	require.DirExists(t, filepath.Join(dir, "a", "b"))
}
