package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/notebook"
)

// notebookFile stores a notebook of code cells; the first is tagged parameters.
func notebookFile(t *testing.T, sources ...string) string {
	t.Helper()
	nb := notebook.New("python3", "Python 3", "python")
	for _, source := range sources {
		nb.AddCell(notebook.Code, source)
	}
	nb.Cells[0].Metadata["tags"] = []string{notebook.TagParameters}
	name := filepath.Join(t.TempDir(), "in.ipynb")
	require.NoError(t, nb.WriteFile(name))
	return name
}

func readFile(t *testing.T, name string) *notebook.Notebook {
	t.Helper()
	nb, err := notebook.ReadFile(name)
	require.NoError(t, err)
	return nb
}

func TestNotebookRunsWithItsParameters(t *testing.T) {
	dir := t.TempDir()
	params := filepath.Join(dir, "p.yaml")
	require.NoError(t, os.WriteFile(params, []byte("a: 1\nb: [x]\n"), 0o644))
	data := filepath.Join(dir, "data.csv")
	require.NoError(t, os.WriteFile(data, []byte("1,2\n"), 0o644))
	eachPython(t, func(t *testing.T, python string) {
		in := notebookFile(t, "a = b = 0", "print(a, b, open('data.csv').read())")
		out := filepath.Join(t.TempDir(), "out.ipynb")
		c := start(t, nil, "notebook", "run", in, "-o", out, "--python", python, "--params", params, "-p", "a=2.5", "-p", "c=x", "--file", data)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Empty(t, c.out.String())
		require.Contains(t, c.err.String(), "[ds-sandbox] cell 3 of 3 completed in ")
		require.Contains(t, c.err.String(), `the notebook has no parameter "c"; it has: a`)
		nb := readFile(t, out)
		require.Equal(t, "# Parameters\nb = [\"x\"]\na = 2.5\nc = \"x\"\n", nb.Cells[1].Source)
		require.Equal(t, "2.5 ['x'] 1,2\n\n", nb.Cells[2].Outputs[0].Text)
		record := nb.Metadata["papermill"].(map[string]any)
		require.Equal(t, []any{in, out}, []any{record["input_path"], record["output_path"]})
		require.Empty(t, readFile(t, in).Cells[1].Outputs, "the input stays as it was")
	})
}

func TestNotebookEndsAsItsCellsDo(t *testing.T) {
	for name, test := range map[string]struct {
		source string
		args   []string
		code   int
		err    string
	}{
		"an exception":        {source: "1/0", code: exitRaised, err: "[ds-sandbox] cell 2 (In [2]): ZeroDivisionError: division by zero\n"},
		"errors allowed":      {source: "1/0", args: []string{"--allow-errors"}, err: "3 cells in "},
		"exit with success":   {source: "import sys; sys.exit()", err: "[ds-sandbox] the notebook ended itself after 2 cells in "},
		"exit with a code":    {source: "raise SystemExit(7)", code: 7},
		"time is over":        {source: "while True: pass", args: []string{"--timeout", "0.5"}, code: exitTimeout, err: "cell 2 (In [2]): run timed out after 500ms"},
		"a dying kernel":      {source: "import os; os._exit(3)", code: exitFailed, err: "process exited with code 3"},
		"an unknown kernel":   {source: "1", args: []string{"--kernel", "fortran77"}, code: exitUsage, err: `kernel "fortran77" not found`},
		"an unknown language": {source: "1", args: []string{"-k", "Python3"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachPython(t, func(t *testing.T, python string) {
				in := notebookFile(t, "x = 1", test.source, "'after'")
				c := start(t, nil, append([]string{"notebook", "run", in, "-o", in, "--python", python}, test.args...)...)
				require.Equal(t, test.code, c.wait(), c.err.String())
				require.Contains(t, c.err.String(), test.err)
				require.NotContains(t, c.err.String(), "\x1b")
				if strings.Contains(test.source, "sys.exit()") {
					require.NotContains(t, c.err.String(), "SystemExit")
					require.NotContains(t, c.err.String(), "failed")
				}
				readFile(t, in)
			})
		})
	}
}

func TestNotebookOfAnUnknownKernelSaysWhatToDo(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		in := notebookFile(t, "1")
		nb := readFile(t, in)
		nb.Metadata["kernelspec"].(map[string]any)["name"] = "my-env"
		require.NoError(t, nb.WriteFile(in))
		c := start(t, nil, "notebook", "run", in, "-o", in, "--python", python)
		require.Equal(t, exitUsage, c.wait())
		require.Contains(t, c.err.String(), `kernel "my-env" not found`)
		require.Contains(t, c.err.String(), "--kernel runs the notebook on another kernel")
	})
}

func TestNotebookIsSavedAfterEveryCellAndWhenItIsInterrupted(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		in := notebookFile(t, "print('first')", "import time\nprint('ready', flush=True)\ntime.sleep(60)", "'never'")
		out := filepath.Join(t.TempDir(), "out.ipynb")
		c := start(t, nil, "notebook", "run", in, "-o", out, "--python", python, "--trace-wire")
		c.err.waitFor(t, "cell 1 of 3 completed", 1)
		require.Eventually(t, func() bool {
			nb, err := notebook.ReadFile(out)
			return err == nil && len(nb.Cells[0].Outputs) == 1
		}, 30*time.Second, time.Millisecond)
		c.err.waitFor(t, "ready", 3) // the request, its echo, then the output
		c.signals <- os.Interrupt
		require.Equal(t, exitInterrupted, c.wait())
		nb := readFile(t, out)
		require.Contains(t, nb.Cells[0].Source, "papermill-error-cell")
		require.Equal(t, "KeyboardInterrupt", nb.Cells[3].Outputs[1].EName)
		require.Equal(t, "pending", nb.Cells[4].Metadata["papermill"].(map[string]any)["status"])
	})
}

func TestNotebookThatIsDeafIsKilled(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		in := notebookFile(t, "1", "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(60)")
		c := start(t, nil, "notebook", "run", in, "-o", in, "--python", python, "--trace-wire")
		c.err.waitFor(t, "deaf", 3) // the request, its echo, then the output
		c.signals <- syscall.SIGTERM
		require.Equal(t, exitTerminated, c.wait())
		readFile(t, in)
	})
}

func TestNotebookGoesThroughPipes(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		data, err := os.ReadFile(notebookFile(t, "6 * 7"))
		require.NoError(t, err)
		c := start(t, &streams{in: bytes.NewReader(data)}, "notebook", "run", "-", "-o", "-", "--python", python)
		require.Equal(t, 0, c.wait(), c.err.String())
		nb, err := notebook.Read(strings.NewReader(c.out.String()))
		require.NoError(t, err)
		require.Equal(t, "42", nb.Cells[0].Outputs[0].Data["text/plain"])
	})
}

func TestNotebookThatCanNotBeRunIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	good := notebookFile(t, "a = 1")
	out := filepath.Join(dir, "out.ipynb")
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no notebook":           {[]string{"run"}, exitUsage, "give a file"},
		"two notebooks":         {[]string{"run", good, "x.ipynb"}, exitUsage, `unexpected "x.ipynb"`},
		"no output":             {[]string{"run", good}, exitUsage, "--out"},
		"a missing one":         {[]string{"run", filepath.Join(dir, "none"), "-o", out}, exitUsage, "no such file"},
		"a broken one":          {[]string{"run", file("b", "{"), "-o", out}, exitUsage, "not a notebook: line 1, column 2"},
		"an old one":            {[]string{"run", file("o", `{"nbformat": 2}`), "-o", out}, exitUsage, "version 2"},
		"a parameter unnamed":   {[]string{"run", good, "-o", out, "-p", "a"}, exitUsage, `"a" is no NAME=VALUE`},
		"a parameter misnamed":  {[]string{"run", good, "-o", out, "-p", "a-b=1"}, exitUsage, `"a-b" is no name`},
		"no such parameters":    {[]string{"run", good, "-o", out, "--params", "none"}, exitUsage, "--params: open none"},
		"broken parameters":     {[]string{"run", good, "-o", out, "--params", file("p", "a: [")}, exitUsage, "line 1"},
		"an output folder gone": {[]string{"run", good, "-o", filepath.Join(dir, "gone", "o.ipynb")}, exitUsage, "no such file or directory"},
		"an output folder":      {[]string{"run", good, "-o", dir}, exitUsage, "not a regular file"},
		"a script for one":      {[]string{"new", filepath.Join(dir, "none.py")}, exitUsage, "no such file"},
		"a bad marker":          {[]string{"new", file("m.py", "# %% tags=[")}, exitUsage, "tags is no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, nil, append([]string{"notebook"}, test.args...)...)
			require.Equal(t, test.code, c.wait())
			require.Contains(t, c.err.String(), test.says)
		})
	}
	if os.Geteuid() != 0 {
		require.NoError(t, os.Chmod(dir, 0o555))
		c := start(t, nil, "notebook", "run", good, "-o", out)
		require.Equal(t, exitUsage, c.wait())
		require.Contains(t, c.err.String(), "permission denied")
	}
}

func TestScriptsBecomeNotebooksAndBack(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "a.py")
	require.NoError(t, os.WriteFile(script, []byte("# %% [markdown]\n# text\n\n# %%\n# %time 1\n"), 0o644))
	run := func(code int, args ...string) *command {
		c := start(t, nil, append([]string{"notebook"}, args...)...)
		require.Equal(t, code, c.wait(), c.err.String())
		return c
	}
	run(0, "new", script)
	nb := readFile(t, filepath.Join(dir, "a.ipynb"))
	require.Equal(t, "%time 1", nb.Cells[1].Source)
	require.Contains(t, run(exitUsage, "new", script).err.String(), "a.ipynb exists")
	run(0, "new", script, "-o", filepath.Join(dir, "a.ipynb"))
	require.Contains(t, run(0, "to-script", filepath.Join(dir, "a.ipynb"), "-o", "-").out.String(), "# %% [markdown]\n# text\n\n# %%\n# %time 1\n")
	require.Contains(t, run(exitUsage, "to-script", filepath.Join(dir, "a.ipynb")).err.String(), "a.py exists")
	c := start(t, &streams{in: strings.NewReader("1")}, "notebook", "new", "-")
	require.Equal(t, 0, c.wait())
	require.Contains(t, c.out.String(), `"nbformat": 4`)
}

// validate checks files with Python's nbformat, where there is one.
func validate(t *testing.T, python string, files ...string) {
	t.Helper()
	if exec.Command(python, "-c", "import nbformat").Run() != nil {
		t.Log("no nbformat to validate with")
		return
	}
	const code = "import sys, warnings, nbformat\nwarnings.simplefilter('error')\n" +
		"for f in sys.argv[1:]: nbformat.validate(nbformat.reads(open(f, encoding='utf-8').read(), as_version=nbformat.NO_CONVERT))"
	out, err := exec.Command(python, append([]string{"-c", code}, files...)...).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestWhatTheCommandWritesIsValid(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		in, dir := notebookFile(t, "x = 1", "print(x)\nx", "1 / 0"), t.TempDir()
		ran, session, made := filepath.Join(dir, "ran.ipynb"), filepath.Join(dir, "session.ipynb"), filepath.Join(dir, "made.ipynb")
		require.Equal(t, exitRaised, start(t, nil, "notebook", "run", in, "-o", ran, "--python", python, "-p", "x=2").wait())
		c := start(t, &streams{in: strings.NewReader("print(1)\n1 / 0\n")}, "repl", "--python", python, "--save", session)
		require.Equal(t, 0, c.wait(), c.err.String())
		script := filepath.Join(dir, "s.py")
		require.NoError(t, os.WriteFile(script, []byte("# %% [markdown]\n# text\n# %% tags=[\"a\"]\n1"), 0o644))
		require.Equal(t, 0, start(t, nil, "notebook", "new", script, "-o", made).wait())
		validate(t, python, ran, session, made)
	})
}

func TestAKilledRunLeavesAWholeFile(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "ds-sandbox")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	eachPython(t, func(t *testing.T, python string) {
		in := notebookFile(t, "print('first')", "import time; time.sleep(60)", "3")
		path := filepath.Join(t.TempDir(), "out.ipynb")
		cmd := exec.Command(bin, "notebook", "run", in, "-o", path, "--python", python)
		require.NoError(t, cmd.Start())
		status := func(nb *notebook.Notebook, i int) any {
			return nb.Cells[i].Metadata["papermill"].(map[string]any)["status"]
		}
		require.Eventually(t, func() bool {
			nb, err := notebook.ReadFile(path)
			return err == nil && nb.Cells[1].Metadata["papermill"] != nil && status(nb, 1) == "running"
		}, 60*time.Second, 20*time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		nb := readFile(t, path)
		require.Empty(t, nb.Repairs)
		require.Equal(t, "first\n", nb.Cells[0].Outputs[0].Text)
		require.Equal(t, []any{"completed", "running", "pending"}, []any{status(nb, 0), status(nb, 1), status(nb, 2)})
		validate(t, python, path)
	})
}
