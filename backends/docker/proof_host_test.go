package docker_test

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// The tests of these files, proof_*_test.go, are what README's table of attacks names.

//go:embed testdata/attacks.py
var attacks []byte

// plant makes what code in a sandbox must not find on this machine.
func plant(t *testing.T) map[string]any {
	t.Helper()
	const word = "the machine's own secret"
	name := "ds-sandbox-proof-" + strings.ToLower(filepath.Base(t.TempDir())) + "-" + t.Name()
	name = strings.ReplaceAll(name, "/", "-")
	var secrets []string
	for _, dir := range []string{"/root", "/etc", "/tmp", "/var/tmp", "/home", "/dev/shm", "/var/lib/docker", t.TempDir()} {
		path := filepath.Join(dir, name)
		if os.WriteFile(path, []byte(word), 0o644) != nil {
			continue // we are an ordinary user
		}
		t.Cleanup(func() { _ = os.Remove(path) })
		secrets = append(secrets, path)
	}
	require.NotEmpty(t, secrets)
	listener, err := net.Listen("unix", "@"+name)
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	key := 0x5db0 + os.Getpid()
	id, err := unix.SysvShmGet(key, 4096, unix.IPC_CREAT|0o666)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
	return map[string]any{"secrets": secrets, "word": word, "socket": name, "shm": key, "neighbour": "86399.25"}
}

// TestProofHost tries to leave a container: its files, namespaces, devices, the kernel, sockets, other processes.
func TestProofHost(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	for _, run := range []struct {
		name    string
		profile backends.Profile
		as      string
	}{
		{"hardened", backends.ProfileHardened, ""}, {"compatible", backends.ProfileCompatible, ""}, {"compatible as root", backends.ProfileCompatible, "sudo -n "},
	} {
		t.Run(run.name, func(t *testing.T) {
			told := plant(t)
			ctx := testContext(t)
			b := open(t, nil)
			in, err := b.Create(ctx, backends.Spec{ID: "one", Container: backends.Container{Profile: run.profile}})
			require.NoError(t, err)
			other, err := b.Create(ctx, backends.Spec{ID: "two", Container: backends.Container{Profile: run.profile}})
			require.NoError(t, err)
			sleeping, err := other.StartCommand(ctx, backends.Cmd{Args: []string{"sleep", told["neighbour"].(string)}})
			require.NoError(t, err)
			t.Cleanup(func() { _ = sleeping.Stdout().Close(); _ = sleeping.Stderr().Close() })
			_, err = in.Files().Write(ctx, "attacks.py", bytes.NewReader(attacks), nil)
			require.NoError(t, err)
			arg, err := json.Marshal(told)
			require.NoError(t, err)
			out := sh(t, in, run.as+"python3 attacks.py '"+strings.ReplaceAll(string(arg), "'", `'\''`)+"' 2>/dev/null")
			var results map[string]*string
			require.NoError(t, json.Unmarshal([]byte(out), &results), out)
			require.Greater(t, len(results), 120)
			for name, gained := range results {
				if gained != nil && (run.as == "" || !strings.HasPrefix(name, "agent:")) { // root of a container has its agent, too
					t.Errorf("%s: %s", name, *gained)
				}
			}
			t.Logf("%d attempts", len(results))
			host := engine(t, "inspect", "-f", "{{.HostConfig.Privileged}} {{len .HostConfig.PidMode}} {{len .HostConfig.UTSMode}} {{.HostConfig.IpcMode}} {{len .Mounts}} {{len .HostConfig.PortBindings}}", containerOf(t, b, "one"))
			require.Equal(t, "false 0 0 private 0 0", host)
		})
	}
}
