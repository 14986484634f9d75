package backendtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// Pythons lists the interpreters that tests with real kernels run on: those of DS_SANDBOX_TEST_PYTHONS (separated by
// colons), else DS_SANDBOX_PYTHON, python3 on PATH and /usr/bin/python3, as far as they have ipykernel. Without any the test
// is skipped, or fails when DS_SANDBOX_REQUIRE names python.
func Pythons(t testing.TB) []string {
	t.Helper()
	var candidates []string
	if list := os.Getenv("DS_SANDBOX_TEST_PYTHONS"); list != "" {
		candidates = filepath.SplitList(list)
	} else {
		candidates = append(candidates, os.Getenv("DS_SANDBOX_PYTHON"))
		if path, err := exec.LookPath("python3"); err == nil {
			candidates = append(candidates, path)
		}
		candidates = append(candidates, "/usr/bin/python3")
	}
	var found []string
	for _, path := range candidates {
		if path == "" {
			continue
		}
		p, err := agent.Probe(context.Background(), path)
		if err != nil || !p.HasKernel() || slices.Contains(found, p.Executable) {
			continue
		}
		found = append(found, p.Executable)
	}
	if len(found) == 0 {
		const reason = "no Python with ipykernel: run `ds-sandbox setup`, or set DS_SANDBOX_TEST_PYTHONS"
		if slices.Contains(strings.Split(os.Getenv("DS_SANDBOX_REQUIRE"), ","), "python") {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	return found
}

// EachPython runs a test with each interpreter that Pythons lists, named after its ipykernel.
func EachPython(t *testing.T, test func(t *testing.T, python *agent.Python)) {
	t.Helper()
	for _, path := range Pythons(t) {
		p, err := agent.Probe(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("ipykernel-"+p.Packages["ipykernel"], func(t *testing.T) { test(t, p) })
	}
}
