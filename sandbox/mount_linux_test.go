package sandbox_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// mountSmall puts a file system of 1 MiB on a folder, for the test.
func mountSmall(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("only root can mount:", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
}
