package backendtest

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Open makes a backend for one test; the suite closes it.
type Open func(t *testing.T) backends.Backend

// limit bounds each test; none comes near it.
const limit = 2 * time.Minute

// Lack is what a backend does not have; the suite then wants it to be refused with ErrUnsupported.
type Lack string

// What a backend may lack.
const (
	LacksUserFolders Lack = "folders of the user's own" // Spec.WorkspacePath and AllowedRoots
	LacksOwnNetwork  Lack = "a network of its own"      // where one is taken for granted: a test's daemon outside of a container
)

// Run runs the whole suite, but for what the backend lacks.
func Run(t *testing.T, open Open, lacks ...Lack) {
	t.Run("instances", func(t *testing.T) { testInstances(t, open) })
	t.Run("files", func(t *testing.T) { testFiles(t, open) })
	t.Run("files in full", func(t *testing.T) { testFilesInFull(t, open) })
	t.Run("hostile files", func(t *testing.T) { testHostileFiles(t, open) })
	t.Run("walk", func(t *testing.T) { testWalk(t, open) })
	t.Run("links", func(t *testing.T) {
		if slices.Contains(lacks, LacksUserFolders) {
			testNoUserFolders(t, open)
			return
		}
		testLinks(t, open)
	})
	t.Run("commands", func(t *testing.T) { testCommands(t, open) })
	t.Run("ports", func(t *testing.T) { testPorts(t, open, lacks) })
	t.Run("machine", func(t *testing.T) { testMachine(t, open) })
	t.Run("heavy", func(t *testing.T) { testHeavy(t, open) })
	t.Run("watch", func(t *testing.T) { testWatch(t, open) })
	RunKernels(t, open)
	RunLimits(t, open, lacks...)
}

// RunKernels runs the part of the suite about kernels, which differ from one Python to the next.
func RunKernels(t *testing.T, open Open) {
	t.Run("kernels", func(t *testing.T) { testKernels(t, open) })
	t.Run("branches", func(t *testing.T) { testBranches(t, open) })
	t.Run("isolation", func(t *testing.T) { testIsolation(t, open) })
}

// All reports whether tests are to leave nothing out that others cover: `make test-all`.
func All() bool { return os.Getenv("DS_SANDBOX_TEST_ALL") != "" }

// RunLimits runs the part of the suite about limits, figures and pauses, for a backend that has several ways to hold them.
func RunLimits(t *testing.T, open Open, lacks ...Lack) {
	t.Run("limits", func(t *testing.T) { testLimits(t, open) })
	t.Run("disk", func(t *testing.T) { testDisk(t, open, lacks) })
	t.Run("shared memory", func(t *testing.T) { testSharedMemory(t, open) })
	t.Run("stats", func(t *testing.T) { testStats(t, open) })
	t.Run("pause", func(t *testing.T) { testPause(t, open) })
}

// testOf is a test of one instance.
type testOf func(t *testing.T, ctx context.Context, in backends.Instance)

// with runs a test on an instance of its own.
func with(t *testing.T, open Open, name string, test testOf) {
	t.Helper()
	withSpec(t, open, name, backends.Spec{Env: map[string]string{"FROM_SPEC": "spec", "BOTH": "spec"}}, test)
}

func withSpec(t *testing.T, open Open, name string, spec backends.Spec, test testOf) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		spec.ID = "suite"
		in, err := b.Create(ctx, spec)
		require.NoError(t, err)
		test(t, ctx, in)
		require.NoError(t, in.Destroy(ctx))
	})
}
