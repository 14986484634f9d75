package archive_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
)

// stage puts text into a file that is not committed yet.
func stage(t *testing.T, dir, text string) *archive.Staged {
	t.Helper()
	_, err := os.Lstat(filepath.Join(dir, "f"))
	replaces := err == nil
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	staged, err := archive.Stage(root, ".", replaces)
	require.NoError(t, err)
	_, err = staged.WriteString(text)
	require.NoError(t, err)
	return staged
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestStagedFileTakesItsNameAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"one", "two", "three"} { // the first on a free name, the others on a taken one
		staged := stage(t, dir, text)
		require.NoError(t, staged.Commit("f"))
		staged.Discard()
		data, err := os.ReadFile(filepath.Join(dir, "f"))
		require.NoError(t, err)
		require.Equal(t, text, string(data))
		require.Equal(t, []string{"f"}, names(t, dir))
	}
	stage(t, dir, "given up").Discard()
	require.Equal(t, []string{"f"}, names(t, dir))
}

func TestStagedFileThatCanNotBeCommittedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	staged := stage(t, dir, "x")
	require.Error(t, staged.Commit("folder"))
	staged.Discard()
	require.Equal(t, []string{"folder"}, names(t, dir))
}

// TestStagingProcess is no test: it is the program that TestKilledProgramLeavesNoStagedFile kills.
func TestStagingProcess(t *testing.T) {
	dir := os.Getenv("DS_SANDBOX_TEST_STAGE")
	if dir == "" {
		t.Skip("runs as a child of TestKilledProgramLeavesNoStagedFile")
	}
	stage(t, dir, "half")
	_, _ = os.Stdout.WriteString("staged\n")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until it is killed
}

func TestKilledProgramLeavesNoStagedFile(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has files without names")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	program := exec.CommandContext(t.Context(), self, "-test.run=^TestStagingProcess$", "-test.v")
	program.Env = append(os.Environ(), "DS_SANDBOX_TEST_STAGE="+dir)
	stdin, err := program.StdinPipe()
	require.NoError(t, err)
	stdout, err := program.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != "staged" {
	}
	require.Equal(t, "staged", lines.Text())
	require.NoError(t, program.Process.Kill())
	require.Error(t, program.Wait())
	_ = stdin.Close()
	if left := names(t, dir); len(left) > 0 {
		t.Skipf("this file system has no files without names: %v", left)
	}
}
