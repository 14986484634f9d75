package sandbox_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// installKernel makes a kernelspec known to this test.
func installKernel(t *testing.T, name string, spec messaging.KernelSpec) {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "kernels", name), 0o755))
	data, err := json.Marshal(spec)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "kernels", name, "kernel.json"), data, 0o644))
	t.Setenv("JUPYTER_PATH", folder)
}

// checkRunEnv checks the variables of one run; read is code that prints a variable, or "none".
func checkRunEnv(t *testing.T, ctx context.Context, c *sandbox.Context, read func(name string) string) {
	t.Helper()
	get := func(name string, env map[string]string) string {
		run, err := c.RunCode(ctx, read(name), &sandbox.RunOptions{Env: env})
		require.NoError(t, err)
		require.NoError(t, run.Err())
		return strings.TrimSuffix(run.Stdout(), "\n")
	}
	const odd = "it's \"ä\"\n$HOME `x` \\n \U0001f600"
	require.Equal(t, odd, get("ODD", map[string]string{"ODD": odd, "OUTER": "in"}))
	require.Equal(t, "none", get("ODD", nil))
	require.Equal(t, "o", get("OUTER", nil))
	require.Equal(t, "", get("EMPTY", map[string]string{"EMPTY": ""}))
	require.Equal(t, "none", get("EMPTY", nil))
}

func TestAKernelOfAnotherLanguage(t *testing.T) {
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		if exec.Command(python.Executable, "-c", "import bash_kernel").Run() != nil {
			t.Skip("no bash_kernel")
		}
		installKernel(t, "bash", messaging.KernelSpec{
			Argv:        []string{python.Executable, "-m", "bash_kernel", "-f", "{connection_file}"},
			DisplayName: "Bash", Language: "bash", Env: map[string]string{"PS1": "$"},
		})
		ctx := testContext(t)
		sbx, err := openEngine(t, python, nil).Create(ctx, &sandbox.Options{Language: "sh", Env: map[string]string{"OUTER": "o"}})
		require.NoError(t, err)
		bash := sbx.DefaultContext()
		require.Equal(t, "bash_kernel", bash.Info().Implementation)
		ok := func(code string) *sandbox.Execution {
			run, err := bash.RunCode(ctx, code, nil)
			require.NoError(t, err)
			require.NoError(t, run.Err())
			return run
		}
		ok("x=40; cd /")
		require.Equal(t, "42 /\n", ok("echo $((x + 2)) $PWD").Stdout())
		run, err := bash.RunCode(ctx, "echo before; ls /nonexistent", nil)
		require.NoError(t, err)
		require.Contains(t, run.Stdout(), "before\n")
		require.NotNil(t, run.Error, "its exit code is an error")
		checkRunEnv(t, ctx, bash, func(name string) string { return "printf '%s\\n' \"${" + name + "-none}\"" })
		_, err = bash.RunCode(ctx, "echo", &sandbox.RunOptions{Args: []string{"a"}})
		require.ErrorIs(t, err, backends.ErrUnsupported)
		_, err = bash.RunCode(ctx, "sleep 60", &sandbox.RunOptions{Timeout: 500 * time.Millisecond})
		require.ErrorIs(t, err, sandbox.ErrTimeout)
		require.Equal(t, "again\n", ok("echo again").Stdout())
	})
}

// denoVariable names a deno, for the test of JavaScript on this machine; in containers it is tested with the image's.
const denoVariable = "DS_SANDBOX_TEST_DENO"

func TestJavaScript(t *testing.T) {
	deno := os.Getenv(denoVariable)
	if deno == "" {
		t.Skip(denoVariable + " names no deno")
	}
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		installKernel(t, "deno", messaging.KernelSpec{
			Argv: []string{deno, "jupyter", "--kernel", "--conn", "{connection_file}"}, DisplayName: "Deno", Language: "typescript",
			InterruptMode: "message", Env: map[string]string{"NO_COLOR": "1", "DENO_UNSTABLE_BARE_NODE_BUILTINS": "1"},
		})
		ctx := testContext(t)
		sbx, err := openEngine(t, python, nil).Create(ctx, &sandbox.Options{Lazy: true, Env: map[string]string{"OUTER": "o"}})
		require.NoError(t, err)
		js, err := sbx.LanguageContext(ctx, "JS")
		require.NoError(t, err)
		require.Equal(t, "javascript", js.Language())
		checkJavaScript(t, ctx, js)
		ts, err := sbx.LanguageContext(ctx, "ts")
		require.NoError(t, err)
		require.NotEqual(t, js.ID(), ts.ID(), "a context for each name")
		require.Equal(t, kernel.Starting, ts.State())
		require.NoError(t, ts.Remove(ctx))
	})
}

func checkJavaScript(t *testing.T, ctx context.Context, js *sandbox.Context) {
	t.Helper()
	ok := func(code string) *sandbox.Execution {
		run, err := js.RunCode(ctx, code, nil)
		require.NoError(t, err)
		require.NoError(t, run.Err())
		return run
	}
	require.Equal(t, []string{"Hello World!\n"}, ok("console.log('Hello World!')").Logs.Stdout)
	require.Equal(t, "function\n", ok("        import { readFileSync } from 'fs'\n        console.log(typeof readFileSync)").Stdout())
	require.Equal(t, `"value"`, ok("const f = async (): Promise<string> => 'value'\nawait f()").Text())
	require.Equal(t, 4, ok("let kept: number = 41; kept").ExecutionCount)
	run, err := js.RunCode(ctx, "throw new Error('bad')", nil)
	require.NoError(t, err)
	require.Equal(t, "Error: bad", run.Error.Error())
	checkRunEnv(t, ctx, js, func(name string) string { return "console.log(process.env." + name + " ?? 'none')" })
	_, err = js.RunCode(ctx, "while (true) {}", &sandbox.RunOptions{Timeout: 300 * time.Millisecond})
	require.ErrorIs(t, err, sandbox.ErrTimeout)
	require.Equal(t, "41", ok("kept").Text())
}
