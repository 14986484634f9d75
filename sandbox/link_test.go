package sandbox_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// project is a folder of a user's, with a link to data elsewhere.
func project(t *testing.T) (dir, data string) {
	t.Helper()
	top := t.TempDir()
	dir, data = filepath.Join(top, "project"), filepath.Join(top, "data")
	for _, d := range []string{dir, data} {
		require.NoError(t, os.Mkdir(d, 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(data, "train.csv"), []byte("x\n1\n2\n"), 0o644))
	require.NoError(t, os.Symlink(data, filepath.Join(dir, "data")))
	return dir, data
}

// listed are the names in a folder.
func listed(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWorkspacePath(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		engine := engineFor(t, python)
		dir, data := project(t)
		sbx, err := engine.Create(ctx, &sandbox.Options{WorkspacePath: dir, AllowedRoots: []string{data}})
		require.NoError(t, err)
		require.Equal(t, dir, sbx.Info().WorkspacePath)
		require.Equal(t, []string{data}, sbx.Info().AllowedRoots)

		run := mustRun(t, ctx, sbx, `
import os, pathlib, subprocess
try:
    import pandas, matplotlib.pyplot as plt
    plt.plot([1, 2]); plt.show()
except ImportError: pass
sum(int(line) for line in open("data/train.csv") if line[0] != "x")`)
		require.Equal(t, "3", run.Text())
		require.Equal(t, "True", mustRun(t, ctx, sbx, "os.path.samefile(os.getcwd(), "+quote(dir)+") and os.path.samefile(os.getcwd(), "+quote(sbx.Info().Workspace)+")").Text())
		require.Equal(t, []string{"data", "notes.txt"}, listed(t, dir), "running code leaves nothing of ours")
		mustRun(t, ctx, sbx, `open("report.txt", "w").write("by code"); open("data/new", "w").close(); subprocess.run("echo x > ~/.history", shell=True, check=True)`)
		text, err := sbx.Files().ReadString(ctx, "report.txt")
		require.NoError(t, err)
		require.Equal(t, "by code", text)
		require.NoError(t, sbx.Files().WriteString(ctx, "data/train.csv", "replaced"))

		require.NoError(t, sbx.Kill(ctx))
		require.Equal(t, []string{"data", "notes.txt", "report.txt"}, listed(t, dir))
		require.Equal(t, []string{"new", "train.csv"}, listed(t, data))
		link, err := os.Readlink(filepath.Join(dir, "data"))
		require.NoError(t, err)
		require.Equal(t, data, link)
	})
}

func quote(s string) string { return "'" + s + "'" }

func TestKillLeavesTheUsersFolderWhateverHappened(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		engine := engineFor(t, python)
		for name, code := range map[string]string{
			"dead kernel":   "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
			"hostile names": "import os; os.symlink('/', 'root'); os.symlink('.', 'here'); os.mkfifo('fifo')",
			"swapped":       "import os; os.rename('data', 'renamed'); os.symlink('..', 'data')",
		} {
			dir, data := project(t)
			sbx, err := engine.Create(ctx, &sandbox.Options{WorkspacePath: dir, AllowedRoots: []string{data}})
			require.NoError(t, err)
			_, _ = sbx.RunCode(ctx, code, nil)
			before := listed(t, dir)
			require.NoError(t, sbx.Kill(ctx), name)
			require.Equal(t, before, listed(t, dir), name)
			require.FileExists(t, filepath.Join(data, "train.csv"), name)
		}
	})
}

func TestLinkOptionsThatCanNotBe(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	ctx := testContext(t)
	engine := engineFor(t, python)
	dir, _ := project(t)
	_, err = engine.Create(ctx, &sandbox.Options{WorkspacePath: filepath.Join(dir, "none")})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = engine.Create(ctx, &sandbox.Options{WorkspacePath: "project"})
	require.ErrorContains(t, err, "not absolute")
	_, err = engine.Create(ctx, &sandbox.Options{WorkspacePath: filepath.Join(dir, "notes.txt")})
	require.ErrorIs(t, err, backends.ErrNotDir)
	_, err = engine.Create(ctx, &sandbox.Options{WorkspacePath: "/"})
	require.ErrorContains(t, err, "holds the base folder")

	sbx, err := engine.Create(ctx, &sandbox.Options{WorkspacePath: dir, Lazy: true})
	require.NoError(t, err)
	_, err = sbx.Files().ReadString(ctx, "data/train.csv")
	require.ErrorIs(t, err, backends.ErrOutside)
	require.ErrorContains(t, err, "AllowedRoots")
}

// TestLinkingProcess is no test: it is the program that TestHostKilledLeavesTheUsersFolder kills.
func TestLinkingProcess(t *testing.T) {
	base := os.Getenv("DS_SANDBOX_TEST_LINK_BASE")
	if base == "" {
		t.Skip("runs as a child of TestHostKilledLeavesTheUsersFolder")
	}
	ctx := context.Background()
	engine, err := sandbox.Open(ctx, sandbox.Config{WorkspaceBaseDir: base})
	require.NoError(t, err)
	sbx, err := engine.Create(ctx, &sandbox.Options{WorkspacePath: os.Getenv("DS_SANDBOX_TEST_LINK_TO")})
	require.NoError(t, err)
	// The file that is there is being replaced when we are killed.
	_, _ = sbx.Files().WriteFrom(ctx, "notes.txt", &announcing{}, nil)
}

// announcing is a reader that says so once it is read a second time, and then waits for ever.
type announcing struct{ reads int }

func (a *announcing) Read(p []byte) (int, error) {
	if a.reads++; a.reads == 1 {
		return copy(p, "half"), nil
	}
	_, _ = os.Stdout.WriteString("writing\n")
	return os.Stdin.Read(p)
}

func TestHostKilledLeavesTheUsersFolder(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	base := filepath.Join(t.TempDir(), "base")
	runtimeDir, err := os.MkdirTemp("", "dst")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(runtimeDir) })
	dir, data := project(t)
	self, err := os.Executable()
	require.NoError(t, err)
	host := exec.CommandContext(testContext(t), self, "-test.run=^TestLinkingProcess$", "-test.v")
	host.Env = append(os.Environ(), "DS_SANDBOX_TEST_LINK_BASE="+base, "DS_SANDBOX_TEST_LINK_TO="+dir,
		"DS_SANDBOX_RUNTIME_DIR="+runtimeDir, "DS_SANDBOX_PYTHON="+python.Executable)
	in, err := host.StdinPipe()
	require.NoError(t, err)
	out, err := host.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, host.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "writing" {
	}
	require.Equal(t, "writing", lines.Text())
	require.NoError(t, host.Process.Kill())
	_, _ = io.Copy(io.Discard, out)
	require.Error(t, host.Wait())
	_ = in.Close()

	engine, err := sandbox.Open(testContext(t), sandbox.Config{WorkspaceBaseDir: base, RuntimeDir: runtimeDir, Python: python.Executable})
	require.NoError(t, err)
	defer func() { require.NoError(t, engine.Close(context.Background())) }()
	left, err := filepath.Glob(filepath.Join(base, "*"))
	require.NoError(t, err)
	require.Empty(t, left, "the next start sweeps")
	require.Equal(t, []string{"data", "notes.txt"}, listed(t, dir))
	require.FileExists(t, filepath.Join(data, "train.csv"))
	text, err := os.ReadFile(filepath.Join(dir, "notes.txt"))
	require.NoError(t, err)
	require.Equal(t, "mine", string(text))
}
