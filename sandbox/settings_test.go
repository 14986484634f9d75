package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// settingsOf opens an engine and returns its settings as "value (source)", by name.
func settingsOf(t *testing.T, python string, config sandbox.Config) (map[string]string, sandbox.Config) {
	t.Helper()
	config.Python = python
	if config.RuntimeDir == "" {
		runtime, err := os.MkdirTemp("", "dst") // a short path
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(runtime) })
		config.RuntimeDir = runtime
	}
	engine, err := sandbox.Open(testContext(t), config)
	require.NoError(t, err)
	settings := make(map[string]string)
	for _, s := range engine.Settings() {
		settings[s.Name] = s.Value + " (" + s.Source + ")"
	}
	config = engine.Config()
	require.NoError(t, engine.Close(testContext(t)))
	return settings, config
}

func TestNamesOfTheEnvironmentAndTheirOrder(t *testing.T) {
	python := backendtest.Pythons(t)[0]
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	settings, config := settingsOf(t, python, sandbox.Config{WorkspaceBaseDir: at("w")})
	require.Equal(t, "ds_sandbox (default)", settings["Implementation"])
	require.Equal(t, "auto (default)", settings["DefaultBackend"])
	require.Equal(t, "1h0m0s (default)", settings["DefaultTimeout"])
	require.Equal(t, at("w")+" (config)", settings["WorkspaceBaseDir"])
	require.Equal(t, filepath.Join(os.TempDir(), "ds_sandbox_paused")+" (default)", settings["PausedBaseDir"])
	require.NoDirExists(t, config.PausedBaseDir)
	require.Equal(t, python+" (config)", settings["Python"])

	// Each step wins over those before.
	steps := []struct{ prefix, backendType, timeout, text string }{
		{"DSLIGHTING_SANDBOX_", "DSLIGHTING_SANDBOX_BACKEND_TYPE", "90", "1m30s"},
		{"SANDBOX_", "SANDBOX_BACKEND_TYPE", "2m", "2m0s"},
		{"DS_SANDBOX_", "DS_SANDBOX_BACKEND", "none", "none"},
	}
	t.Setenv("DSLIGHTING_SANDBOX_BACKEND", "ds_sandbox")
	for _, step := range steps {
		t.Setenv(step.backendType, "local")
		t.Setenv(step.prefix+"TIMEOUT", step.timeout)
		t.Setenv(step.prefix+"WORKSPACE_BASE", at(step.prefix+"w"))
		t.Setenv(step.prefix+"PAUSED_BASE", at(step.prefix+"p"))
		settings, config = settingsOf(t, python, sandbox.Config{})
		require.Equal(t, "ds_sandbox (environment DSLIGHTING_SANDBOX_BACKEND)", settings["Implementation"])
		require.Equal(t, "local (environment "+step.backendType+")", settings["DefaultBackend"])
		require.Equal(t, step.text+" (environment "+step.prefix+"TIMEOUT)", settings["DefaultTimeout"])
		require.Equal(t, at(step.prefix+"w")+" (environment "+step.prefix+"WORKSPACE_BASE)", settings["WorkspaceBaseDir"])
		require.Equal(t, at(step.prefix+"p")+" (environment "+step.prefix+"PAUSED_BASE)", settings["PausedBaseDir"])
		require.Equal(t, at(step.prefix+"p"), config.PausedBaseDir)
		require.NoDirExists(t, config.PausedBaseDir)
	}
	require.Equal(t, sandbox.NoTimeout, config.DefaultTimeout)
	t.Setenv("SANDBOX_BACKEND", "ds_sandbox")
	settings, _ = settingsOf(t, python, sandbox.Config{DefaultBackend: "auto", DefaultTimeout: time.Second, PausedBaseDir: "p"})
	require.Equal(t, "ds_sandbox (environment SANDBOX_BACKEND)", settings["Implementation"])
	require.Equal(t, "auto (config)", settings["DefaultBackend"])
	require.Equal(t, "1s (config)", settings["DefaultTimeout"])
	require.Equal(t, "p (config)", settings["PausedBaseDir"])
}

func TestBadValueOfTheEnvironmentNamesItsVariable(t *testing.T) {
	for _, bad := range []struct{ variable, value, says string }{
		{"SANDBOX_TIMEOUT", "soon", `"soon" is no duration`},
		{"SANDBOX_TIMEOUT", "-5", "positive"},
		{"DSLIGHTING_SANDBOX_TIMEOUT", "0", "positive"},
		{"DS_SANDBOX_TIMEOUT", "1 hour", "90s"},
		{"DS_SANDBOX_MAX_FRAME", "256M", "bytes"},
		{"SANDBOX_BACKEND", "e2b", "ds_sandbox"},
		{"SANDBOX_BACKEND", "docker", "SANDBOX_BACKEND_TYPE"},
		{"DSLIGHTING_SANDBOX_BACKEND", "local", "ds_sandbox"},
		{"SANDBOX_BACKEND_TYPE", "ds_sandbox", "auto, local or docker"},
		{"DSLIGHTING_SANDBOX_BACKEND_TYPE", "podman", "auto, local or docker"},
		{"DS_SANDBOX_ISOLATION", "total", "files or none"},
	} {
		t.Run(bad.variable, func(t *testing.T) {
			t.Setenv(bad.variable, bad.value)
			_, err := sandbox.Open(testContext(t), sandbox.Config{})
			require.ErrorContains(t, err, bad.variable+":", bad.value)
			require.ErrorContains(t, err, bad.says)
		})
	}
	t.Setenv("SANDBOX_TIMEOUT", "soon")
	t.Setenv("DS_SANDBOX_START_TIMEOUT", "later")
	_, err := sandbox.Open(testContext(t), sandbox.Config{MaxFrame: -1})
	for _, name := range []string{"SANDBOX_TIMEOUT", "DS_SANDBOX_START_TIMEOUT", "Config.MaxFrame"} {
		require.ErrorContains(t, err, name, "all mistakes at once")
	}
}

func TestReadmeTellsEverySetting(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(readme), "### Configuration")
	section, _, _ = strings.Cut(section, "\n###")
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		settings, _ := settingsOf(t, python.Executable, sandbox.Config{})
		for name := range settings {
			if name != "Implementation" {
				require.Contains(t, section, "| `"+name+"` |")
			}
		}
	})
	for _, name := range []string{"SANDBOX_BACKEND", "SANDBOX_BACKEND_TYPE", "SANDBOX_TIMEOUT", "SANDBOX_WORKSPACE_BASE", "SANDBOX_PAUSED_BASE", "DSLIGHTING_"} {
		require.Contains(t, section, "`"+name+"`")
	}
}
