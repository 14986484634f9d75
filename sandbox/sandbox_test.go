package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	after := data[bytes.LastIndexByte(data, ')')+1:]
	return !bytes.HasPrefix(bytes.TrimSpace(after), []byte("Z"))
}

func pidOf(t *testing.T, run *sandbox.Execution) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(run.Text()))
	require.NoError(t, err)
	return pid
}

// daemonCode starts a process that leaves its parent, its session and its signals behind, and shows its id.
const daemonCode = `
import os, signal, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        os.write(w, str(os.getpid()).encode())
        time.sleep(600)
    os._exit(0)
int(os.read(r, 32))
`

func TestKillEndsDaemonsAndRemovesTheWorkspace(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		daemon := pidOf(t, mustRun(t, ctx, sbx, daemonCode))
		python := pidOf(t, mustRun(t, ctx, sbx, "os.getpid()"))
		mustRun(t, ctx, sbx, "os.makedirs('locked/inner'); os.chmod('locked', 0)")
		require.True(t, alive(daemon))
		workspace := sbx.Info().Workspace
		require.DirExists(t, workspace)
		start := time.Now()
		require.NoError(t, sbx.Kill(ctx))
		require.Less(t, time.Since(start), 2*time.Second)
		require.False(t, alive(daemon))
		require.False(t, alive(python))
		require.NoDirExists(t, workspace)
	})
}

func TestKillTwiceAndUseAfterwards(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		running, err := sbx.StartCode(ctx, "import time; time.sleep(60)", nil)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := sbx.Kill(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		_, err = running.Wait(ctx)
		require.ErrorIs(t, err, sandbox.ErrKilled)
		require.NoError(t, sbx.Kill(ctx))
		_, err = sbx.RunCode(ctx, "1", nil)
		require.ErrorIs(t, err, sandbox.ErrKilled)
		_, err = sbx.CreateContext(ctx, nil)
		require.ErrorIs(t, err, sandbox.ErrKilled)
		_, err = sbx.Files().Read(ctx, "x")
		require.ErrorIs(t, err, sandbox.ErrKilled)
		require.ErrorIs(t, sbx.Files().WriteString(ctx, "x", "y"), sandbox.ErrKilled)
	})
}

func TestContextOfAnotherSandboxIsRefused(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		engine := engineFor(t, python)
		one, err := engine.Create(ctx, nil)
		require.NoError(t, err)
		two, err := engine.Create(ctx, nil)
		require.NoError(t, err)
		_, err = one.RunCode(ctx, "1", &sandbox.RunOptions{Context: two.DefaultContext()})
		require.ErrorIs(t, err, sandbox.ErrForeignContext)
	})
}

func TestRestartKeepsIDDirectoryAndEnvironment(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c, err := sbx.CreateContext(ctx, &sandbox.ContextOptions{Dir: "work", Env: map[string]string{"STAY": "yes"}})
		require.NoError(t, err)
		id := c.ID()
		_, err = c.RunCode(ctx, "x = 1", nil)
		require.NoError(t, err)
		require.NoError(t, c.Restart(ctx))
		run, err := c.RunCode(ctx, "import os; ('x' in globals(), os.environ['STAY'], os.path.basename(os.getcwd()))", nil)
		require.NoError(t, err)
		require.Equal(t, "(False, 'yes', 'work')", run.Text())
		require.Equal(t, id, c.ID())
		require.Equal(t, 1, run.ExecutionCount)
		require.NoError(t, c.Remove(ctx))
		require.NoError(t, c.Remove(ctx))
		_, err = c.RunCode(ctx, "1", nil)
		require.ErrorIs(t, err, sandbox.ErrRemoved)
		require.Len(t, sbx.Contexts(), 1)
	})
}

func TestInterruptOfAContextRaisesInTheRun(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run, err := sbx.RunCode(ctx, "import time; print('on', flush=True); time.sleep(60)", &sandbox.RunOptions{
			OnStdout: func(sandbox.OutputMessage) {
				if err := sbx.DefaultContext().Interrupt(ctx); err != nil {
					t.Error(err)
				}
			},
		})
		require.NoError(t, err)
		require.Equal(t, "KeyboardInterrupt", run.Error.Name)
		require.NoError(t, sbx.DefaultContext().Interrupt(ctx), "an idle context ignores it")
		mustRun(t, ctx, sbx, "1")
	})
}

func TestSecretsOfTheHostAreNotPassedOn(t *testing.T) {
	t.Setenv("CLOUD_SECRET", "hunter2")
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run := mustRun(t, ctx, sbx, "import os\nprint('CLOUD_SECRET' in os.environ, 'PATH' in os.environ, os.environ['HOME'] == os.getcwd())\nos.listdir('.')")
		require.Equal(t, "False True True\n", run.Stdout())
		require.Equal(t, "[]", run.Text(), "a fresh workspace is empty")
	})
}

func TestPipInstallsIntoTheSandboxOnly(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		if python.Packages["pip"] == "" {
			t.Skip("this Python has no pip")
		}
		ctx := testContext(t)
		engine := engineFor(t, python)
		one, err := engine.Create(ctx, nil)
		require.NoError(t, err)
		two, err := engine.Create(ctx, nil)
		require.NoError(t, err)
		shared := siteNames(t, python)
		// A package of the test's own, so that no registry is needed.
		files := one.Files()
		require.NoError(t, files.WriteString(ctx, "pkg/pyproject.toml", "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"))
		require.NoError(t, files.WriteString(ctx, "pkg/backend.py", wheelBackend))
		run := mustRun(t, ctx, one, "import subprocess\nr = subprocess.run(['pip', 'install', '--no-index', '--disable-pip-version-check', './pkg'], capture_output=True, text=True)\nprint(r.stdout, r.stderr)\nr.returncode")
		require.Equal(t, "0", run.Text(), run.Stdout())
		require.Equal(t, "7", mustRun(t, ctx, one, "import ds_probe; ds_probe.value").Text())
		run, err = two.RunCode(ctx, "import ds_probe", nil)
		require.NoError(t, err)
		require.Equal(t, "ModuleNotFoundError", run.Error.Name)
		// What is shared can't be removed from inside.
		mustRun(t, ctx, one, "subprocess.run(['pip', 'uninstall', '-y', '--disable-pip-version-check', 'numpy'], capture_output=True)")
		mustRun(t, ctx, two, "import numpy")
		require.Equal(t, shared, siteNames(t, python), "the shared environment changed")
	})
}

// siteNames lists what is in an interpreter's package folders.
func siteNames(t *testing.T, python *agent.Python) []string {
	t.Helper()
	var names []string
	for _, dir := range python.SiteDirs {
		found, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		names = append(names, found...)
	}
	return names
}

// wheelBackend builds a wheel with one module, with the standard library only.
const wheelBackend = `
import os, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "ds_probe-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as z:
        z.writestr("ds_probe.py", "value = 7\n")
        z.writestr("ds_probe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: ds_probe\nVersion: 1.0\n")
        z.writestr("ds_probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("ds_probe-1.0.dist-info/RECORD", "ds_probe.py,,\nds_probe-1.0.dist-info/METADATA,,\nds_probe-1.0.dist-info/WHEEL,,\nds_probe-1.0.dist-info/RECORD,,\n")
    return name
`

func TestTimeToLiveKillsAndCanBeExtended(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		engine := engineFor(t, python)
		sbx, err := engine.Create(ctx, &sandbox.Options{TimeToLive: time.Hour, Metadata: map[string]string{"who": "me"}})
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(time.Hour), sbx.Info().ExpiresAt, time.Minute)
		same, err := engine.Connect(ctx, sbx.ID())
		require.NoError(t, err)
		require.Same(t, sbx, same)
		list, err := engine.List(ctx)
		require.NoError(t, err)
		require.Equal(t, []sandbox.Info{sbx.Info()}, list)

		run, err := sbx.StartCode(ctx, "import time; time.sleep(600)", nil)
		require.NoError(t, err)
		sbx.SetTimeToLive(50 * time.Millisecond)
		_, err = run.Wait(ctx)
		require.ErrorIs(t, err, sandbox.ErrKilled)
		require.NoError(t, sbx.Kill(ctx))
		_, err = engine.Connect(ctx, sbx.ID())
		require.ErrorIs(t, err, sandbox.ErrNotFound)
	})
}

// TestHostProcess is no test: it is the program that TestHostKilledLeavesNothing kills.
func TestHostProcess(t *testing.T) {
	base := os.Getenv("DS_SANDBOX_TEST_HOST_BASE")
	if base == "" {
		t.Skip("runs as a child of TestHostKilledLeavesNothing")
	}
	ctx := context.Background()
	engine, err := sandbox.Open(ctx, sandbox.Config{WorkspaceBaseDir: base})
	require.NoError(t, err)
	sbx, err := engine.Create(ctx, nil)
	require.NoError(t, err)
	daemon := mustRun(t, ctx, sbx, daemonCode).Text()
	fmt.Println("pids", mustRun(t, ctx, sbx, "os.getpid()").Text(), daemon)
	_, _ = sbx.RunCode(ctx, "import time; time.sleep(600)", nil)
}

func TestHostKilledLeavesNothing(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		base := filepath.Join(t.TempDir(), "base")
		runtimeDir, err := os.MkdirTemp("", "dst")
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(runtimeDir) })
		self, err := os.Executable()
		require.NoError(t, err)
		host := exec.Command(self, "-test.run=^TestHostProcess$", "-test.v")
		host.Env = append(os.Environ(), "DS_SANDBOX_TEST_HOST_BASE="+base, "DS_SANDBOX_RUNTIME_DIR="+runtimeDir, "DS_SANDBOX_PYTHON="+python.Executable)
		out, err := host.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, host.Start())
		var pids [2]int
		for line := ""; pids[0] == 0; {
			b := make([]byte, 1)
			if _, err := out.Read(b); err != nil {
				t.Fatal("host program ended early: ", line)
			}
			if line += string(b); b[0] == '\n' {
				_, _ = fmt.Sscanf(strings.TrimSpace(line), "pids %d %d", &pids[0], &pids[1])
				line = ""
			}
		}
		require.True(t, alive(pids[0]) && alive(pids[1]))
		require.NoError(t, host.Process.Signal(syscall.SIGKILL))
		require.Error(t, host.Wait())
		require.Eventually(t, func() bool { return !alive(pids[0]) && !alive(pids[1]) }, 2*time.Second, 5*time.Millisecond)
		left, err := filepath.Glob(filepath.Join(base, "ws-*"))
		require.NoError(t, err)
		require.Len(t, left, 1)

		engine, err := sandbox.Open(testContext(t), sandbox.Config{WorkspaceBaseDir: base, RuntimeDir: runtimeDir, Python: python.Executable})
		require.NoError(t, err)
		defer func() { require.NoError(t, engine.Close(context.Background())) }()
		left, err = filepath.Glob(filepath.Join(base, "*"))
		require.NoError(t, err)
		require.Empty(t, left, "the next start sweeps")
	})
}

func TestManySandboxesAtOnceLeaveNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	python, err := agent.Probe(context.Background(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	const count = 100
	fds, goroutines := countFDs(t), runtime.NumGoroutine()
	t.Run("work", func(t *testing.T) {
		ctx := testContext(t)
		engine := openEngine(t, python, func(c *sandbox.Config) { c.StartTimeout = 3 * time.Minute })
		var wg sync.WaitGroup
		pids := make([]int, count)
		for i := range count {
			wg.Go(func() {
				sbx, err := engine.Create(ctx, nil)
				if err != nil {
					t.Errorf("create %d: %v", i, err)
					return
				}
				run, err := sbx.RunCode(ctx, fmt.Sprintf("import os; print(%d ** 2); os.getpid()", i), nil)
				if err != nil || run.Stdout() != fmt.Sprintf("%d\n", i*i) {
					t.Errorf("run %d: %v %q", i, err, run.Stdout())
					return
				}
				pids[i], _ = strconv.Atoi(run.Text())
				if err := sbx.Kill(ctx); err != nil {
					t.Errorf("kill %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		for _, pid := range pids {
			require.False(t, pid == 0 || alive(pid), "process %d", pid)
		}
		// What the engine itself has is looked for when it is closed.
		left, err := filepath.Glob(filepath.Join(engine.Config().WorkspaceBaseDir, "*"))
		require.NoError(t, err)
		require.Empty(t, left, "folders of sandboxes that are no more")
	})
	require.Eventually(t, func() bool { return countFDs(t) <= fds && runtime.NumGoroutine() <= goroutines+1 },
		5*time.Second, 10*time.Millisecond, "file descriptors or goroutines left")
}

func countFDs(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func TestTenThousandRunsLoseNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		sbx, err := openEngine(t, python, func(c *sandbox.Config) { c.JournalBytes = 1 << 20 }).Create(ctx, nil) // full by run 500
		require.NoError(t, err)
		memory := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := uint64(0)
		for i := range 10_000 {
			run, err := sbx.RunCode(ctx, strconv.Itoa(i), nil)
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(i), run.Text())
			if i == 500 {
				before = memory()
			}
		}
		require.Less(t, memory(), before+4<<20, "memory grows with runs")
	})
}

func TestNoPythonSaysWhatToDo(t *testing.T) {
	_, err := sandbox.Open(testContext(t), sandbox.Config{Python: "/no/such/python3"})
	require.ErrorContains(t, err, "/no/such/python3")
	require.ErrorContains(t, err, "DS_SANDBOX_PYTHON")
}

func TestUnwritableBaseFolderIsNamed(t *testing.T) {
	python := backendtest.Pythons(t)[0]
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/no"} {
		_, err := sandbox.Open(testContext(t), sandbox.Config{Python: python, WorkspaceBaseDir: dir})
		require.ErrorContains(t, err, "DS_SANDBOX_WORKSPACE_BASE", dir)
		require.ErrorContains(t, err, filepath.Base(dir))
	}
}

func TestSocketPathTooLongIsNamed(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		long := filepath.Join(t.TempDir(), strings.Repeat("r", 90))
		engine := openEngine(t, python, func(c *sandbox.Config) { c.RuntimeDir = long })
		_, err := engine.Create(testContext(t), nil)
		var start *backends.StartError
		require.ErrorAs(t, err, &start)
		require.ErrorContains(t, err, "DS_SANDBOX_RUNTIME_DIR")
	})
}

func TestUnknownBackendAndSettingsAreNamed(t *testing.T) {
	_, err := sandbox.Open(testContext(t), sandbox.Config{DefaultBackend: "cloud"})
	require.ErrorContains(t, err, `"cloud"`)
	t.Setenv("DS_SANDBOX_TIMEOUT", "soon")
	_, err = sandbox.Open(testContext(t), sandbox.Config{})
	require.ErrorContains(t, err, "DS_SANDBOX_TIMEOUT")
}

func TestConfigurationFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"default_backend": "local", "default_timeout": 1.5, "use_jupyter": false, "workspace_base_dir": "/w"}`), 0o600))
	config, err := sandbox.LoadConfig(path)
	require.NoError(t, err)
	require.Equal(t, sandbox.Config{DefaultBackend: "local", DefaultTimeout: 1500 * time.Millisecond, WorkspaceBaseDir: "/w"}, config)
	require.NoError(t, os.WriteFile(path, []byte(`{"defaultbackend": "local"}`), 0o600))
	_, err = sandbox.LoadConfig(path)
	require.ErrorContains(t, err, "defaultbackend")
	_, err = sandbox.LoadConfig(path + "x")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestStateIsToldByTheContext(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		c := sbx.DefaultContext()
		require.Equal(t, kernel.Idle, c.State())
		run, err := c.RunCode(ctx, "print(1, flush=True); import time; time.sleep(1)", &sandbox.RunOptions{OnStdout: func(sandbox.OutputMessage) { require.Equal(t, kernel.Busy, c.State()) }})
		require.NoError(t, err)
		require.Equal(t, "1\n", run.Stdout())
		require.Equal(t, "python", c.Info().LanguageInfo.Name)
	})
}
