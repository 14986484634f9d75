package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
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
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// forkServers are the fork servers of this program, by process.
func forkServers(t *testing.T) []int {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var pids []int
	for _, name := range found {
		line, _ := os.ReadFile(name)
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "status"))
		if bytes.Contains(line, []byte("warm.py")) && bytes.Contains(status, fmt.Appendf(nil, "\nPPid:\t%d\n", os.Getpid())) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// forkServer waits for a fork server that is another than one, and returns it.
func forkServer(t *testing.T, before int) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		for _, pid := range forkServers(t) {
			if pid != before {
				return pid
			}
		}
		require.True(t, time.Now().Before(deadline), "no fork server")
	}
}

// killAndWait kills a child of this program that another part of it reaps.
func killAndWait(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	for syscall.Kill(pid, 0) == nil {
		time.Sleep(100 * time.Microsecond)
	}
}

// TestTheForkServerMayDieAtAnyTime kills it while it is started, while it imports, when it is ready, and while it forks.
func TestTheForkServerMayDieAtAnyTime(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		ctx := testContext(t)
		e := openEngine(t, python, func(c *sandbox.Config) { c.NoForkServer = false })
		kept := create(t, ctx, e, nil) // before there is one
		mustRun(t, ctx, kept, "x = 1")
		server := 0
		for _, wait := range []time.Duration{0, 300 * time.Millisecond} {
			server = forkServer(t, server)
			time.Sleep(wait)
			killAndWait(t, server)
			require.NoError(t, e.Warm(ctx), "another takes its place")
			require.Equal(t, backends.StartFork, create(t, ctx, e, nil).Info().Start.Kind)
		}
		for i := range 3 { // while it forks
			server = forkServer(t, server)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					sbx, err := e.Create(ctx, nil)
					if err != nil {
						t.Logf("round %d: %v", i, err) // killed in the very start, and says so
						return
					}
					_, _ = sbx.RunCode(ctx, "1", nil) // which may be dead by now
				})
			}
			time.Sleep(time.Duration(5+20*i) * time.Millisecond)
			killAndWait(t, server)
			wg.Wait()
			require.NoError(t, e.Warm(ctx))
			require.Equal(t, backends.StartFork, create(t, ctx, e, nil).Info().Start.Kind)
		}
		require.Equal(t, "1", value(t, ctx, kept, "x"), "who is no fork of it does not notice")
	})
}

func TestSparesOfADeadForkServerAreNotGivenAway(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 3, 3 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		server := 0
		for range 3 {
			waitForSpares(t, e, 3)
			server = forkServer(t, server)
			killAndWait(t, server)
			for range 3 {
				sbx, err := e.Create(ctx, nil)
				require.NoError(t, err)
				require.Equal(t, "2", value(t, ctx, sbx, "1 + 1"))
				require.NoError(t, sbx.Kill(ctx))
			}
			require.NoError(t, e.Warm(ctx))
		}
	})
}

func TestClaimsUnderLoadWhileSparesDie(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 3, 3 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		busy, stop := context.WithCancel(ctx)
		var load, claims sync.WaitGroup
		for range runtime.NumCPU() {
			load.Go(func() {
				for busy.Err() == nil {
				}
			})
		}
		load.Go(func() { // ends spares, which are whatever is nobody's
			for ; busy.Err() == nil; time.Sleep(20 * time.Millisecond) {
				owned := map[string]bool{}
				infos, _ := e.List(ctx)
				for _, info := range infos {
					owned[info.ID] = true
				}
				folders, _ := filepath.Glob(filepath.Join(e.Config().WorkspaceBaseDir, "ws-*"))
				for _, folder := range folders {
					id := strings.TrimPrefix(filepath.Base(folder), "ws-")
					if ready := e.Metrics().Spares; !owned[id] && ready > 1 {
						for _, pid := range kernelsOf(t, id) {
							_ = syscall.Kill(pid, syscall.SIGKILL)
						}
						break
					}
				}
			}
		})
		failed := 0
		var mu sync.Mutex
		for range 3 {
			claims.Go(func() {
				for range 8 {
					sbx, err := e.Create(ctx, nil)
					if err == nil {
						var run *sandbox.Execution
						run, err = sbx.RunCode(ctx, "1 + 1", nil)
						if err == nil && run.Text() != "2" {
							t.Errorf("1 + 1 is %q", run.Text())
						}
						_ = sbx.Kill(ctx)
					}
					if err != nil { // it was killed between the claim and the list that has it
						t.Log(err)
						mu.Lock()
						failed++
						mu.Unlock()
					}
				}
			})
		}
		claims.Wait()
		stop()
		load.Wait()
		require.LessOrEqual(t, failed, 2)
		t.Log(startCounts(e))
	})
}

func TestSparesFollowTheDemand(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 0, 3 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		time.Sleep(200 * time.Millisecond)
		require.Zero(t, e.Metrics().Spares, "nobody has asked")
		for n := 1; n <= 5; n++ {
			require.NoError(t, create(t, ctx, e, nil).Kill(ctx))
			waitForSpares(t, e, min(n, 3))
			time.Sleep(200 * time.Millisecond)
			require.LessOrEqual(t, e.Metrics().Spares, min(n, 3))
		}
	})
}

func TestSparesWaitForRuns(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares = 1, 1 }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		waitForSpares(t, e, 1)
		sbx := create(t, ctx, e, nil)
		run, err := sbx.StartCode(ctx, "import time; time.sleep(1)", nil)
		require.NoError(t, err)
		for begun := time.Now(); time.Since(begun) < 700*time.Millisecond; time.Sleep(10 * time.Millisecond) {
			require.Zero(t, e.Metrics().Spares, "made while code runs")
		}
		_, err = run.Wait(ctx)
		require.NoError(t, err)
		waitForSpares(t, e, 1)
		// Runs without a pause keep none away for good.
		_ = create(t, ctx, e, nil)
		run, err = sbx.StartCode(ctx, "time.sleep(30)", nil)
		require.NoError(t, err)
		waitForSpares(t, e, 1)
		require.NoError(t, run.Close())
	})
}

func TestAClaimIsOneRoundTrip(t *testing.T) {
	var mu sync.Mutex
	sent := 0
	trace := func(direction string, _ *messaging.Message) {
		mu.Lock()
		defer mu.Unlock()
		if direction == "->" {
			sent++
		}
	}
	withForkServer(t, func(c *sandbox.Config) { c.MinSpares, c.MaxSpares, c.Trace = 1, 1, trace }, func(t *testing.T, ctx context.Context, e *sandbox.Engine) {
		for _, env := range []map[string]string{nil, {"A": "b"}} {
			waitForSpares(t, e, 1)
			mu.Lock()
			sent = 0
			mu.Unlock()
			sbx := create(t, ctx, e, &sandbox.Options{Env: env})
			mu.Lock()
			require.Equal(t, 1, sent)
			mu.Unlock()
			require.Equal(t, backends.StartSpare, sbx.Info().Start.Kind)
			require.Equal(t, env["A"], mustRun(t, ctx, sbx, "import os; print(os.environ.get('A', ''), end='')").Stdout())
		}
	})
}

func TestModulesThatCouldNotBePreloadedAreTold(t *testing.T) {
	withForkServer(t, func(c *sandbox.Config) { c.Preload = "no_such_module,json" }, func(t *testing.T, _ context.Context, e *sandbox.Engine) {
		missing := e.Metrics().NotPreloaded
		require.Len(t, missing, 1)
		require.Contains(t, missing["no_such_module"], "ModuleNotFoundError")
	})
}

// TestAsANormalUser runs the tests of starts and copies again, as a user without privileges.
func TestAsANormalUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the others run as one")
	}
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	python := backendtest.Pythons(t)[0]
	for _, pythonToo := range backendtest.Pythons(t) {
		look := exec.Command(pythonToo, "-c", "import ipykernel")
		look.SysProcAttr = nobody
		look.Dir = "/"
		if look.Run() == nil {
			python = pythonToo
			break
		}
		python = ""
	}
	if python == "" {
		t.Skip("no Python that everybody may read")
	}
	dir, err := os.MkdirTemp("", "dsn")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chown(dir, 65534, 65534))
	program := filepath.Join(dir, "test")
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, self, 0o755))
	cmd := exec.CommandContext(testContext(t), program, "-test.run",
		"^(TestForksGoOnApart|TestCheckpointsAreGoneBackToAnyNumberOfTimes|TestSparesAreGivenAwayOnce|TestACheckpointWithFilesBringsThemBack)$")
	cmd.SysProcAttr, cmd.Dir = nobody, dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "DS_SANDBOX_TEST_PYTHONS=" + python, "DS_SANDBOX_REQUIRE=python"}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestAThousandSandboxesLeaveNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	python, err := agent.Probe(testContext(t), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	for _, spares := range []int{sandbox.NoSpares, 4} {
		t.Run(fmt.Sprintf("%d spares", max(spares, 0)), func(t *testing.T) {
			e := openEngine(t, python, func(c *sandbox.Config) { c.NoForkServer, c.MinSpares, c.MaxSpares = false, max(spares, 0), spares })
			require.NoError(t, e.Warm(testContext(t)))
			server := forkServer(t, 0)
			settled := func() figures {
				if spares > 0 {
					waitForSpares(t, e, spares)
				}
				time.Sleep(time.Second) // goroutines and dead processes
				runtime.GC()
				return figures{openFiles(t), descendants(t), resident(t, os.Getpid()), resident(t, server)}
			}
			churn(t, e, 100)
			before, begun := settled(), time.Now()
			churn(t, e, 1000)
			took, after := time.Since(begun), settled()
			t.Logf("1000 sandboxes in %.1f s, %v", took.Seconds(), startCounts(e))
			t.Logf("open files %d then %d; processes %d then %d; our memory %d then %d MB; the fork server's %d then %d MB", before.files, after.files,
				before.processes, after.processes, before.memory>>20, after.memory>>20, before.server>>20, after.server>>20)
			require.LessOrEqual(t, after.files, before.files+2)
			require.LessOrEqual(t, after.processes, before.processes)
			require.LessOrEqual(t, after.memory, before.memory+40<<20)
			require.LessOrEqual(t, after.server, before.server+8<<20)
			left, err := filepath.Glob(filepath.Join(e.Config().WorkspaceBaseDir, "ws-*"))
			require.NoError(t, err)
			require.Len(t, left, max(spares, 0))
		})
	}
}

// figures are what a program uses.
type figures struct{ files, processes, memory, server int }

// churn creates and kills sandboxes, four at a time.
func churn(t *testing.T, e *sandbox.Engine, n int) {
	ctx := context.Background()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range n / 4 {
				sbx, err := e.Create(ctx, nil)
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				if err := sbx.Kill(ctx); err != nil {
					t.Errorf("kill: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// resident is how much memory a process has, bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// descendants counts the processes below this one.
func descendants(t *testing.T) int {
	t.Helper()
	parents := map[string][]string{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, name := range stats {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 {
			parents[fields[1]] = append(parents[fields[1]], strings.Split(name, "/")[2])
		}
	}
	var count func(pid string) int
	count = func(pid string) int {
		n := len(parents[pid])
		for _, child := range parents[pid] {
			n += count(child)
		}
		return n
	}
	return count(strconv.Itoa(os.Getpid()))
}
