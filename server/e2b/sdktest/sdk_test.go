package sdktest

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds a program, and checkTimeout each of its checks; none comes near it.
const (
	testTimeout  = 5 * time.Minute
	checkTimeout = 75 * time.Second
)

// The keys of the tests' daemon; the second one's owner may have one sandbox.
const (
	mainKey  = "e2b_0123456789abcdef0123456789abcdef01234567"
	smallKey = "e2b_fedcba9876543210fedcba9876543210fedcba98"
)

// installed is where `make test-clients` has put the SDKs. Without them the test is skipped, or fails when DS_SANDBOX_REQUIRE names node.
func installed(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("DS_SANDBOX_SDKS")
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "node_modules", "e2b"))
	}
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "venv", "bin", "python"))
	}
	switch {
	case err == nil && dir != "":
		return dir
	case slices.Contains(strings.Split(os.Getenv("DS_SANDBOX_REQUIRE"), ","), "node"):
		t.Fatalf("no SDKs of E2B: run `make test-clients`, and set DS_SANDBOX_SDKS: %v", err)
	}
	t.Skipf("no SDKs of E2B: run `make test-clients`, and set DS_SANDBOX_SDKS: %v", err)
	return ""
}

func TestSDKsOnLocal(t *testing.T) {
	sdks := installed(t)
	runtime, err := os.MkdirTemp("", "dss") // a short path: sockets live there
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(runtime)) })
	runAll(t, sdks, "local", sandbox.Config{
		DefaultBackend: "local", Python: backendtest.Pythons(t)[0], WorkspaceBaseDir: filepath.Join(t.TempDir(), "base"), RuntimeDir: runtime,
		MaxSpares: sandbox.NoSpares,
	})
}

func TestSDKsOnDocker(t *testing.T) {
	sdks := installed(t)
	runAll(t, sdks, "docker", sandbox.Config{
		DefaultBackend: "docker", AgentBinary: dockertest.Config(t).Agent, Profile: backends.ProfileCompatible, Network: backends.NetworkBridge,
		MaxSpares: sandbox.NoSpares,
	})
}

// runAll runs every program against a daemon on one backend, all at the same time.
func runAll(t *testing.T, sdks, backend string, config sandbox.Config) {
	url := startDaemon(t, config)
	scripts, err := filepath.Glob("*/*")
	require.NoError(t, err)
	t.Run("programs", func(t *testing.T) {
		for _, script := range scripts {
			name := filepath.Base(script)
			if strings.HasPrefix(name, "harness") || strings.HasPrefix(name, "__") {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, sdks, backend, url, script)
			})
		}
	})
}

// startDaemon serves everything that the SDKs ask for, and ends it with the test.
func startDaemon(t *testing.T, config sandbox.Config) (url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	config.Logger = slog.New(slog.DiscardHandler)
	engine, err := sandbox.Open(ctx, config)
	require.NoError(t, err)
	daemon, err := server.New(ctx, engine, server.Config{
		Listen: "127.0.0.1:0", DataDir: t.TempDir(), Logger: config.Logger, Domain: "sandboxes.test",
		Keys: []access.Key{
			{Secret: mainKey, Owner: &fleet.Owner{Name: "main"}},
			{Secret: smallKey, Owner: &fleet.Owner{Name: "small", Limits: fleet.Limits{Sandboxes: 1}}},
		},
	})
	require.NoError(t, err)
	serving, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- daemon.Serve(serving) }()
	t.Cleanup(func() {
		stop()
		daemon.Hurry()
		require.NoError(t, <-ended)
		require.NoError(t, engine.Close(context.Background()))
	})
	return daemon.URL()
}

// run runs a program and shows each of its checks as a test.
func run(t *testing.T, sdks, backend, url, script string) {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	interpreter := filepath.Join(sdks, "venv", "bin", "python")
	if strings.HasSuffix(script, ".cjs") {
		interpreter = "node"
	}
	cmd := exec.CommandContext(ctx, interpreter, script)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LANG=C.UTF-8", "NODE_PATH=" + filepath.Join(sdks, "node_modules"),
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "PYTHONFAULTHANDLER=1", "NO_PROXY=*",
		"E2B_API_URL=" + url, "E2B_SANDBOX_URL=" + url, "E2B_API_KEY=" + mainKey,
		"DS_TEST_BACKEND=" + backend, "DS_TEST_SMALL_KEY=" + smallKey,
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stuck := time.AfterFunc(checkTimeout, cancel)
	defer stuck.Stop()
	begun, checks := time.Now(), 0
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		verdict, rest, _ := strings.Cut(lines.Text(), " ")
		name, why, _ := strings.Cut(rest, ": ")
		checks++
		stuck.Reset(checkTimeout)
		took := time.Since(begun).Round(time.Millisecond)
		t.Run(name, func(t *testing.T) {
			switch verdict {
			case "ok":
				t.Logf("after %v", took)
			case "skip":
				t.Skip(why)
			default:
				t.Error(lines.Text())
			}
		})
		begun = time.Now()
	}
	require.NoError(t, lines.Err())
	if err := cmd.Wait(); err != nil && !t.Failed() {
		t.Errorf("it ended, or stood still, after %d checks: %v\n%s", checks, err, stderr.String())
	}
	require.Positive(t, checks)
}
