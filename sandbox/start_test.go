package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// withForkServer runs a test on an engine of each Python whose fork server is ready.
func withForkServer(t *testing.T, change func(*sandbox.Config), test func(t *testing.T, ctx context.Context, e *sandbox.Engine)) {
	t.Helper()
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		e := openEngine(t, python, func(c *sandbox.Config) {
			c.NoForkServer = false
			if change != nil {
				change(c)
			}
		})
		require.NoError(t, e.Warm(testContext(t)))
		test(t, testContext(t), e)
	})
}

func TestForkLeavesNoBytecodeInTheUsersFolder(t *testing.T) {
	withForkServer(t, nil, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		mine := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(mine, "mine.py"), []byte("x = 1"), 0o644))
		sbx := create(t, ctx, e, &sandbox.Options{WorkspacePath: mine})
		require.Equal(t, backends.StartFork, sbx.Info().Start.Kind)
		require.Equal(t, "1", mustRun(t, ctx, sbx, "import mine; mine.x").Text())
		require.NoError(t, sbx.Kill(ctx))
		left, err := os.ReadDir(mine)
		require.NoError(t, err)
		require.Len(t, left, 1)
	})
}

func create(t *testing.T, ctx context.Context, e *sandbox.Engine, opts *sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	sbx, err := e.Create(ctx, opts)
	require.NoError(t, err)
	return sbx
}

// interpreter is what an interpreter says of itself, without what is each one's own.
const interpreter = `
import os, sys, signal, site, threading, gc, multiprocessing.process as _mp, re as _re
_own = lambda text: _re.sub(r"[0-9a-f]{8}-[-0-9a-f]{27}", "MARK", _re.sub(r"[0-9a-f]{20}", "ID", str(text)))
for _x in (
    sys.path, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.executable, sys.flags, sys.dont_write_bytecode, sys.argv, sys.orig_argv[1:], os.getcwd(),
    sorted(os.environ.items()), [signal.getsignal(getattr(signal, "SIG" + n)) for n in "INT TERM PIPE XFSZ CHLD HUP".split()], site.PREFIXES,
    signal.pthread_sigmask(signal.SIG_BLOCK, ()), gc.isenabled(), gc.get_threshold(), __name__, sorted(k for k in globals() if not k.startswith("_")),
    os.getsid(0) == os.getpid(), os.umask(0o22), sys.getrecursionlimit(), sorted(os.path.basename(m) for m in sys.modules if m in ("wire", "born", "keeper", "spawn", "supervisor")),
    sorted(t.name.rstrip("0123456789-") for t in threading.enumerate()), sys.stdin.encoding, sys.getfilesystemencoding(), __import__("tempfile").gettempdir(),
    __import__("sysconfig").get_path("purelib"), __import__("matplotlib").get_cachedir(), __import__("matplotlib").get_backend(), open("/proc/self/comm").read()[:6],
):
    print(_own(_x))
`

func TestAForkIsWhatAColdStartWouldBe(t *testing.T) {
	withForkServer(t, nil, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		fork := create(t, ctx, e, &sandbox.Options{Env: map[string]string{"A": "b"}})
		require.Equal(t, backends.StartFork, fork.Info().Start.Kind)
		cold := create(t, ctx, e, &sandbox.Options{Env: map[string]string{"A": "b", "PYTHONHASHSEED": "0"}})
		require.Equal(t, backends.StartCold, cold.Info().Start.Kind, "variables of the interpreter are read as it starts")
		want := strings.ReplaceAll(mustRun(t, ctx, cold, interpreter).Stdout(), ", ('PYTHONHASHSEED', '0')", "")
		got := mustRun(t, ctx, fork, interpreter).Stdout()
		wants, gots := strings.Split(want, "\n"), strings.Split(got, "\n")
		require.Len(t, gots, len(wants))
		for i := range wants {
			if !strings.HasPrefix(wants[i], "sys.flags") { // hash_randomization differs by the variable
				require.Equal(t, wants[i], gots[i])
			}
		}
		require.Equal(t, map[backends.StartKind]int{backends.StartFork: 1, backends.StartCold: 1}, startCounts(e))

		const drawn = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2], label='$x^2$'); plt.legend(); plt.title('ä'); plt.show()"
		require.Equal(t, mustRun(t, ctx, cold, drawn).Results[0].PNG, mustRun(t, ctx, fork, drawn).Results[0].PNG)
		const shown = "import pandas as pd; pd.DataFrame({'a': [1.5, None]})"
		require.Equal(t, mustRun(t, ctx, cold, shown).Results[0].Bundle, mustRun(t, ctx, fork, shown).Results[0].Bundle)
	})
}

func startCounts(e *sandbox.Engine) map[backends.StartKind]int {
	counts := map[backends.StartKind]int{}
	for kind, c := range e.Metrics().Starts {
		counts[kind] = c.Count
	}
	return counts
}

// secrets are things that no two interpreters may share.
const secrets = `
import random, uuid, os, secrets, tempfile, multiprocessing.process, ssl
for _x in [random.random(), str(uuid.uuid4()), str(uuid.uuid1()), secrets.token_hex(), next(tempfile._get_candidate_names()), multiprocessing.process.current_process().authkey.hex(),
 ssl.RAND_bytes(8).hex(), get_ipython().kernel.session.session, get_ipython().kernel.session.key.hex(), str(get_ipython().kernel.ident)] + (
 [__import__("numpy").random.random(), __import__("numpy").random.default_rng().random()]): print(_x)`

func TestForksShareNoRandomness(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 2, 2 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		seen := map[string]bool{}
		for range 6 {
			sbx := create(t, ctx, e, nil)
			run := mustRun(t, ctx, sbx, secrets)
			lines := strings.Fields(run.Stdout())
			require.Len(t, lines, 12)
			for _, line := range lines {
				require.False(t, seen[line], "%s twice", line)
				seen[line] = true
			}
		}
	})
}

func TestFiguresOfEveryStartKind(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 1, 1 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		waitForSpares(t, e, 1)
		seen := map[backends.StartKind]bool{}
		for _, opts := range []*sandbox.Options{nil, {ID: "forked"}, {Env: map[string]string{"PYTHONX": "1"}}} {
			for _, code := range []string{"plt.plot([1, 2])", "plt.plot([1, 2]); plt.show()", "plt.figure().gca().plot([1, 2]);"} {
				if opts != nil && opts.ID != "" {
					opts.ID += "x"
				}
				sbx := create(t, ctx, e, opts)
				seen[sbx.Info().Start.Kind] = true
				needModule(t, ctx, sbx, "matplotlib")
				run := mustRun(t, ctx, sbx, "import matplotlib.pyplot as plt\n"+code)
				last := run.Results[len(run.Results)-1]
				require.NotEmpty(t, last.PNG, "%s after a %s start", code, sbx.Info().Start.Kind)
				chart, ok := last.Figure()
				require.True(t, ok)
				require.Equal(t, "line", chart.Kind())
				require.NoError(t, sbx.Kill(ctx))
				if opts == nil {
					waitForSpares(t, e, 1)
				}
			}
		}
		require.Len(t, seen, 3)
	})
}

func waitForSpares(t *testing.T, e *sandbox.Engine, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return e.Metrics().Spares >= n }, time.Minute, 5*time.Millisecond)
}

func TestRestartsAreForksUntilPackagesAreInstalled(t *testing.T) {
	withForkServer(t, nil, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		sbx := create(t, ctx, e, nil)
		// The fork server's command line is a fork's too.
		const forked = "'warm.py' in open('/proc/self/cmdline').read()"
		require.Equal(t, "True", mustRun(t, ctx, sbx, forked).Text())
		require.NoError(t, sbx.DefaultContext().Restart(ctx))
		require.Equal(t, "True", mustRun(t, ctx, sbx, forked).Text())
		mustRun(t, ctx, sbx, "import sysconfig, os\nopen(os.path.join(sysconfig.get_path('purelib'), 'kiwisolver.py'), 'w').write('mine = 1')")
		require.NoError(t, sbx.DefaultContext().Restart(ctx))
		require.Equal(t, "(False, 1)", mustRun(t, ctx, sbx, "import kiwisolver\n"+forked+", kiwisolver.mine").Text())
	})
}

func TestSparesAreGivenAwayOnce(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 3, 3 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		create(t, ctx, e, nil) // there is no engine without a demand
		waitForSpares(t, e, 3)
		sbx := create(t, ctx, e, &sandbox.Options{
			Env: map[string]string{"NAME": "it's \"quoted\" \\ ü"}, Metadata: map[string]string{"a": "b"}, TimeToLive: time.Hour,
		})
		info := sbx.Info()
		require.Equal(t, backends.StartSpare, info.Start.Kind)
		require.Equal(t, map[string]string{"a": "b"}, info.Metadata)
		require.WithinDuration(t, time.Now().Add(time.Hour), info.ExpiresAt, time.Minute)
		require.WithinDuration(t, time.Now(), info.StartedAt, time.Minute)
		require.Equal(t, 1, mustRun(t, ctx, sbx, "import os").ExecutionCount)
		require.Equal(t, "it's \"quoted\" \\ ü\n", mustRun(t, ctx, sbx, "print(os.environ['NAME'])").Stdout())
		done, err := sbx.Commands().Run(ctx, "printf %s \"$NAME\"", nil)
		require.NoError(t, err)
		require.Equal(t, "it's \"quoted\" \\ ü", done.Stdout)
		require.NoError(t, sbx.DefaultContext().Restart(ctx))
		require.Equal(t, "it's \"quoted\" \\ ü\n", mustRun(t, ctx, sbx, "import os; print(os.environ['NAME'])").Stdout())
		listed, err := e.List(ctx)
		require.NoError(t, err)
		require.Len(t, listed, 2, "spares are nobody's")

		var wg sync.WaitGroup
		var mu sync.Mutex
		ids := map[string]int{}
		for range 8 {
			wg.Go(func() {
				sbx, err := e.Create(ctx, nil)
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				_, err = sbx.RunCode(ctx, "mine = globals().get('mine', 0) + 1", nil)
				run, err2 := sbx.RunCode(ctx, "mine", nil)
				if err != nil || err2 != nil || run.Text() != "1" {
					t.Errorf("run: %v %v %q", err, err2, run.Text())
				}
				mu.Lock()
				defer mu.Unlock()
				ids[sbx.ID()]++
			})
		}
		wg.Wait()
		require.Len(t, ids, 8)
	})
}

// kernelsOf are the processes whose environment, as the system shows it, is a sandbox's.
func kernelsOf(t *testing.T, id string) []int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	var pids []int
	for _, name := range found {
		if data, err := os.ReadFile(name); err == nil && strings.Contains(string(data), "DS_SANDBOX_ID="+id) {
			pid, err := strconv.Atoi(strings.Split(name, "/")[2])
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestSparesThatDieAreReplacedUnnoticed(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 2, 2 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		first := create(t, ctx, e, nil)
		waitForSpares(t, e, 2)
		require.NotEmpty(t, kernelsOf(t, first.ID()), "a fork is found by its environment")
		// Whatever is a kernel of this engine and not the first one's is a spare's.
		folders, err := filepath.Glob(filepath.Join(filepath.Dir(first.Info().Workspace), "ws-*"))
		require.NoError(t, err)
		killed := 0
		for _, folder := range folders {
			if id := strings.TrimPrefix(filepath.Base(folder), "ws-"); id != first.ID() {
				for _, pid := range kernelsOf(t, id) {
					p, err := os.FindProcess(pid)
					require.NoError(t, err)
					require.NoError(t, p.Kill())
					killed++
				}
			}
		}
		require.Equal(t, 2, killed)
		for range 3 {
			sbx := create(t, ctx, e, nil)
			require.Equal(t, "2", mustRun(t, ctx, sbx, "1 + 1").Text())
		}
	})
}

func TestTheEndOfTheForkServerIsSurvived(t *testing.T) {
	withForkServer(t, nil, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		before := create(t, ctx, e, nil)
		require.Equal(t, backends.StartFork, before.Info().Start.Kind)
		// Above the kernel is its keeper, and above that the fork server.
		pid := mustRun(t, ctx, before, "import os\nint(open('/proc/%d/stat' % os.getppid()).read().rpartition(')')[2].split()[1])").Text()
		server, err := strconv.Atoi(pid)
		require.NoError(t, err)
		p, err := os.FindProcess(server)
		require.NoError(t, err)
		require.NoError(t, p.Kill())
		_, err = before.RunCode(ctx, "import time; time.sleep(60)", nil)
		require.Error(t, err, "its kernels go with it, and say so")
		after := create(t, ctx, e, nil)
		require.Equal(t, "2", mustRun(t, ctx, after, "1 + 1").Text())
		require.NoError(t, e.Warm(ctx))
		require.Equal(t, backends.StartFork, create(t, ctx, e, nil).Info().Start.Kind)
	})
}

func TestWhatCannotBePreloadedIsLeftOut(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.Preload = "no_such_module, json" }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		sbx := create(t, ctx, e, nil)
		require.Equal(t, backends.StartFork, sbx.Info().Start.Kind)
		require.Equal(t, "(True, False)", mustRun(t, ctx, sbx, "import sys\n'json' in sys.modules, 'pandas' in sys.modules").Text())
	})
	_, err := sandbox.Open(testContext(t), sandbox.Config{Preload: "os; import x"})
	require.ErrorContains(t, err, "Preload")
}

func TestManyAtOnce(t *testing.T) {
	withForkServer(t, nil, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				sbx, err := e.Create(ctx, nil)
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				run, err := sbx.RunCode(ctx, fmt.Sprintf("import pandas as pd\nint(pd.Series([%d, 1]).sum())", i), nil)
				if err != nil || run.Text() != strconv.Itoa(i+1) {
					t.Errorf("run %d: %v %q", i, err, run.Text())
				}
			})
		}
		wg.Wait()
		require.Equal(t, map[backends.StartKind]int{backends.StartFork: 40}, startCounts(e))
	})
}
