package dockertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends/docker"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/agentbinary"
)

// Config is what tests open a backend with. Where there is no engine, or no image, the test is skipped, or fails when DS_SANDBOX_REQUIRE
// names docker. DS_SANDBOX_TEST_IMAGE names an image other than ours for them.
func Config(t testing.TB) docker.Config {
	t.Helper()
	found, err := look()
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("DS_SANDBOX_REQUIRE"), ","), "docker") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return found
}

// look is asked once in a program.
var look = sync.OnceValues(func() (docker.Config, error) {
	config := docker.Config{Agent: os.Getenv(agentbinary.Variable)}
	config.Defaults.Image = os.Getenv("DS_SANDBOX_TEST_IMAGE") // ours when it is not set
	if config.Agent == "" {
		dir, err := buildAgent()
		if err != nil {
			return config, err
		}
		config.Agent = dir
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := docker.Available(ctx, config)
	return config, err
})

// buildAgent builds the agent of this source for this machine's architecture, where `make` did not.
func buildAgent() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), ".cache", "agent")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	target := filepath.Join(dir, "ds-sandbox-agent-linux-"+runtime.GOARCH)
	building := fmt.Sprintf("%s.%d", target, os.Getpid()) // packages are tested at once
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", building, "./cmd/ds-sandbox-agent")
	cmd.Dir = strings.TrimSpace(string(out))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	return dir, os.Rename(building, target)
}

// Remove removes an image that a test has made.
func Remove(image string) error {
	return docker.RemoveImage(context.Background(), docker.Config{}, image)
}
