package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// shared are engines that tests use together, one for each Python. Their kernels are forks, which takes a tenth of a start's time.
var shared = struct {
	sync.Mutex
	engines map[string]*sharedEngine // by interpreter
}{engines: make(map[string]*sharedEngine)}

// sharedEngine is an engine and its folders.
type sharedEngine struct {
	*sandbox.Engine
	dir string
}

// engineFor is the engine that tests share on a Python. The test's sandboxes end with it, and the engine by TestMain.
func engineFor(t *testing.T, python *agent.Python) *sandbox.Engine {
	t.Helper()
	e := sharedFor(t, python)
	t.Cleanup(func() { killAll(t, e) })
	return e
}

func sharedFor(t *testing.T, python *agent.Python) *sandbox.Engine {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if e := shared.engines[python.Executable]; e != nil {
		return e.Engine
	}
	dir, err := os.MkdirTemp("", "dst") // a short path, for sockets
	require.NoError(t, err)
	e := &sharedEngine{dir: dir}
	config := sandbox.Config{
		DefaultBackend: "local", Python: python.Executable, WorkspaceBaseDir: filepath.Join(dir, "base"), RuntimeDir: dir,
		MaxSpares: sandbox.NoSpares,
	}
	e.Engine, err = sandbox.Open(testContext(t), config)
	require.NoError(t, err)
	shared.engines[python.Executable] = e
	return e.Engine
}

// killAll ends a test's sandboxes, its forks too.
func killAll(t *testing.T, e *sandbox.Engine) {
	t.Helper()
	infos, err := e.List(context.Background())
	require.NoError(t, err)
	for _, info := range infos {
		sbx, err := e.Connect(context.Background(), info.ID)
		if errors.Is(err, sandbox.ErrNotFound) {
			continue // by its own time to live
		}
		require.NoError(t, err)
		require.NoError(t, sbx.Kill(context.Background()))
	}
}

// closeShared ends what tests have shared, and tells what they have left there.
func closeShared() error {
	shared.Lock()
	defer shared.Unlock()
	var errs []error
	for _, e := range shared.engines {
		errs = append(errs, e.Close(context.Background()))
		for _, pattern := range []string{"base/*", "e*"} {
			left, err := filepath.Glob(filepath.Join(e.dir, pattern))
			for _, name := range left {
				err = errors.Join(err, fmt.Errorf("%s was left behind", name))
			}
			errs = append(errs, err)
		}
		errs = append(errs, os.RemoveAll(e.dir))
	}
	return errors.Join(errs...)
}

// tests is testing.M, which ends what its tests have shared.
type tests struct{ *testing.M }

func (m tests) Run() int {
	code := m.M.Run()
	if err := closeShared(); err != nil {
		fmt.Fprintln(os.Stderr, "after the tests:", err)
		return max(code, 1)
	}
	return code
}
