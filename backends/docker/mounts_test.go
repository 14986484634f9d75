package docker

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/system"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

func TestOnlyDataIsMounted(t *testing.T) {
	dir := t.TempDir()
	socketDir := filepath.Join(dir, "engine")
	require.NoError(t, os.Mkdir(socketDir, 0o755))
	socket := filepath.Join(socketDir, "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	e := &engine{endpoint: endpoint{Host: "unix://" + socket}, info: system.Info{DockerRootDir: "/srv/docker"}}
	data, link := filepath.Join(dir, "data"), filepath.Join(dir, "link")
	writeFile(t, filepath.Join(data, "set"), "x")
	require.NoError(t, os.Symlink(data, link))

	for source, says := range map[string]string{
		"data": "absolute", "/a/../b": "absolute", "/": "smaller folder", "/var": "smaller folder", "/proc": "/proc", "/proc/1": "/proc",
		"/sys/fs": "/sys", "/dev": "/dev", "/srv": "/srv/docker", "/srv/docker/overlay2": "/srv/docker", "/var/lib/docker.d": "no such file",
		"/run/docker": "no sandbox", link: "there is a link on the way", filepath.Join(link, "set"): "there is a link on the way",
		filepath.Join(dir, "none"): "no such file", socket: "socket", socketDir: "engine's socket", dir: "engine's socket",
	} {
		_, err := e.mounts([]backends.Mount{{Source: source, Target: "/data"}})
		require.ErrorContains(t, err, says, source)
		require.ErrorContains(t, err, source)
	}
	for target, says := range map[string]string{
		"data": "absolute", "/": "hide", "/home": "hide", "/home/user": "hide", "/etc/x": "hide", "/usr": "hide", "/opt": "hide", "/opt/ds-sandbox/bin": "hide",
		"/data/../etc": "absolute", "/proc": "hide", "/lib/x": "hide",
	} {
		_, err := e.mounts([]backends.Mount{{Source: data, Target: target}})
		require.ErrorContains(t, err, says, target)
	}
	list, err := e.mounts([]backends.Mount{{Source: data, Target: "/data"}, {Source: filepath.Join(data, "set"), Target: "/home/user/set"}})
	require.NoError(t, err)
	for _, m := range list {
		require.True(t, m.ReadOnly)
		require.Equal(t, mount.TypeBind, m.Type)
		require.True(t, m.BindOptions.NonRecursive)
	}
	_, err = e.mounts([]backends.Mount{{Source: data, Target: "/data"}, {Source: data, Target: "/data"}})
	require.ErrorContains(t, err, "two")

	e.endpoint.Host = "tcp://there:1"
	_, err = e.mounts([]backends.Mount{{Source: "/only/there", Target: "/data"}})
	require.NoError(t, err, "the engine says")
	_, err = e.mounts([]backends.Mount{{Source: "/proc", Target: "/data"}})
	require.Error(t, err)
}
