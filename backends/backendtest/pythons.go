package backendtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
		if p := probe(path); p != nil && !slices.Contains(found, p.Executable) {
			found = append(found, p.Executable)
		}
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

// probed are the interpreters that were asked about themselves, each once in a program.
var probed = struct {
	sync.Mutex
	pythons map[string]*agent.Python // by path; nil for none
}{pythons: make(map[string]*agent.Python)}

// probe is agent.Probe; a Python that can't be used is nil.
func probe(path string) *agent.Python {
	probed.Lock()
	defer probed.Unlock()
	found, known := probed.pythons[path]
	if !known {
		found, _ = agent.Probe(context.Background(), path)
		if found != nil && !found.HasKernel() {
			found = nil
		}
		probed.pythons[path] = found
	}
	if found == nil {
		return nil
	}
	own := *found
	return &own
}

// EachPython runs a test with each interpreter that Pythons lists, named after its ipykernel.
func EachPython(t *testing.T, test func(t *testing.T, python *agent.Python)) {
	t.Helper()
	for _, path := range Pythons(t) {
		p := probe(path)
		if p == nil {
			t.Fatalf("%s is no Python with ipykernel any more", path)
		}
		t.Run("ipykernel-"+p.Packages["ipykernel"], func(t *testing.T) { test(t, p) })
	}
}
