package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends/docker"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/agentbinary"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
)

func TestCodeRunsInAContainer(t *testing.T) {
	t.Setenv(agentbinary.Variable, dockertest.Config(t).Agent)
	c := start(t, nil, "run", "--backend", "docker", "-c", "import os; print(os.getcwd(), os.getuid())")
	require.Equal(t, 0, c.wait(), c.err.String())
	require.Equal(t, "/home/user 1000\n", c.out.String())
	c = start(t, nil, "run", "--backend", "docker", "--profile", "compatible", "-c", "import subprocess; subprocess.check_output(['sudo', 'whoami'])")
	require.Equal(t, 0, c.wait(), c.err.String())
	require.Contains(t, c.out.String(), "root")
	c = start(t, nil, "run", "--backend", "docker", "--allow", "192.0.2.1", "-c", `import os, socket
print("eth0" in os.listdir("/sys/class/net"))
try: socket.create_connection(("192.0.2.2", 80), 3)
except ConnectionRefusedError: print("refused")`)
	require.Equal(t, 0, c.wait(), c.err.String())
	require.Equal(t, "True\nrefused\n", c.out.String())
	c = start(t, nil, "run", "--backend", "docker", "--workspace", t.TempDir(), "-c", "1")
	require.Equal(t, exitFailed, c.wait())
	require.Contains(t, c.err.String(), "local backend")
}

func TestImagesAreListedAndChecked(t *testing.T) {
	t.Setenv(agentbinary.Variable, dockertest.Config(t).Agent)
	c := start(t, nil, "image", "list", "--json")
	require.Equal(t, 0, c.wait(), c.err.String())
	var list []docker.ImageInfo
	require.NoError(t, json.Unmarshal([]byte(c.out.String()), &list))
	require.NotEmpty(t, list)
	c = start(t, nil, "image", "list")
	require.Equal(t, 0, c.wait(), c.err.String())
	require.Contains(t, c.out.String(), docker.ImageName)
	c = start(t, nil, "image", "check")
	require.Equal(t, 0, c.wait(), c.err.String())
	require.Contains(t, c.out.String(), "answers and has the image")
	require.Contains(t, c.out.String(), "1 + 1 took")
	c = start(t, nil, "image", "check", "--image", "no-such-image:ever")
	require.Equal(t, exitFailed, c.wait())
	require.Contains(t, c.err.String(), "docker pull no-such-image:ever")
}

func TestWithoutAnEngineImagesSayWhatToDo(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/none.sock")
	for _, args := range [][]string{{"image", "list"}, {"image", "check"}, {"image", "rm", "x"}, {"run", "--backend", "docker", "-c", "1"}} {
		c := start(t, nil, args...)
		require.Equal(t, exitFailed, c.wait(), args)
		require.Contains(t, c.err.String(), "no engine answers")
		require.Contains(t, c.err.String(), "DOCKER_HOST")
	}
	c := start(t, nil, "image", "rm")
	require.Equal(t, exitUsage, c.wait())
	c = start(t, nil, "image", "build", "--build-arg", "nonsense")
	require.Equal(t, exitUsage, c.wait())
}
