package pyenv

import (
	"archive/zip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// modules are the names that packages are imported by, where they differ.
var modules = map[string]string{"pillow": "PIL", "scikit-learn": "sklearn"}

// fontManager stands for matplotlib's: it writes a list of fonts where it is told to.
const fontManager = `import os
with open(os.path.join(os.environ["MPLCONFIGDIR"], "fontlist-v1.json"), "w") as f:
    f.write("{}")
`

// wheels fills a folder with a package of nothing for each line of a pinned list.
func wheels(t *testing.T, dir, list string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for line := range strings.SplitSeq(list, "\n") {
		name, version, ok := strings.Cut(line, "==")
		if !ok {
			continue
		}
		module := modules[name]
		if module == "" {
			module = name
		}
		files := map[string]string{module + "/__init__.py": ""}
		if name == "matplotlib" {
			files["matplotlib/font_manager.py"] = fontManager
		}
		wheel(t, dir, strings.ReplaceAll(name, "-", "_"), version, files)
	}
}

// wheel writes a package.
func wheel(t *testing.T, dir, name, version string, files map[string]string) {
	t.Helper()
	info := fmt.Sprintf("%s-%s.dist-info/", name, version)
	files[info+"METADATA"] = fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", name, version)
	files[info+"WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
	record := info + "RECORD,,\n"
	for file := range files {
		record += file + ",,\n"
	}
	files[info+"RECORD"] = record
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%s-py3-none-any.whl", name, version)))
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for file, text := range files {
		w, err := z.Create(file)
		require.NoError(t, err)
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
}

// realPython makes a machine with this one's PATH, and pip that knows only the packages in the folder. The test is skipped
// when there is no Python that can make environments.
func realPython(t *testing.T) (m *machine, packages string) {
	t.Helper()
	m = newMachine(t)
	t.Setenv("PATH", m.original)
	var tried []string
	for _, name := range baseNames {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		code := "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
		if err := exec.Command(path, "-I", "-c", code).Run(); err != nil {
			tried = append(tried, path)
			continue
		}
		was := baseNames
		baseNames = []string{path}
		t.Cleanup(func() { baseNames = was })
		packages = filepath.Join(m.root, "wheels")
		t.Setenv("PIP_CONFIG_FILE", os.DevNull)
		t.Setenv("PIP_NO_INDEX", "1")
		t.Setenv("PIP_FIND_LINKS", packages)
		require.NoError(t, os.MkdirAll(packages, 0o755))
		return m, packages
	}
	if strings.Contains(os.Getenv("DS_SANDBOX_REQUIRE"), "python") {
		t.Fatalf("no Python 3.11 with venv and ensurepip, which DS_SANDBOX_REQUIRE demands; tried %v", tried)
	}
	t.Skipf("no Python 3.11 with venv and ensurepip; tried %v", tried)
	return nil, ""
}
