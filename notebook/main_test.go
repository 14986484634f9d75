package notebook_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// withSandbox runs a test in a fresh sandbox of each Python.
func withSandbox(t *testing.T, test func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox)) {
	t.Helper()
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) { test(t, testContext(t), newSandbox(t, python)) })
}

func newSandbox(t *testing.T, python *agent.Python) *sandbox.Sandbox {
	t.Helper()
	runtime, err := os.MkdirTemp("", "dsn") // a short path: sockets live there
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	engine, err := sandbox.Open(testContext(t), sandbox.Config{
		DefaultBackend: "local", Python: python.Executable, WorkspaceBaseDir: filepath.Join(t.TempDir(), "base"), RuntimeDir: runtime,
		NoForkServer: true, MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close(context.Background())) })
	sbx, err := engine.Create(testContext(t), nil)
	require.NoError(t, err)
	return sbx
}

// oraclePatience is how long one attempt of nbclient's may take: on a busy machine it hangs now and then, for ever, and
// has nothing to say about ours.
const oraclePatience = 45 * time.Second

// oracle runs testdata/oracle.py, on a Python that has nbformat and nbclient.
func oracle(t *testing.T, python *agent.Python, args ...string) string {
	t.Helper()
	if err := exec.Command(python.Executable, "-c", "import nbformat, nbclient").Run(); err != nil {
		t.Skip("this Python has no nbformat or no nbclient")
	}
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(testContext(t), oraclePatience)
		cmd := exec.CommandContext(ctx, python.Executable, append([]string{"-B", filepath.Join("testdata", "oracle.py")}, args...)...)
		cmd.WaitDelay = time.Second // its kernel holds the pipes
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		hung := ctx.Err() != nil
		cancel()
		if hung && attempt < 3 {
			t.Logf("oracle.py %s hung; once more", args[0])
			continue
		}
		require.NoError(t, err, errs.String())
		return string(out)
	}
}

// make makes a notebook of code cells.
func makeNotebook(sources ...string) *notebook.Notebook {
	nb := notebook.New("python3", "Python 3", "python")
	for _, source := range sources {
		nb.AddCell(notebook.Code, source)
	}
	return nb
}

// write stores a notebook in a file of the test.
func write(t *testing.T, nb *notebook.Notebook, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, nb.WriteFile(path))
	return path
}

func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(data)
}

func parse(t *testing.T, text string) *notebook.Notebook {
	t.Helper()
	nb, err := notebook.Read(strings.NewReader(text))
	require.NoError(t, err)
	return nb
}

func encode(t *testing.T, nb *notebook.Notebook) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, nb.Write(&b))
	return b.String()
}
