package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// noDocker takes away what the person who runs the test has set, and returns the folder of the docker command's files.
func noDocker(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"} {
		t.Setenv(name, "")
	}
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	return dir
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
}

func TestEngineIsFoundAsTheDockerCommandFindsIt(t *testing.T) {
	dir := noDocker(t)
	e, err := findEndpoint("")
	require.NoError(t, err)
	require.Equal(t, endpoint{Host: "unix:///var/run/docker.sock", Source: "default"}, e)
	require.True(t, e.local())

	sum := sha256.Sum256([]byte("there"))
	folder := hex.EncodeToString(sum[:])
	writeFile(t, filepath.Join(dir, "config.json"), `{"currentContext": "there", "auths": {}}`)
	_, err = findEndpoint("")
	require.ErrorContains(t, err, `context "there"`)
	require.ErrorContains(t, err, "docker context ls")
	writeFile(t, filepath.Join(dir, "contexts/meta", folder, "meta.json"),
		`{"Name": "there", "Metadata": {}, "Endpoints": {"docker": {"Host": "tcp://there:2376", "SkipTLSVerify": false}}}`)
	e, err = findEndpoint("")
	require.NoError(t, err)
	require.Equal(t, endpoint{Host: "tcp://there:2376", Source: "context there", Verify: true}, e)
	require.False(t, e.local())
	writeFile(t, filepath.Join(dir, "contexts/tls", folder, "docker/ca.pem"), "x")
	e, err = findEndpoint("")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "contexts/tls", folder, "docker"), e.TLS)

	t.Setenv("DOCKER_CONTEXT", "default")
	e, err = findEndpoint("")
	require.NoError(t, err)
	require.Equal(t, "default", e.Source, "the variable wins over the file")
	t.Setenv("DOCKER_HOST", "tcp://other:1")
	e, err = findEndpoint("")
	require.NoError(t, err)
	require.Equal(t, "DOCKER_HOST", e.Source)
	e, err = findEndpoint("unix:///x")
	require.NoError(t, err)
	require.Equal(t, "unix:///x", e.Host)
}

func TestWithoutAnEngineTheErrorSaysWhatToDo(t *testing.T) {
	noDocker(t)
	for host, says := range map[string]string{
		"unix://" + t.TempDir() + "/none.sock": "install Docker Engine",
		"tcp://127.0.0.1:1":                    "DOCKER_CERT_PATH",
	} {
		_, err := Open(t.Context(), Config{Host: host})
		var unreachable *UnreachableError
		require.ErrorAs(t, err, &unreachable, host)
		require.ErrorContains(t, err, host)
		require.ErrorContains(t, err, says)
		_, err = Available(t.Context(), Config{Host: host})
		require.ErrorAs(t, err, &unreachable, host)
	}
	_, err := Open(t.Context(), Config{Host: "nonsense"})
	require.ErrorContains(t, err, "nonsense")
	_, err = Open(t.Context(), Config{Host: "ssh://-oProxyCommand=x"})
	require.ErrorContains(t, err, "ssh://USER@HOST")
}

func TestACommandIsAConnection(t *testing.T) {
	c, err := dialCommand("cat")
	require.NoError(t, err)
	_, err = c.Write([]byte("there and back"))
	require.NoError(t, err)
	buf := make([]byte, 14)
	_, err = c.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "there and back", string(buf))
	require.NoError(t, c.Close())
	require.Error(t, c.Close())

	c, err = dialCommand("sh", "-c", "echo no such host >&2; exit 255")
	require.NoError(t, err)
	<-c.(*commandConn).ended
	_, err = c.Read(buf)
	require.ErrorContains(t, err, "no such host")
	require.NoError(t, c.Close())
}
