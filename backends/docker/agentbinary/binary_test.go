package agentbinary

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// copyOf copies a program of this machine; of ours, which needs a library when it was built with cgo.
func copyOf(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	data, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o755))
}

func TestAFileOrAFolderOfFilesIsTaken(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it takes programs of Linux")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "ds-sandbox-agent-linux-"+runtime.GOARCH)
	copyOf(t, file)
	for _, path := range []string{file, dir} {
		b, err := Find(runtime.GOARCH, path)
		if err != nil { // built with cgo, as for the race detector
			require.ErrorContains(t, err, "CGO_ENABLED=0")
			continue
		}
		require.Len(t, b.Hash, 16)
		require.Equal(t, file, b.Source)
	}
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	_, err := Find(other, file)
	require.ErrorContains(t, err, "GOARCH="+other)
	t.Setenv(Variable, dir)
	_, err = Find(other, "")
	require.ErrorIs(t, err, os.ErrNotExist)
	script := filepath.Join(dir, "script")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755))
	_, err = Find(runtime.GOARCH, script)
	require.ErrorContains(t, err, "no program of Linux")
	_, err = Find(runtime.GOARCH, "/dev/zero")
	require.ErrorContains(t, err, "is no program")
}

func TestWithoutOneTheErrorSaysWhatToDo(t *testing.T) {
	t.Setenv(Variable, "")
	_, err := Find("mips", "")
	require.ErrorIs(t, err, ErrNone)
	require.ErrorContains(t, err, Variable)
}
