package pyenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain takes the machine's own settings away: each test says what there is.
func TestMain(m *testing.M) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name == "VIRTUAL_ENV" || strings.HasPrefix(name, "DS_SANDBOX_") && name != "DS_SANDBOX_REQUIRE" {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

// machine is a computer with nothing on it but what a test adds.
type machine struct {
	t        *testing.T
	root     string
	bin      string // the only folder of PATH
	data     string
	original string // PATH as it was
}

func newMachine(t *testing.T) *machine {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	m := &machine{t: t, root: root, bin: filepath.Join(root, "bin"), data: filepath.Join(root, "data"), original: os.Getenv("PATH")}
	require.NoError(t, os.MkdirAll(m.bin, 0o755))
	t.Setenv("HOME", filepath.Join(root, "home"))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(root, "cache"))
	t.Setenv("PYENV_ROOT", "")
	t.Setenv("PYENV_VERSION", "")
	t.Setenv("DS_SANDBOX_DATA_DIR", m.data)
	t.Setenv("PATH", m.bin)
	wereSystem, wereInstall := systemPythons, canInstall
	systemPythons, canInstall = nil, func() bool { return false }
	t.Cleanup(func() { systemPythons, canInstall = wereSystem, wereInstall })
	return m
}

// python adds a program that answers like an interpreter; each start adds a line to the log beside it.
func (m *machine) python(path, version string, packages ...string) string {
	m.t.Helper()
	site := filepath.Join(m.root, "site"+strings.ReplaceAll(path, "/", "_"))
	require.NoError(m.t, os.MkdirAll(site, 0o755))
	var list []string
	for _, p := range packages {
		list = append(list, fmt.Sprintf("%q: \"1.0\"", p))
	}
	return m.script(path, fmt.Sprintf(`echo started >> "$0.log"
echo '{"executable": "%s", "version": "%s", "site_dirs": ["%s"], "packages": {%s}}'
`, path, version, site, strings.Join(list, ", ")))
}

// script adds a program.
func (m *machine) script(path, body string) string {
	m.t.Helper()
	require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(m.t, os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755))
	return path
}

// starts is how often a python was started.
func (m *machine) starts(path string) int {
	data, err := os.ReadFile(path + ".log")
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(m.t, err)
	return strings.Count(string(data), "\n")
}

func (m *machine) onPath(name string) string { return filepath.Join(m.bin, name) }

// finishSetup marks the managed environment as complete.
func (m *machine) finishSetup() {
	require.NoError(m.t, os.WriteFile(markerFile(m.data), []byte("x\n"), 0o644))
}
