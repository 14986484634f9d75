package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// withIsolation is withColdSandbox where the system can isolate.
func withIsolation(t *testing.T, test func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox)) {
	t.Helper()
	if _, err := agent.Confinement(); err != nil {
		t.Skip(err)
	}
	withColdSandbox(t, test)
}

// withIsolatedForks is withIsolation and, besides, in a sandbox whose kernel is a fork, which executes nothing that could take its rights.
func withIsolatedForks(t *testing.T, test func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox)) {
	t.Helper()
	withIsolation(t, test)
	withForkServer(t, nil, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		sbx := create(t, ctx, e, nil)
		require.Equal(t, backends.StartFork, sbx.Info().Start.Kind)
		test(t, ctx, sbx)
	})
}

// denied runs code that must be denied permission.
func denied(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox, code string) {
	t.Helper()
	run, err := sbx.RunCode(ctx, code, nil)
	require.NoError(t, err)
	require.NotNil(t, run.Error, "not denied: %s", code)
	require.Equal(t, "PermissionError", run.Error.Name, "%s: %s", code, run.Error.Value)
}

func TestIsolationIsTheDefaultAndIsReported(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		engine := openEngine(t, python, nil)
		detail, err := agent.Confinement()
		want := backends.IsolationFiles
		if err != nil {
			want, detail = backends.IsolationNone, err.Error()
		}
		require.Equal(t, want, engine.Choice().Isolation)
		require.Equal(t, detail, engine.Choice().IsolationDetail)
		sbx, err := engine.Create(ctx, nil)
		require.NoError(t, err)
		require.Equal(t, want, sbx.Info().Isolation)

		open, err := engine.Create(ctx, &sandbox.Options{Isolation: backends.IsolationNone})
		require.NoError(t, err)
		require.Equal(t, backends.IsolationNone, open.Info().Isolation)
		canary := filepath.Join(t.TempDir(), "canary")
		mustRun(t, ctx, open, fmt.Sprintf("open(%q, 'w').close()", canary))
		require.FileExists(t, canary)

		_, err = engine.Create(ctx, &sandbox.Options{Isolation: "walls"})
		require.ErrorIs(t, err, backends.ErrUnsupported)
	})
}

func TestIsolationIsSetForAnEngine(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	t.Setenv("DS_SANDBOX_ISOLATION", "none")
	engine := openEngine(t, python, nil)
	require.Equal(t, backends.IsolationNone, engine.Choice().Isolation)
	sbx, err := engine.Create(testContext(t), nil)
	require.NoError(t, err)
	require.Equal(t, backends.IsolationNone, sbx.Info().Isolation)

	file := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"isolation": "files"}`), 0o600))
	config, err := sandbox.LoadConfig(file)
	require.NoError(t, err)
	require.Equal(t, backends.IsolationFiles, config.Isolation)
}

func TestIsolationKeepsTheHostFromTheCode(t *testing.T) {
	t.Setenv("HOST_SECRET", "hunter2")
	withIsolatedForks(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		host, workspace := strconv.Itoa(os.Getpid()), sbx.Info().Workspace
		denied(t, ctx, sbx, "open('/proc/"+host+"/environ').read()")
		denied(t, ctx, sbx, "import os; os.listdir('/proc/"+host+"/root/')")
		denied(t, ctx, sbx, "open('/proc/"+host+"/mem', 'rb')")
		denied(t, ctx, sbx, "os.listdir('/tmp')")
		denied(t, ctx, sbx, "os.listdir("+strconv.Quote(filepath.Dir(workspace))+")")
		denied(t, ctx, sbx, "os.listdir('/dev/shm')")
		denied(t, ctx, sbx, "os.mknod('disk', 0o60600, os.makedev(8, 0))")
		require.Equal(t, "1\n", mustRun(t, ctx, sbx, "for line in open('/proc/self/status'):\n    if line.startswith('NoNewPrivs'): print(line.split()[1])").Stdout())
	})
}

func TestIsolationKeepsCodeFromSignallingOutside(t *testing.T) {
	if detail, err := agent.Confinement(); err != nil || strings.Contains(detail, "signals") {
		t.Skip(detail, err)
	}
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		engine := openEngine(t, python, nil)
		one, err := engine.Create(ctx, nil)
		require.NoError(t, err)
		two, err := engine.Create(ctx, nil)
		require.NoError(t, err)
		mustRun(t, ctx, one, "import os, signal")
		neighbour := mustRun(t, ctx, two, "import os; os.getpid()").Text()
		supervisor := mustRun(t, ctx, one, "int(open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1])").Text()
		for _, pid := range []string{strconv.Itoa(os.Getpid()), "os.getppid()", supervisor, neighbour} {
			denied(t, ctx, one, "os.kill("+pid+", 0)")
			denied(t, ctx, one, "os.kill("+pid+", signal.SIGKILL)")
		}
		// Everything that may be signalled, which leaves the kernel itself out: its own children.
		child := pidOf(t, mustRun(t, ctx, one, "import subprocess; child = subprocess.Popen(['sleep', '600']); child.pid"))
		mustRun(t, ctx, one, "os.kill(-1, signal.SIGKILL); child.wait()")
		require.False(t, alive(child))
		require.Equal(t, "2", mustRun(t, ctx, one, "1 + 1").Text())
		require.Equal(t, "2", mustRun(t, ctx, two, "1 + 1").Text())
	})
}

func TestIsolationLetsDataScienceWork(t *testing.T) {
	withIsolation(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		run := mustRun(t, ctx, sbx, `
import subprocess
def missing(name):
    import importlib.util
    return importlib.util.find_spec(name) is None
if not missing("matplotlib"):
    import matplotlib.pyplot as plt
    plt.plot([1, 2]); plt.title("$x^2$"); plt.savefig("plot.png")
if not missing("pandas"):
    import pandas as pd
    pd.DataFrame({"a": [1]}).to_csv("a.csv"); pd.read_csv("a.csv")
if not missing("sklearn"):
    import numpy as np
    from joblib import Parallel, delayed
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    data = load_iris()
    model = RandomForestClassifier(10, n_jobs=2).fit(data.data, data.target)
    # Large enough to travel as a file that all workers map.
    assert Parallel(n_jobs=2)(delayed(np.sum)(np.ones(1_000_000)) for _ in range(2)) == [1e6, 1e6]
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import Queue
Queue().put(1)
with ProcessPoolExecutor(2) as pool: assert list(pool.map(abs, [-1])) == [1]
with ThreadPoolExecutor(2) as pool: assert list(pool.map(abs, [-1])) == [1]
subprocess.run("if which git; then git init -q repo && cd repo && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x; fi", shell=True, check=True, capture_output=True)
`)
		require.Empty(t, run.Stderr())
		require.Equal(t, "out\n", strings.ReplaceAll(mustRun(t, ctx, sbx, "!echo out").Stdout(), "\r", ""))
	})
}

func TestIsolationHoldsForAUserWithoutPrivileges(t *testing.T) {
	if _, err := agent.Confinement(); err != nil {
		t.Skip(err)
	}
	backendtest.AsOrdinaryUser(t, "^TestIsolation", "TestIsolationKeepsTheHostFromTheCode/")
}
