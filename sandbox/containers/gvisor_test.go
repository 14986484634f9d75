package containers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestSandboxesOfGVisor(t *testing.T) {
	dockertest.Config(t)
	dockertest.NeedRuntime(t, "runsc")
	engine := openDocker(t, func(c *sandbox.Config) { c.Runtime = "runsc" })
	for _, profile := range []backends.Profile{backends.ProfileHardened, backends.ProfileCompatible} {
		t.Run(string(profile), func(t *testing.T) {
			ctx := testContext(t)
			begun := time.Now()
			sbx, err := engine.Create(ctx, &sandbox.Options{Container: backends.Container{Profile: profile}})
			require.NoError(t, err)
			require.Equal(t, "2", text(t, sbx, "1 + 1"))
			t.Logf("create to first result: %v", time.Since(begun).Round(time.Millisecond))
			require.Equal(t, "'4.4.0'", text(t, sbx, "import platform; platform.release()"), "the kernel that gVisor plays")
			execution, err := sbx.RunCode(ctx, "import matplotlib.pyplot as plt; _ = plt.plot([1, 4, 9])", nil)
			require.NoError(t, err)
			require.NotEmpty(t, execution.Results)

			sh := func(line string) string {
				done, err := sbx.Commands().Run(ctx, "exec 2>&1; "+line, nil)
				require.NoError(t, err)
				return done.Stdout
			}
			require.Equal(t, "1000 1000 1000\n", sh("echo $(id -u; id -g; id -G)"))
			require.Contains(t, sh("kill -9 1; echo code $?"), "not permitted")
			require.Equal(t, "'Permission denied'", text(t, sbx, `import socket
try: socket.socket(socket.AF_UNIX).connect('/run/ds-sandbox-agent/sock'); told = 'connected'
except OSError as e: told = e.strerror
told`), "nobody else speaks to the agent")

			require.NoError(t, sbx.Files().WriteString(ctx, "dir/in", "data"))
			require.Equal(t, "'data'", text(t, sbx, "open('dir/in').read()"))
			text(t, sbx, "open('out', 'w').write('back')")
			back, err := sbx.Files().ReadString(ctx, "out")
			require.NoError(t, err)
			require.Equal(t, "back", back)

			_, err = sbx.RunCode(ctx, "kept = 1\nimport time; time.sleep(600)", &sandbox.RunOptions{Timeout: time.Second})
			require.ErrorIs(t, err, sandbox.ErrTimeout)
			require.Equal(t, "1", text(t, sbx, "kept"), "it was interrupted")
			require.NoError(t, sbx.Kill(ctx))
		})
	}
}

// TestGVisorHasNoNetworkRules: packets there pass by what keeps the rules.
func TestGVisorHasNoNetworkRules(t *testing.T) {
	dockertest.Config(t)
	dockertest.NeedRuntime(t, "runsc")
	engine := openDocker(t, func(c *sandbox.Config) { c.Runtime = "runsc" })
	_, err := engine.Create(testContext(t), &sandbox.Options{Container: backends.Container{Network: backends.Network{Mode: backends.NetworkBridge}}})
	require.ErrorIs(t, err, backends.ErrUnsupported)
	require.True(t, strings.Contains(err.Error(), "runsc"), err)
}
