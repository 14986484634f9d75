package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// image has a Python with ipykernel and a user 1000 with a home.
const image = "ds-sandbox-kernel"

// without skips a test for a reason, unless DS_SANDBOX_REQUIRE names docker.
func without(t *testing.T, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("DS_SANDBOX_REQUIRE"), ","), "docker") {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// built is the path of the binary.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "ds-sandbox-agent")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := built(); err == nil {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// container is a container with our agent as process 1.
type container struct{ id string }

func start(t *testing.T, more ...string) container {
	t.Helper()
	docker, err := exec.LookPath("docker")
	if err != nil {
		without(t, "no docker")
	}
	if exec.Command(docker, "image", "inspect", image).Run() != nil {
		without(t, "no engine, or no image "+image+" on it")
	}
	binary, err := built()
	require.NoError(t, err)
	args := []string{
		"create", "--network=none", "--cap-drop=ALL", "--cap-add=SETUID", "--cap-add=SETGID", "--cap-add=KILL",
		"--security-opt=no-new-privileges", "--user=0:0", "--workdir=/",
	}
	args = append(append(args, more...), "--entrypoint=/usr/local/bin/ds-sandbox-agent", image, "serve", "-verbose", "-silence=20s")
	out, err := exec.Command(docker, args...).Output()
	require.NoError(t, err)
	c := container{strings.TrimSpace(string(out))}
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := exec.Command(docker, "logs", c.id).CombinedOutput()
			t.Log(string(logs))
		}
		_ = exec.Command(docker, "rm", "-f", c.id).Run()
	})
	require.NoError(t, exec.Command(docker, "cp", "-q", binary, c.id+":/usr/local/bin/ds-sandbox-agent").Run())
	require.NoError(t, exec.Command(docker, "start", c.id).Run())
	return c
}

// execConn is the standard input and output of an exec.
type execConn struct {
	io.WriteCloser
	out io.ReadCloser
	cmd *exec.Cmd
	net.Conn
}

func (c *execConn) Read(p []byte) (int, error)  { return c.out.Read(p) }
func (c *execConn) Write(p []byte) (int, error) { return c.WriteCloser.Write(p) }
func (c *execConn) Close() error {
	_ = c.WriteCloser.Close()
	_ = c.cmd.Process.Kill()
	return c.out.Close()
}
func (c *execConn) SetDeadline(time.Time) error      { return nil }
func (c *execConn) SetReadDeadline(time.Time) error  { return nil }
func (c *execConn) SetWriteDeadline(time.Time) error { return nil }

func (c container) dial(context.Context) (net.Conn, error) {
	cmd := exec.Command("docker", "exec", "-i", "--user=0:0", c.id, "/usr/local/bin/ds-sandbox-agent", "bridge")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }()
	return &execConn{WriteCloser: in, out: out, cmd: cmd}, nil
}

func (c container) exec(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", append([]string{"exec", c.id}, args...)...).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func (c container) open(t *testing.T) *remote.Instance {
	t.Helper()
	client, err := remote.Open(t.Context(), c.dial, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	require.NoError(t, client.Configure(t.Context(), remote.Setup{ID: "one"}))
	return client.Instance()
}

func shell(t *testing.T, in *remote.Instance, line string) string {
	t.Helper()
	c, err := in.StartCommand(t.Context(), backends.Cmd{Args: []string{"/bin/bash", "-c", line}})
	require.NoError(t, err)
	errText := make(chan string, 1)
	go func() {
		data, _ := io.ReadAll(c.Stderr())
		errText <- string(data)
	}()
	out, err := io.ReadAll(c.Stdout())
	require.NoError(t, err)
	_, err = c.Wait(t.Context())
	require.NoError(t, err)
	return string(out) + <-errText
}

func TestCodeInAContainerIsTheUserAndCanDoNothingToTheAgent(t *testing.T) {
	c := start(t)
	in := c.open(t)
	require.Equal(t, "/home/user", in.Workspace())
	status := shell(t, in, "id -u; id -g; id -G; grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)):' /proc/self/status")
	require.Equal(t, "1000\n1000\n1000\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t1000 \n"+
		"CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n", status)
	for _, attempt := range []string{
		"kill -9 1", "kill -STOP 1", "cat /proc/1/environ", "ls /proc/1/fd", "ls /run/ds-sandbox-agent", "cat /proc/1/mem",
		"echo x > /run/ds-sandbox-agent/sock", "echo 1000 > /proc/1/oom_score_adj", "touch /usr/local/bin/ds-sandbox-agent",
		"/usr/local/bin/ds-sandbox-agent bridge </dev/null", "/usr/local/bin/ds-sandbox-agent as-user 1001 1001 -- /bin/true",
		"/usr/local/bin/ds-sandbox-agent as-root -- /bin/true",
	} {
		out := shell(t, in, attempt+` && echo "done: it worked"`)
		require.NotContains(t, out, "it worked", attempt)
		require.Regexp(t, "denied|not permitted|Permission", out, attempt)
	}
	// What the agent makes is the user's.
	_, err := in.Files().Write(t.Context(), "made/by-agent", strings.NewReader("x"), nil)
	require.NoError(t, err)
	info, err := in.Files().Stat(t.Context(), "made/by-agent")
	require.NoError(t, err)
	require.Equal(t, "user", info.Owner)
	require.Equal(t, "1000 1000 644\n", shell(t, in, "stat -c '%u %g %a' made/by-agent"))
}

func TestKernelInAContainer(t *testing.T) {
	c := start(t)
	in := c.open(t)
	process, err := in.StartKernel(t.Context(), backends.KernelConfig{})
	require.NoError(t, err)
	wire, err := process.Connect(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, wire.Close()) }()
	session := messaging.NewSession("test")
	run := func(code string) string {
		m, err := session.New(messaging.Shell, &messaging.ExecuteRequest{Code: code})
		require.NoError(t, err)
		require.NoError(t, wire.Send(t.Context(), m))
		printed := ""
		for idle, replied := false, false; !idle || !replied; {
			m, err := wire.Recv(t.Context())
			require.NoError(t, err)
			content, err := m.Decode()
			require.NoError(t, err)
			switch body := content.(type) {
			case *messaging.Stream:
				printed += body.Text
			case *messaging.ExecuteReply:
				replied = true
			case *messaging.Status:
				idle = replied && body.ExecutionState == messaging.StateIdle || idle
				if body.ExecutionState == messaging.StateIdle && m.Parent != nil && m.Parent.MsgType == "execute_request" {
					idle = true
				}
			}
		}
		return printed
	}
	require.Equal(t, "1000 [1000]\n", run("import os; print(os.getuid(), os.getgroups())"))
	begin := time.Now()
	const rounds = 50
	for range rounds {
		run("1+1")
	}
	t.Logf("1+1: %v", time.Since(begin)/rounds)
	require.NoError(t, in.Warm(t.Context()))
	fork, err := in.StartKernel(t.Context(), backends.KernelConfig{})
	require.NoError(t, err)
	require.Equal(t, backends.StartFork, fork.(backends.StartTeller).StartKind())
	forked, err := fork.Connect(t.Context())
	require.NoError(t, err)
	require.NoError(t, forked.Close())
	require.Equal(t, "1000\n", shell(t, in, fmt.Sprintf("stat -c %%u /proc/%d", fork.(interface{ PID() int }).PID())))

	require.NoError(t, process.Signal(t.Context(), backends.Kill))
	status, err := process.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, "SIGKILL", status.Signal)
	require.Nil(t, status.Limit)
}

func TestOrphansAreBuried(t *testing.T) {
	c := start(t)
	c.open(t)
	c.exec(t, "sh", "-c", "(sleep 0.1 & exec sleep 0.01) & exit 0")
	require.Eventually(t, func() bool {
		return !strings.Contains(c.exec(t, "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null"), ") Z 1 ")
	}, 20*time.Second, 100*time.Millisecond)
}

func TestOutOfMemoryIsToldAsALimit(t *testing.T) {
	c := start(t, "--memory=300m", "--memory-swap=300m")
	in := c.open(t)
	command, err := in.StartCommand(t.Context(), backends.Cmd{Args: []string{"python3", "-c", "held = bytearray(b'x') * (1 << 30)"}})
	require.NoError(t, err)
	status, err := command.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, "SIGKILL", status.Signal)
	require.NotNil(t, status.Limit)
	require.Equal(t, backends.LimitMemory, status.Limit.Limit)
	require.EqualValues(t, 300<<20, status.Limit.Allowed)
}

func TestFrozenTimeDoesNotCount(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	c := start(t)
	running := func() string {
		out, err := exec.Command("docker", "inspect", "-f", "{{.State.Running}}", c.id).Output()
		require.NoError(t, err)
		return strings.TrimSpace(string(out))
	}
	require.NoError(t, exec.Command("docker", "pause", c.id).Run())
	<-time.After(22 * time.Second) // more than the silence it bears
	require.NoError(t, exec.Command("docker", "unpause", c.id).Run())
	<-time.After(3 * time.Second)
	require.Equal(t, "true", running())
	require.Eventually(t, func() bool { return running() == "false" }, time.Minute, 200*time.Millisecond, "it ends by itself")
}

// TestMemoryIsHeldInReserve: where memory has a limit, the system finds something to take before the agent.
func TestMemoryIsHeldInReserve(t *testing.T) {
	// Its process id, rank and resident KiB.
	const look = `for p in /proc/[0-9]*; do [ "$(tr '\0' ' ' <$p/cmdline | cut -d' ' -f2)" = reserve ] &&
echo ${p#/proc/} $(cat $p/oom_score_adj) $(awk '/^VmRSS/ { print $2 }' $p/status); done; true`
	reserve := func(c container) (pid string) {
		require.Eventually(t, func() bool {
			var rank, size int
			n, _ := fmt.Sscan(c.exec(t, "sh", "-c", look), &pid, &rank, &size)
			return n == 3 && rank == 250 && size >= 8<<10
		}, 20*time.Second, 50*time.Millisecond)
		return pid
	}
	c := start(t, "--memory=300m", "--memory-swap=300m")
	first := reserve(c)
	c.exec(t, "kill", "-KILL", first)
	require.NotEqual(t, first, reserve(c), "another comes after it")
	require.Equal(t, "0\n", c.exec(t, "cat", "/proc/1/oom_score_adj"), "the agent goes last")

	c = start(t)
	c.open(t)
	require.Empty(t, c.exec(t, "sh", "-c", look), "nothing bounds it")
}
