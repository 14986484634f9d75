package uitest

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// programTimeout bounds a program; nothing comes near it.
const programTimeout = 5 * time.Minute

// Program runs a program in Node: one of this folder, or one named by its whole path. It prints a line for each thing that it checked,
// "ok NAME" or "FAIL NAME: why", which become subtests. variables are of its environment, besides MODULES, where its packages are. The
// test is skipped without Node or its packages, or fails when DS_SANDBOX_REQUIRE names node.
func Program(t *testing.T, name string, variables ...string) {
	t.Helper()
	node, modules := find(t)
	ctx, cancel := context.WithTimeout(t.Context(), programTimeout)
	defer cancel()
	home := t.TempDir()
	if !filepath.IsAbs(name) {
		name = filepath.Join(folder(), name)
	}
	cmd := exec.CommandContext(ctx, node, name)
	cmd.Env = append(append(os.Environ(), "MODULES="+modules, "HOME="+home, "TMPDIR="+home), variables...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	checked := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		verdict, rest, _ := strings.Cut(lines.Text(), " ")
		what, why, _ := strings.Cut(rest, ": ")
		switch verdict {
		case "ok", "FAIL":
			checked++
			t.Run(what, func(t *testing.T) {
				if verdict == "FAIL" {
					t.Fatal(strings.ReplaceAll(why, "\\n", "\n"))
				}
			})
		default:
			t.Log(lines.Text())
		}
	}
	require.NoError(t, cmd.Wait(), errors.String())
	require.Positive(t, checked, "it checked nothing: %s", errors.String())
}

// TypeScript checks files, or makes JavaScript of them, as tsconfig.json and the arguments say.
func TypeScript(t *testing.T, args ...string) (said string, err error) {
	t.Helper()
	node, modules := find(t)
	ctx, cancel := context.WithTimeout(t.Context(), programTimeout)
	defer cancel()
	compiler := filepath.Join(modules, "typescript", "bin", "tsc")
	out, err := exec.CommandContext(ctx, node, append([]string{compiler}, args...)...).CombinedOutput()
	return string(out), err
}

// Config is the path of tsconfig.json.
func Config() string { return filepath.Join(folder(), "tsconfig.json") }

// folder is that of this file.
func folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// find finds Node and the packages that `make test-clients` installs.
func find(t *testing.T) (node, modules string) {
	t.Helper()
	modules = filepath.Join(folder(), "..", "..", "..", ".cache", "clients", "ui", "node_modules")
	if set := os.Getenv("DS_SANDBOX_UI_MODULES"); set != "" {
		modules = set
	}
	node, err := exec.LookPath("node")
	reason := "no Node: install nodejs (20 or later)"
	if err == nil {
		reason = "no Node packages of the page's tests: run `make test-clients`, or set DS_SANDBOX_UI_MODULES"
		if _, err = os.Stat(filepath.Join(modules, "playwright-core", "package.json")); err == nil {
			return node, modules
		}
	}
	Miss(t, "node", reason)
	return "", ""
}

// Browser is the browser's program.
func Browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("DS_SANDBOX_BROWSER"), "/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && name != "" {
			return path
		}
	}
	Miss(t, "browser", "no Chromium: install the package chromium, or set DS_SANDBOX_BROWSER")
	return ""
}

// Miss skips a test for which something is not there, or fails it when DS_SANDBOX_REQUIRE names that.
func Miss(t *testing.T, what, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("DS_SANDBOX_REQUIRE"), ","), what) {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
