package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// fakeGroup makes a folder that looks like a control group.
func fakeGroup(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
}

func TestHierarchiesAreFoundWhereTheyAreOurs(t *testing.T) {
	dir := t.TempDir()
	fakeGroup(t, filepath.Join(dir, "memory/others"), map[string]string{"cgroup.procs": ""})
	fakeGroup(t, filepath.Join(dir, "pids"), map[string]string{"cgroup.procs": ""})
	fakeGroup(t, filepath.Join(dir, "cpu"), map[string]string{"cgroup.procs": ""})
	mounts := strings.ReplaceAll(`31 23 0:28 / /sys rw shared:3 - tmpfs tmpfs rw,mode=755
32 31 0:29 /box DIR/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / DIR/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / DIR/pids rw,relatime shared:7 - cgroup cgroup rw,pids
garbage
`, "DIR", dir)
	groups := "4:memory:/others\n8:pids:/\n3:cpu,cpuacct:/box\n1:name=systemd:/\n0::/\nnonsense\n"
	found := make(map[string]string)
	for _, h := range findHierarchies(mounts, groups) {
		for name := range h.controllers {
			found[name] = h.dir
		}
	}
	want := map[string]string{"pids": filepath.Join(dir, "pids"), "cpu": filepath.Join(dir, "cpu"), "cpuacct": filepath.Join(dir, "cpu")}
	if os.Geteuid() != 0 {
		want["memory"] = filepath.Join(dir, "memory/others") // it belongs to this user
	}
	require.Equal(t, want, found, "what has another manager is left alone")
}

func TestVersion2GroupsGoWhereControllersArePassedOn(t *testing.T) {
	dir := t.TempDir()
	fakeGroup(t, dir, map[string]string{
		"cgroup.procs": "", "cgroup.controllers": "cpu memory pids\n", "cgroup.subtree_control": "cpu memory pids\n",
	})
	found := findHierarchies("1 1 0:1 / "+dir+" rw - cgroup2 cgroup2 rw\n", "0::/\n")
	require.Len(t, found, 1)
	g := makeCgroup(found, "mark")
	group := filepath.Join(dir, "ds-sandbox-mark")
	require.DirExists(t, group)
	// What the system itself would put there.
	fakeGroup(t, group, map[string]string{
		"memory.max": "", "memory.swap.max": "", "cpu.max": "", "pids.max": "", "cgroup.procs": "",
		"cpu.stat": "usage_usec 1500000\nuser_usec 1\n", "memory.current": "5000\n", "memory.stat": "anon 1\ninactive_file 2000\n",
		"memory.events": "low 0\noom 1\noom_kill 3\n", "pids.events": "max 7\n",
	})
	by, err := g.apply(backends.Limits{Memory: 1 << 20, CPUs: 1.5, Processes: 9})
	require.NoError(t, err)
	require.Equal(t, map[backends.LimitName]backends.Enforcer{
		backends.LimitMemory: backends.ByCgroup2, backends.LimitCPUs: backends.ByCgroup2, backends.LimitProcesses: backends.ByCgroup2,
	}, by)
	for name, want := range map[string]string{"memory.max": "1048576", "memory.swap.max": "0", "cpu.max": "150000 100000", "pids.max": "9"} {
		data, err := os.ReadFile(filepath.Join(group, name))
		require.NoError(t, err)
		require.Equal(t, want, string(data), name)
	}
	cpu, ok := g.cpu()
	require.True(t, ok)
	require.Equal(t, 1500*time.Millisecond, cpu)
	memory, ok := g.memory()
	require.True(t, ok)
	require.EqualValues(t, 3000, memory)
	kills, _ := g.kills()
	require.EqualValues(t, 3, kills)
	refusals, _ := g.refusals()
	require.EqualValues(t, 7, refusals)
	require.Equal(t, filepath.Join(group, "cgroup.freeze"), g.freezer())
	require.Equal(t, []string{filepath.Join(group, "cgroup.procs")}, g.members())
}

func TestMemoryGroupOfVersion1TellsWhatItKilled(t *testing.T) {
	dir := t.TempDir()
	g := makeCgroup([]hierarchy{{dir: dir, controllers: map[string]bool{"memory": true}}}, "mark")
	fakeGroup(t, filepath.Join(dir, "ds-sandbox-mark"), map[string]string{
		"memory.limit_in_bytes": "", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
	})
	l := backends.Limits{Memory: 1 << 20}
	by, err := g.apply(l)
	require.NoError(t, err, "a system that does not count swap is no reason to refuse")
	w := &watchdog{limiter: &limiter{limits: l, group: g, by: by}, reasons: make(map[int]*backends.LimitError)}
	ended := func(e ending, status backends.ExitStatus) (limit *backends.LimitError, hits int) {
		w.verdict(e, &status)
		return status.Limit, len(status.LimitsHit)
	}
	killed, begun := backends.ExitStatus{Code: -1, Signal: "SIGKILL"}, time.Now()
	limit, hits := ended(ending{pid: 7, begun: begun}, killed)
	require.Nil(t, limit, "somebody else did")
	require.Zero(t, hits)
	fakeGroup(t, filepath.Join(dir, "ds-sandbox-mark"), map[string]string{"memory.oom_control": "oom_kill 1\n"})
	limit, hits = ended(ending{pid: 6, begun: begun}, backends.ExitStatus{Code: 1})
	require.Nil(t, limit)
	require.Equal(t, 1, hits, "it may have been a child of this one")
	limit, _ = ended(ending{pid: 8, begun: begun, killed: true}, killed)
	require.Nil(t, limit, "we did")
	limit, hits = ended(ending{pid: 9, begun: time.Now()}, killed)
	require.Nil(t, limit, "it began later")
	require.Zero(t, hits)
	limit, hits = ended(ending{pid: 7, begun: begun}, killed)
	require.Equal(t, backends.LimitMemory, limit.Limit)
	require.Equal(t, 1, hits)
	limit, hits = ended(ending{pid: 8, begun: begun}, killed)
	require.Nil(t, limit, "one death explains one")
	require.Zero(t, hits)
}

func TestWhatTheSystemDoesToAContainerIsTold(t *testing.T) {
	for name, files := range map[string]struct{ kills, killed, short, memory, refusals, processes string }{
		"v2": {
			kills: "memory.events", killed: "low 0\noom 4\noom_kill 4\n", short: "low 0\noom 5\noom_kill 4\n", memory: "memory.max",
			refusals: "pids.events", processes: "pids.max",
		},
		"v1": {
			kills: "memory/memory.oom_control", killed: "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
			memory: "memory/memory.limit_in_bytes", refusals: "pids/pids.events", processes: "pids/pids.max",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "memory"), 0o755))
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "pids"), 0o755))
			before := strings.NewReplacer("oom 4", "oom 3", "oom_kill 4", "oom_kill 3").Replace(files.killed)
			fakeGroup(t, dir, map[string]string{
				files.kills: before, files.memory: "314572800\n", files.refusals: "max 7\n", files.processes: "4096\n",
			})
			limits := backends.Limits{Memory: 200 << 20}
			l := &limiter{limits: limits, outer: enclosingCgroup(dir), by: map[backends.LimitName]backends.Enforcer{
				backends.LimitMemory: backends.ByWatchdog,
			}}
			w := &watchdog{limiter: l, reasons: make(map[int]*backends.LimitError), record: record{counts: l.counts()}}
			begun := time.Now()
			ended := func(pid int, status backends.ExitStatus) backends.ExitStatus {
				w.verdict(ending{pid: pid, begun: begun}, &status)
				return status
			}
			killed, failed := backends.ExitStatus{Code: -1, Signal: "SIGKILL"}, backends.ExitStatus{Code: 1}
			require.Equal(t, killed, ended(7, killed), "what was before is no matter of ours")

			fakeGroup(t, dir, map[string]string{files.kills: files.killed})
			status := ended(7, killed)
			require.Equal(t, &backends.LimitError{Limit: backends.LimitMemory, Allowed: 200 << 20, Used: 200 << 20}, status.Limit,
				"without the agent's own")
			require.Len(t, status.LimitsHit, 1)
			require.Nil(t, ended(8, killed).Limit, "told once")

			fakeGroup(t, dir, map[string]string{files.refusals: "max 9\n"})
			status = ended(9, failed)
			require.Nil(t, status.Limit)
			require.Equal(t, []*backends.LimitError{{
				Limit: backends.LimitProcesses, Allowed: 4096, Used: 4096, Note: "and forks were refused",
			}}, status.LimitsHit, "which nobody asked for")

			if files.short != "" {
				fakeGroup(t, dir, map[string]string{files.kills: files.short})
				status = ended(10, failed)
				require.Nil(t, status.Limit)
				require.Len(t, status.LimitsHit, 2)
				require.Equal(t, "and memory was refused", status.LimitsHit[1].Note)
			}

			w.catchUp()
			begun = time.Now()
			require.Equal(t, killed, ended(11, killed), "it began later")
			fakeGroup(t, dir, map[string]string{
				files.memory: map[string]string{"v1": "9223372036854771712\n", "v2": "max\n"}[name],
				files.kills:  strings.ReplaceAll(files.killed, "oom_kill 4", "oom_kill 9"),
			})
			require.Equal(t, killed, ended(12, killed), "there is no limit: the machine was short of memory")
		})
	}
	require.Nil(t, enclosingCgroup(filepath.Join(t.TempDir(), "none")))
}

// TestAnEndThatIsToldLateIsExplained: ending everything may fail at first, with most of it done.
func TestAnEndThatIsToldLateIsExplained(t *testing.T) {
	w := &watchdog{limiter: &limiter{}, reasons: make(map[int]*backends.LimitError)}
	limit := &backends.LimitError{Limit: backends.LimitDisk, Allowed: 1 << 20}
	ended := func(begun time.Time) *backends.LimitError {
		status := backends.ExitStatus{Code: -1, Signal: "SIGKILL"}
		w.verdict(ending{pid: 7, begun: begun}, &status)
		return status.Limit
	}
	before := time.Now()
	w.setAll(limit, time.Time{})
	require.Equal(t, limit, ended(time.Now()), "all that ends meanwhile")
	failed := time.Now()
	w.setAll(limit, failed)
	require.Equal(t, limit, ended(before))
	require.Nil(t, ended(failed.Add(time.Millisecond)), "what began after it")
	memory := &backends.LimitError{Limit: backends.LimitMemory, Allowed: 1 << 20}
	w.reasons[7] = memory
	require.Equal(t, memory, ended(before), "what is known of this one goes first")
	status := backends.ExitStatus{Code: -1, Signal: "SIGKILL"}
	w.verdict(ending{pid: 7, begun: before, killed: true}, &status)
	require.Nil(t, status.Limit, "its user ended it")
	w.setAll(nil, time.Time{})
	require.Nil(t, ended(before))
}

// TestCountingIsMeasuredByItsWork: on a busy machine it lasts long, and must not be done the less often for that.
func TestCountingIsMeasuredByItsWork(t *testing.T) {
	taken := stopwatch()
	time.Sleep(50 * time.Millisecond)
	require.Less(t, taken(), 25*time.Millisecond)
	taken = stopwatch()
	for begun := threadTime(); threadTime()-begun < 30*time.Millisecond; {
		_ = os.Getppid()
	}
	require.GreaterOrEqual(t, taken(), 30*time.Millisecond)
	dir := t.TempDir()
	for i := range 2000 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600))
	}
	require.Positive(t, measureDisk(t.Context(), nil, dir).took)
}

func TestCodeIsRankedBeforeUs(t *testing.T) {
	own := strings.TrimSpace(string(readAll("/proc/self/oom_score_adj")))
	for enclosure, want := range map[string]int{"": 0, t.TempDir(): beforeUs()} {
		a := newAgent(t)
		a.config.Enclosure = enclosure
		p := start(t, openPlaceNamed(t, a, "ranked"), "exec sleep 600")
		got := strings.TrimSpace(string(readAll(filepath.Join("/proc", p.ID(), "oom_score_adj"))))
		if want == 0 {
			require.Equal(t, own, got)
		} else {
			require.Equal(t, strconv.Itoa(want), got)
		}
	}
}

func TestGroupsOfDeadSandboxesAreRemoved(t *testing.T) {
	if len(hierarchies()) == 0 {
		t.Skip("no control group may be written here")
	}
	a := newAgent(t)
	in := openPlaceNamed(t, a, "swept")
	limiter, err := a.bind(backends.Limits{Processes: 50}, "test-"+strings.ReplaceAll(t.Name(), "/", ""))
	require.NoError(t, err)
	in.limiter = limiter
	p := start(t, in, "unset DS_SANDBOX_MARK; exec env -i sleep 600")
	members, err := os.ReadFile(limiter.group.members()[0])
	require.NoError(t, err)
	require.NotEmpty(t, strings.Fields(string(members)), "the program is in the group")
	require.NoError(t, KillMarked("test-"+t.Name()))
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, "SIGKILL", status.Signal, "although it has wiped its environment")
	for _, dir := range limiter.group.dirs {
		require.NoDirExists(t, dir)
	}
}
