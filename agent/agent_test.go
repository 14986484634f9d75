package agent

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// python is an interpreter with ipykernel. Package backendtest, which finds these for others, stands above this one.
func python(t testing.TB) *Python {
	t.Helper()
	candidates := append(filepath.SplitList(os.Getenv("DS_SANDBOX_TEST_PYTHONS")), os.Getenv("DS_SANDBOX_PYTHON"), "python3", "/usr/bin/python3")
	for _, c := range candidates {
		if c == "" {
			continue
		}
		if p, err := Probe(t.Context(), c); err == nil && p.HasKernel() {
			return p
		}
	}
	if strings.Contains(os.Getenv("DS_SANDBOX_REQUIRE"), "python") {
		t.Fatal("no Python with ipykernel")
	}
	t.Skip("no Python with ipykernel")
	return nil
}

// newAgent starts an agent in a folder with a short path.
func newAgent(t testing.TB) *Agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "dst")
	require.NoError(t, err)
	a, err := New(Config{Python: python(t), RuntimeDir: dir})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, a.Close())
		require.NoError(t, os.RemoveAll(dir))
	})
	return a
}

func openPlace(t testing.TB, a *Agent) *Instance {
	t.Helper()
	dir := t.TempDir()
	place := Place{ID: "t" + strconv.Itoa(os.Getpid()), Workspace: filepath.Join(dir, "ws"), Private: filepath.Join(dir, "env"), Runtime: filepath.Join(a.config.RuntimeDir, "x")}
	for _, d := range []string{place.Workspace, place.Private, place.Runtime} {
		require.NoError(t, os.Mkdir(d, 0o700))
	}
	in, err := a.Open(place)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, in.Close(context.Background())) })
	return in
}

// start runs a shell command below the instance's keeper.
func start(t *testing.T, in *Instance, command string) *process {
	t.Helper()
	k, err := in.currentKeeper(t.Context())
	require.NoError(t, err)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { _ = null.Close() }()
	p, err := k.start(t.Context(), program{argv: []string{"/bin/sh", "-c", command}, env: in.environment(in.env), dir: "/"}, null, null, null)
	require.NoError(t, err)
	return p
}

func TestProcessesEndAsTheyShould(t *testing.T) {
	in := openPlace(t, newAgent(t))
	status, err := start(t, in, "exit 7").Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, status.Code)
	sleeper := start(t, in, "sleep 600")
	require.NoError(t, sleeper.Signal(t.Context(), backends.Terminate))
	status, err = sleeper.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, "SIGTERM", status.Signal)
	require.Equal(t, -1, status.Code)
}

func TestProgramThatCannotStartSaysWhy(t *testing.T) {
	in := openPlace(t, newAgent(t))
	k, err := in.currentKeeper(t.Context())
	require.NoError(t, err)
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer func() { _ = null.Close() }()
	var failed *startError
	_, err = k.start(t.Context(), program{argv: []string{"/no/such/program"}, dir: "/"}, null, null, null)
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "exec", failed.stage)
	require.ErrorIs(t, err, syscall.ENOENT)
	_, err = k.start(t.Context(), program{argv: []string{"/bin/true"}, dir: "/no/such/folder"}, null, null, null)
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "chdir", failed.stage)
}

func TestKeeperThatIsKilledEndsItsSandboxOnly(t *testing.T) {
	a := newAgent(t)
	in := openPlace(t, a)
	p := start(t, in, "sleep 600")
	require.NoError(t, syscall.Kill(in.keeper.pid, syscall.SIGKILL), "what hostile code can do")
	_, err := p.Wait(t.Context())
	require.ErrorIs(t, err, ErrKeeperDied)
	require.NoError(t, p.Signal(t.Context(), backends.Kill))
	require.Eventually(t, func() bool { return syscall.Kill(p.pid, 0) != nil || zombie(p.pid) }, 2*time.Second, time.Millisecond)
	status, err := start(t, openPlaceNamed(t, a, "other"), "exit 0").Wait(t.Context())
	require.NoError(t, err)
	require.Zero(t, status.Code)
}

func zombie(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(data), ") Z ")
}

func openPlaceNamed(t *testing.T, a *Agent, id string) *Instance {
	t.Helper()
	dir := t.TempDir()
	place := Place{ID: id, Workspace: filepath.Join(dir, "ws"), Private: filepath.Join(dir, "env"), Runtime: filepath.Join(a.config.RuntimeDir, id)}
	for _, d := range []string{place.Workspace, place.Private, place.Runtime} {
		require.NoError(t, os.Mkdir(d, 0o700))
	}
	in, err := a.Open(place)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, in.Close(context.Background())) })
	return in
}

func TestKeeperThatIsStoppedStillEnds(t *testing.T) {
	in := openPlace(t, newAgent(t))
	p := start(t, in, "sleep 600")
	require.NoError(t, syscall.Kill(in.keeper.pid, syscall.SIGSTOP), "what hostile code can do")
	begin := time.Now()
	require.NoError(t, in.Close(t.Context()))
	require.Less(t, time.Since(begin), 5*time.Second)
	require.Eventually(t, func() bool { return syscall.Kill(p.pid, 0) != nil || zombie(p.pid) }, 2*time.Second, time.Millisecond)
}

func TestSupervisorThatDiedIsStartedAnew(t *testing.T) {
	a := newAgent(t)
	first, err := a.current()
	require.NoError(t, err)
	require.NoError(t, first.cmd.Process.Kill())
	<-first.exited
	status, err := start(t, openPlace(t, a), "exit 3").Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, status.Code)
}

func TestSpecsAreFoundInTheirOrder(t *testing.T) {
	a := newAgent(t)
	one, two := t.TempDir(), t.TempDir()
	t.Setenv("JUPYTER_PATH", one+":"+two)
	put := func(root, name, display string) {
		dir := filepath.Join(root, "kernels", name)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "kernel.json"), []byte(`{"argv": ["x", "{resource_dir}"], "display_name": "`+display+`", "language": "l"}`), 0o644))
	}
	put(one, "Odd.Name-1", "first")
	put(two, "odd.name-1", "second")
	put(two, "bad name", "never")
	require.NoError(t, os.MkdirAll(filepath.Join(two, "kernels", "broken"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(two, "kernels", "broken", "kernel.json"), []byte("{"), 0o644))
	spec, err := a.FindSpec("ODD.NAME-1")
	require.NoError(t, err)
	require.Equal(t, "first", spec.DisplayName)
	require.Equal(t, filepath.Join(one, "kernels", "Odd.Name-1"), argvOf(t, a, spec, &overlay{})[1])
	for _, name := range []string{"", "python", "Python3"} {
		spec, err := a.FindSpec(name)
		require.NoError(t, err)
		require.Equal(t, "python3", spec.Name)
	}
	_, err = a.FindSpec("broken")
	var missing *backends.SpecNotFoundError
	require.ErrorAs(t, err, &missing)
	require.Contains(t, missing.Searched, filepath.Join(one, "kernels"))
}

func argvOf(t *testing.T, a *Agent, spec *messaging.KernelSpec, env *overlay) []string {
	t.Helper()
	argv, _, err := (&Instance{agent: a, env: env}).command(t.Context(), spec, "c")
	require.NoError(t, err)
	return argv
}

func TestPythonKernelsAreStartedByOurLauncherInTheSandboxesEnvironment(t *testing.T) {
	a := newAgent(t)
	env := &overlay{python: "/o/bin/python"}
	launch := filepath.Join(a.scripts, "launch.py")
	for _, argv := range [][]string{
		{"python", "-m", "ipykernel_launcher", "-f", "{connection_file}"},
		{"python3", "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"},
		{a.config.Python.Executable, "-m", "ipykernel", "-f", "{connection_file}"},
	} {
		require.Equal(t, []string{"/o/bin/python", launch, "-f", "c"}, argvOf(t, a, &messaging.KernelSpec{Argv: argv}, env))
	}
	require.Equal(t, []string{"/elsewhere/python", launch, "-f", "c"},
		argvOf(t, a, &messaging.KernelSpec{Argv: []string{"/elsewhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"}}, env))
	require.Equal(t, []string{"R", "-e", "IRkernel::main()", "--args", "c"},
		argvOf(t, a, &messaging.KernelSpec{Argv: []string{"R", "-e", "IRkernel::main()", "--args", "{connection_file}"}}, env))
}

func TestKernelWhoseProgramIsMissingSaysWhatToDo(t *testing.T) {
	a := newAgent(t)
	root := t.TempDir()
	t.Setenv("JUPYTER_PATH", root)
	dir := filepath.Join(root, "kernels", "ghost")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kernel.json"), []byte(`{"argv": ["/no/such/interpreter"], "display_name": "g", "language": "g"}`), 0o644))
	_, err := openPlace(t, a).StartKernel(t.Context(), backends.KernelConfig{Name: "ghost"})
	var failed *backends.StartError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "launch", failed.Stage)
	require.Contains(t, err.Error(), "/no/such/interpreter")
	require.Contains(t, failed.Remedy, "kernel.json")
}

func TestPythonWithoutIPykernelSaysWhatToDo(t *testing.T) {
	p := *python(t)
	p.SiteDirs = nil // an environment that shows no packages
	dir, err := os.MkdirTemp("", "dst")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	a, err := New(Config{Python: &p, RuntimeDir: dir})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	k, err := openPlace(t, a).StartKernel(t.Context(), backends.KernelConfig{})
	require.NoError(t, err)
	_, err = k.Connect(t.Context())
	var failed *backends.StartError
	require.ErrorAs(t, err, &failed)
	require.Contains(t, failed.Remedy, "pip install ipykernel")
	require.Contains(t, failed.Remedy, "ds-sandbox setup")
}

func TestTailKeepsTheEndAndNeverBlocks(t *testing.T) {
	tail, w, err := newTail()
	require.NoError(t, err)
	cmd := exec.Command("/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; printf 'the end \\377'")
	cmd.Stdout = w
	require.NoError(t, cmd.Run())
	require.NoError(t, w.Close())
	<-tail.done
	require.True(t, strings.HasSuffix(tail.text(), "xthe end \uFFFD"))
	require.LessOrEqual(t, len(tail.text()), tailSize+4)
	tail.close()

	held, w, err := newTail()
	require.NoError(t, err)
	defer func() { _ = w.Close() }()
	held.close() // although somebody holds the other end
}

func TestPortsOfTheWire(t *testing.T) {
	ours, theirs, err := socketPair()
	require.NoError(t, err)
	ended := make(chan struct{})
	var events []event
	w := newWire(ours, func(e event) { events = append(events, e) }, func() { close(ended) })
	_, err = theirs.WriteString("{\"id\": 99, \"pid\": 1}\n{\"event\": \"exit\", \"pid\": 5}\nnot json\n")
	require.NoError(t, err)
	<-ended
	require.Equal(t, []event{{Event: "exit", PID: 5}}, events, "answers nobody asked for are ignored, nonsense ends it")
	_, err = w.call(t.Context(), request{Op: "x"})
	require.ErrorIs(t, err, errWireClosed)
	require.NoError(t, theirs.Close())
	w.close()

	ours, theirs, err = socketPair()
	require.NoError(t, err)
	w = newWire(ours, func(event) {}, func() {})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("silent keeper"))
	defer cancel()
	_, err = w.call(ctx, request{Op: "x"})
	require.ErrorContains(t, err, "silent keeper")
	w.close()
	require.NoError(t, theirs.Close())
}
