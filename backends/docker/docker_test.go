package docker_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/backends/docker"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// open opens a backend, which is closed when the test ends.
func open(t *testing.T, change func(*docker.Config)) *docker.Backend {
	t.Helper()
	config := dockertest.Config(t)
	config.NoForkServer = true
	if change != nil {
		change(&config)
	}
	b, err := docker.Open(testContext(t), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// create makes an instance of a backend of its own.
func create(t *testing.T, spec backends.Spec) backends.Instance {
	t.Helper()
	spec.ID = "one"
	in, err := open(t, nil).Create(testContext(t), spec)
	require.NoError(t, err)
	return in
}

// sh runs a line in the instance's shell and returns what it printed on both outputs.
func sh(t *testing.T, in backends.Instance, line string) string {
	t.Helper()
	out, err := try(testContext(t), in, line)
	require.NoError(t, err)
	return out
}

func try(ctx context.Context, in backends.Instance, line string) (string, error) {
	c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"/bin/sh", "-c", "exec 2>&1; " + line}})
	if err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Stdout().Close() }) // what is stopped never ends it
	out, err := io.ReadAll(c.Stdout())
	if !stop() {
		err = context.Cause(ctx)
	}
	err = errors.Join(err, c.Stdout().Close(), c.Stderr().Close())
	_, waitErr := c.Wait(ctx)
	return string(out), errors.Join(err, waitErr)
}

// engine runs the docker command.
func engine(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSpace(string(out))
}

// containerOf is the id of the container of a sandbox; empty when there is none.
func containerOf(t *testing.T, b *docker.Backend, id string) string {
	t.Helper()
	return engine(t, "ps", "-aq", "--no-trunc", "--filter", "label=org.ds-sandbox.owner="+b.Owner(), "--filter", "label=org.ds-sandbox.id="+id)
}

func TestDockerPassesTheSuite(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backends.Backend { return openPlain(t) }, backendtest.LacksUserFolders)
}

// openPlain is open for who closes it.
func openPlain(t *testing.T) *docker.Backend {
	t.Helper()
	config := dockertest.Config(t)
	config.NoForkServer = true
	b, err := docker.Open(testContext(t), config)
	require.NoError(t, err)
	return b
}

func TestHardenedCodeGainsNothing(t *testing.T) {
	in := create(t, backends.Spec{})
	status := sh(t, in, "cat /proc/self/status")
	for _, line := range []string{
		"Uid:\t1000\t1000\t1000\t1000", "Gid:\t1000\t1000\t1000\t1000", "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
		"CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
	} {
		require.Contains(t, status, line+"\n")
	}
	require.Equal(t, "user\n", sh(t, in, "whoami"))
	require.Contains(t, sh(t, in, "sudo -n true; echo $?"), "\n1\n")
	require.Contains(t, sh(t, in, "su -c true; echo $?"), "\n1\n")
	require.Contains(t, sh(t, in, "kill -9 1; echo $?"), "not permitted")
}

func TestCompatibleCodeIsRootOfItsContainerAlone(t *testing.T) {
	in := create(t, backends.Spec{Container: backends.Container{Profile: backends.ProfileCompatible}})
	require.Equal(t, "user\n", sh(t, in, "whoami"))
	require.Equal(t, "root\n", sh(t, in, "sudo -n whoami"))
	require.Equal(t, "changed\n", sh(t, in, "sudo sh -c 'echo changed > /etc/motd' && cat /etc/motd"))
	for _, line := range []string{
		"mount -t tmpfs none /mnt", "mknod /tmp/disk b 254 0 && cat /tmp/disk", "echo 1 > /proc/sys/kernel/sysrq", "echo b > /proc/sysrq-trigger",
		"mount -o remount,rw /sys/fs/cgroup", "nsenter -t 1 -n true; unshare -m true", "dmesg",
	} {
		out := sh(t, in, "sudo sh -c '"+line+"'; echo \"code $?\"")
		require.NotContains(t, out, "code 0", line)
	}
}

func TestTheHostIsNowhereInside(t *testing.T) {
	for _, profile := range []backends.Profile{backends.ProfileHardened, backends.ProfileCompatible} {
		in := create(t, backends.Spec{Container: backends.Container{Profile: profile}})
		root := "sudo"
		if profile == backends.ProfileHardened {
			root = "env"
		}
		require.Empty(t, sh(t, in, root+" find / -xdev -name 'docker*.sock' -o -xdev -name 'containerd*.sock' 2>/dev/null"))
		require.Equal(t, "lo\n", sh(t, in, "ls /sys/class/net"), "no network")
		processes := sh(t, in, root+" ps ax -o comm=")
		require.NotContains(t, processes, "dockerd")
		require.NotContains(t, processes, "kthreadd")
		require.Contains(t, processes, "ds-sandbox-agen")
		require.NotContains(t, sh(t, in, "env"), "DOCKER")
	}
}

func TestAgentsFilesAreNotTheCodes(t *testing.T) {
	in := create(t, backends.Spec{})
	for _, line := range []string{
		"echo x > /opt/ds-sandbox/bin/ds-sandbox-agent", "rm -f /opt/ds-sandbox/bin/ds-sandbox-agent", "mv /opt/ds-sandbox /tmp",
		"cat /proc/1/environ", "cat /proc/1/mem", "ls /proc/1/fd", "rm -rf /run/ds-sandbox-agent", "ls /run/ds-sandbox-agent", "touch /usr/x", "touch /etc/x",
	} {
		require.NotContains(t, sh(t, in, line+"; echo \"code $?\""), "code 0", line)
	}
	require.Equal(t, "well\n", sh(t, in, "/opt/ds-sandbox/bin/ds-sandbox-agent bridge </dev/null; echo well")[len(sh(t, in, "/opt/ds-sandbox/bin/ds-sandbox-agent bridge </dev/null")):],
		"it may start the bridge, which gets nowhere")
}

func TestMountsAreReadOnly(t *testing.T) {
	dir := t.TempDir()
	_, err := exec.Command("sh", "-c", "echo 1,2 > "+dir+"/data.csv; chmod -R a+rwX "+dir).CombinedOutput()
	require.NoError(t, err)
	in := create(t, backends.Spec{Container: backends.Container{
		Profile: backends.ProfileCompatible, Mounts: []backends.Mount{{Source: dir, Target: "/data"}},
	}})
	require.Equal(t, "1,2\n", sh(t, in, "cat /data/data.csv"))
	for _, line := range []string{"echo x > /data/data.csv", "rm /data/data.csv", "mount -o remount,rw /data"} {
		require.NotContains(t, sh(t, in, "sudo sh -c '"+line+"'; echo \"code $?\""), "code 0", line)
	}
}

func TestContainersOfADeadProgramAreSwept(t *testing.T) {
	config := dockertest.Config(t)
	config.Silence = 3 * time.Second
	dead, err := docker.Open(testContext(t), config)
	require.NoError(t, err)
	_, err = dead.Create(testContext(t), backends.Spec{ID: "left"})
	require.NoError(t, err)
	id := containerOf(t, dead, "left")
	require.NotEmpty(t, id)
	for _, id := range []string{"claimed", "spare"} {
		in, err := dead.Create(testContext(t), backends.Spec{ID: id, Spare: true})
		require.NoError(t, err)
		if id == "claimed" {
			require.NoError(t, in.(backends.Claimer).Claim(testContext(t)))
		}
	}
	alive := open(t, nil)
	require.Never(t, func() bool { return containerOf(t, dead, "left") == "" }, time.Second, 100*time.Millisecond, "its program lives")
	engine(t, "kill", id)
	require.NoError(t, dead.Die())
	open(t, nil)
	require.NotEmpty(t, containerOf(t, dead, "left"), "it may be taken over")
	require.Eventually(t, func() bool { return engine(t, "inspect", "-f", "{{.State.Status}}", id) == "exited" }, 30*time.Second, 50*time.Millisecond)
	open(t, nil)
	require.Eventually(t, func() bool { return containerOf(t, dead, "left") == "" }, 20*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool { return containerOf(t, dead, "spare") == "" }, 20*time.Second, 50*time.Millisecond, "it was nobody's")
	require.NotEmpty(t, containerOf(t, dead, "claimed"), "it is somebody's, and runs")
	require.NoError(t, dead.Close(), "what is gone is gone")
	_ = alive
}

func TestRemovedBehindOurBack(t *testing.T) {
	for name, act := range map[string][]string{"removed": {"rm", "-f"}, "killed": {"kill"}, "stopped": {"stop", "-t", "1"}} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			b := open(t, nil)
			in, err := b.Create(ctx, backends.Spec{ID: "one"})
			require.NoError(t, err)
			c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"sleep", "600"}})
			require.NoError(t, err)
			engine(t, append(act, containerOf(t, b, "one"))...)
			begun := time.Now()
			status, err := c.Wait(ctx)
			require.NoError(t, err)
			require.Equal(t, "SIGKILL", status.Signal)
			_, err = io.ReadAll(c.Stdout())
			require.NoError(t, err)
			_, err = in.Files().List(ctx, "", 1)
			require.ErrorIs(t, err, backends.ErrDestroyed)
			_, err = in.StartKernel(ctx, backends.KernelConfig{})
			require.ErrorIs(t, err, backends.ErrDestroyed)
			_, err = in.Stats(ctx)
			require.ErrorIs(t, err, backends.ErrDestroyed)
			require.ErrorContains(t, err, "container")
			require.Less(t, time.Since(begun), 10*time.Second)
			require.NoError(t, in.Destroy(ctx))
		})
	}
}

func TestAKilledBridgeIsReplaced(t *testing.T) {
	ctx := testContext(t)
	b := open(t, nil)
	in, err := b.Create(ctx, backends.Spec{ID: "one", Container: backends.Container{Profile: backends.ProfileCompatible}})
	require.NoError(t, err)
	c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"sh", "-c", "read line; echo got $line"}, Stdin: true})
	require.NoError(t, err)
	engine(t, "exec", containerOf(t, b, "one"), "pkill", "-9", "-f", "ds-sandbox-agent bridge")
	_, err = c.Write(ctx, []byte("through\n"))
	require.NoError(t, err)
	out, err := io.ReadAll(c.Stdout())
	require.NoError(t, err)
	require.Equal(t, "got through\n", string(out), "nothing is lost")
	require.Equal(t, "on\n", sh(t, in, "echo on"))
}

func TestPausedFromOutside(t *testing.T) {
	ctx := testContext(t)
	b := open(t, nil)
	in, err := b.Create(ctx, backends.Spec{ID: "one"})
	require.NoError(t, err)
	id := containerOf(t, b, "one")
	engine(t, "pause", id)
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	begun := time.Now()
	_, err = try(short, in, "echo x")
	require.Error(t, err)
	require.Less(t, time.Since(begun), 8*time.Second)
	engine(t, "unpause", id)
	require.Equal(t, "on\n", sh(t, in, "echo on"))
	engine(t, "pause", id)
	begun = time.Now()
	require.NoError(t, in.Destroy(ctx))
	require.Less(t, time.Since(begun), 2*time.Second)
}

func TestSnapshotsKeepFiles(t *testing.T) {
	ctx := testContext(t)
	b := open(t, nil)
	in, err := b.Create(ctx, backends.Spec{ID: "one"})
	require.NoError(t, err)
	sh(t, in, "echo kept > file; mkdir -m 700 dir; echo deep > dir/f")
	id, err := in.(backends.Snapshotter).Snapshot(ctx)
	require.NoError(t, err)
	config := dockertest.Config(t)
	t.Cleanup(func() { require.NoError(t, docker.RemoveImage(context.Background(), config, id)) })
	require.Equal(t, "on\n", sh(t, in, "echo on"), "the sandbox goes on")
	list, err := docker.Images(ctx, config)
	require.NoError(t, err)
	require.Contains(t, list[0].Names, id)
	require.Equal(t, "snapshot", list[0].Kind)

	from, err := b.Create(ctx, backends.Spec{ID: "two", Container: backends.Container{Image: id}})
	require.NoError(t, err)
	require.Equal(t, "kept\ndeep\n", sh(t, from, "cat file dir/f"))
	sh(t, from, "echo changed > file")
	require.Equal(t, "kept\n", sh(t, in, "cat file"))
	require.NoError(t, from.Destroy(ctx))
}

func TestAnyImageWithPythonWillDo(t *testing.T) {
	b := open(t, nil)
	ctx := testContext(t)
	_, err := b.Create(ctx, backends.Spec{ID: "one", Container: backends.Container{Image: "no-such-image:ever"}})
	var missing *docker.ImageMissingError
	require.ErrorAs(t, err, &missing)
	require.ErrorContains(t, err, "docker pull no-such-image:ever")

	// Our own image without what makes it ours stands for somebody else's.
	build := exec.Command("docker", "build", "-q", "-t", "ds-sandbox-test-foreign", "-")
	build.Env = append(build.Environ(), "DOCKER_BUILDKIT=0")
	build.Stdin = strings.NewReader(`FROM ` + docker.ImageName + `
RUN rm -rf /opt/ds-sandbox/bin /home/user && sed -i /^user/d /etc/passwd /etc/group
ENV PATH=/opt/ds-sandbox/python/bin:$PATH
LABEL org.ds-sandbox.image="" org.ds-sandbox.agent="" org.ds-sandbox.protocol=""
`)
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	t.Cleanup(func() { engine(t, "image", "rm", "ds-sandbox-test-foreign") })
	in, err := b.Create(ctx, backends.Spec{ID: "one", Container: backends.Container{Image: "ds-sandbox-test-foreign"}})
	require.NoError(t, err)
	require.Equal(t, "user\n/home/user\n", sh(t, in, "whoami; pwd; touch mine"))
	require.NoError(t, in.Destroy(ctx))
}

func TestLimitsEndWhatGoesTooFar(t *testing.T) {
	ctx := testContext(t)
	b := open(t, nil)
	in, err := b.Create(ctx, backends.Spec{ID: "one", Limits: backends.Limits{Memory: 200 << 20, Processes: 60, Disk: 50 << 20}})
	require.NoError(t, err)
	require.Subset(t, []backends.Enforcer{backends.ByCgroup1, backends.ByCgroup2}, []backends.Enforcer{in.Enforcement()[backends.LimitMemory]})
	for _, bomb := range []struct {
		line  string
		limit backends.LimitName
	}{
		{"exec python3 -c 'x = [bytearray(1 << 20) for _ in range(3000)]'", backends.LimitMemory},
		{"bomb() { bomb | bomb & }; bomb; sleep 600", backends.LimitProcesses},
		{"exec dd if=/dev/zero of=big bs=1M count=100000", backends.LimitDisk},
		{"exec dd if=/dev/zero of=/tmp/big bs=1M count=100000", backends.LimitDisk},
	} {
		c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"/bin/bash", "-c", bomb.line}})
		require.NoError(t, err)
		status, err := c.Wait(ctx)
		require.NoError(t, err)
		require.NotNil(t, status.Limit, bomb.line)
		require.Equal(t, bomb.limit, status.Limit.Limit, bomb.line)
		require.NoError(t, errors.Join(c.Stdout().Close(), c.Stderr().Close()))
		require.Equal(t, "on\n", sh(t, in, "rm -f big /tmp/big; echo on"), "the sandbox lives")
	}
}

func TestKernelsOfTheImage(t *testing.T) {
	b := open(t, nil)
	ctx := testContext(t)
	specs, err := b.KernelSpecs(ctx)
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, spec := range specs {
		names[spec.Name] = true
	}
	require.Equal(t, map[string]bool{"bash": true, "deno": true, "python3": true}, names)
	require.Empty(t, engine(t, "ps", "-aq", "--filter", "label=org.ds-sandbox.owner="+b.Owner()), "what was made to ask is gone")
	begun := time.Now()
	_, err = b.KernelSpecs(ctx)
	require.NoError(t, err)
	require.Less(t, time.Since(begun), 200*time.Millisecond, "it is known now")
}

func TestNetworksAreKeptToTheirRules(t *testing.T) {
	ctx := testContext(t)
	b := open(t, nil)
	in, err := b.Create(ctx, backends.Spec{ID: "one", Container: backends.Container{Network: backends.Network{Mode: backends.NetworkBridge}}})
	require.NoError(t, err)
	require.Contains(t, sh(t, in, "ls /sys/class/net"), "eth0")
	gateway := engine(t, "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "ds-sandbox")
	reach := "timeout 5 bash -c 'echo > /dev/tcp/" + gateway + "/22'; echo \"code $?\""
	require.NotContains(t, sh(t, in, reach), "code 0", "the host's own services are out of reach")
	require.NoError(t, in.(backends.Networker).SetNetwork(ctx, backends.Network{Mode: backends.NetworkAllow, Allow: []string{"1.2.3.4"}}))
	require.ErrorContains(t, in.(backends.Networker).SetNetwork(ctx, backends.Network{Mode: backends.NetworkAllow, Allow: []string{"not an address!"}}), "not an address!")
	id := containerOf(t, b, "one")
	require.NotEmpty(t, engine(t, "ps", "-q", "--filter", "label=org.ds-sandbox.helper="+id))
	begun := time.Now()
	require.NoError(t, in.Destroy(ctx))
	require.Less(t, time.Since(begun), 3*time.Second)
	require.Empty(t, engine(t, "ps", "-aq", "--filter", "label=org.ds-sandbox.helper="+id), "its helper is gone with it")

	without, err := b.Create(ctx, backends.Spec{ID: "two"})
	require.NoError(t, err)
	require.ErrorIs(t, without.(backends.Networker).SetNetwork(ctx, backends.Network{Mode: backends.NetworkBridge}), backends.ErrUnsupported)
}
