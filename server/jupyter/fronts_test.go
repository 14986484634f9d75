package jupyter_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/ui/uitest"
)

// Front ends as they are published, installed by `make test-clients`.

// fronts is the folder of what is installed. Without it the test is skipped, or fails when DS_SANDBOX_REQUIRE names node.
func fronts(t *testing.T, needs string) string {
	t.Helper()
	folder := os.Getenv("DS_SANDBOX_FRONTS")
	if folder == "" {
		folder = filepath.Join("..", "..", ".cache", "clients", "jupyter")
	}
	folder, err := filepath.Abs(folder)
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(folder, needs)); err != nil {
		const reason = "front ends are not installed: run `make test-clients`, which needs node, or set DS_SANDBOX_FRONTS"
		if slices.Contains(strings.Split(os.Getenv("DS_SANDBOX_REQUIRE"), ","), "node") {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	return folder
}

// runChecks runs a program that prints a line for each of its checks.
func runChecks(t *testing.T, d *daemon, url string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(d.context(), name, args...)
	cmd.Env = append(os.Environ(), append(env, "BASE_URL="+url, "TOKEN="+d.key)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	checks := 0
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "ok "); ok {
			checks++
			t.Run(name, func(*testing.T) {})
		} else if failure, ok := strings.CutPrefix(line, "FAIL "); ok {
			name, why, _ := strings.Cut(failure, ": ")
			t.Run(name, func(t *testing.T) { t.Error(strings.ReplaceAll(why, " | ", "\n")) })
		}
	}
	err = cmd.Wait()
	if err != nil || t.Failed() {
		t.Log(stderr.String())
	}
	require.NoError(t, err)
	require.GreaterOrEqual(t, checks, 5)
}

func TestJupyterLabsServices(t *testing.T) {
	folder := fronts(t, "node/node_modules/@jupyterlab/services")
	d := serve(t, nil)
	runChecks(t, d, d.url, []string{"MODULES=" + filepath.Join(folder, "node")}, "node", "testdata/fronts/services.mjs")
}

func TestJupyterKernelClient(t *testing.T) {
	folder := fronts(t, "venv/bin/python")
	d := serve(t, nil)
	runChecks(t, d, d.url, nil, filepath.Join(folder, "venv/bin/python"), "testdata/fronts/kernel_client.py")
}

func TestJupyterServerAsGatewayClient(t *testing.T) {
	folder := fronts(t, "venv/bin/python")
	d := serve(t, nil)
	server := startGatewayClient(t, d, filepath.Join(folder, "venv/bin/python"), "jupyter_server")
	runChecks(t, d, server, []string{"MODULES=" + filepath.Join(folder, "node"), "PROXY=1"}, "node", "testdata/fronts/services.mjs")
}

// The stage lab of test-all installs JupyterLab and names its folder; pictures of what was seen are left there.
func TestJupyterLabInABrowser(t *testing.T) {
	folder := os.Getenv("DS_SANDBOX_LAB")
	if folder == "" {
		t.Skip("JupyterLab is not installed: run `make test-all STAGES=lab`")
	}
	browser := uitest.Browser(t)
	shots := filepath.Join(folder, "shots")
	require.NoError(t, os.RemoveAll(shots))
	require.NoError(t, os.Mkdir(shots, 0o755))
	program, err := filepath.Abs("testdata/lab/lab.mjs")
	require.NoError(t, err)
	d := &daemon{t: t, key: uitest.Key, url: uitest.Open(t)}
	lab := startGatewayClient(t, d, filepath.Join(folder, "venv/bin/python"), "jupyterlab",
		"--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate")
	uitest.Program(t, program, "LAB="+lab, "TOKEN="+d.key, "DAEMON="+d.url, "BROWSER="+browser, "SHOTS="+shots)
}

// startGatewayClient starts a jupyter_server, or what is made from one, that passes on kernels to us, and returns its address. Its token
// is the key.
func startGatewayClient(t *testing.T, d *daemon, python, module string, args ...string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	home := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	args = append([]string{
		"-m", module, "--allow-root", "--no-browser", "--ip=127.0.0.1", "--port=" + port, "--ServerApp.port_retries=0",
		"--IdentityProvider.token=" + d.key, "--ServerApp.root_dir=" + home, "--gateway-url=" + d.url, "--GatewayClient.auth_token=" + d.key,
	}, args...)
	cmd := exec.CommandContext(ctx, python, args...)
	// Not all of ours: it logs what it has.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home,
		"JUPYTER_CONFIG_DIR=" + home, "JUPYTER_DATA_DIR=" + home, "JUPYTER_RUNTIME_DIR=" + home,
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // by its signal
		if t.Failed() {
			t.Log(output.String())
		}
	})
	url := "http://" + address
	require.Eventually(t, func() bool {
		resp, err := http.Get(url + "/api")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	}, patience, 50*time.Millisecond, module+" does not answer")
	return url
}
