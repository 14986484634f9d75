package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrongUsageIsToldAndExitsWith2(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.py")
	for name, test := range map[string]struct {
		args []string
		env  map[string]string
		says string
	}{
		"no code":              {args: []string{"run"}, says: "give a script, or -c CODE, or - for standard input"},
		"script and code":      {args: []string{"run", "-c", "1", "a.py"}, says: "either a script or -c"},
		"no such script":       {args: []string{"run", missing}, says: missing + ": no such file"},
		"a folder as a script": {args: []string{"run", t.TempDir()}, says: "is a directory"},
		"timeout no duration":  {args: []string{"run", "-c", "1", "--timeout", "soon"}, says: `--timeout: "soon" is no duration`},
		"timeout zero":         {args: []string{"run", "-c", "1", "--timeout", "0"}, says: "not a positive duration"},
		"timeout negative":     {args: []string{"repl", "--timeout", "-5"}, says: "not a positive duration"},
		"no size":              {args: []string{"run", "-c", "1", "--memory", "lots"}, says: `--memory: "lots" is no size`},
		"negative size":        {args: []string{"repl", "--disk", "-5M"}, says: `--disk: "-5M" is no size`},
		"no processor time":    {args: []string{"run", "-c", "1", "--cpu-time", "none"}, says: `--cpu-time: "none" is no duration`},
		"negative processes":   {args: []string{"run", "-c", "1", "--processes", "-1"}, says: "take positive numbers"},
		"variable for a limit": {args: []string{"run", "-c", "1"}, env: map[string]string{"DS_SANDBOX_MEMORY": "x"}, says: `DS_SANDBOX_MEMORY: "x"`},
		"env without a name":   {args: []string{"run", "-c", "1", "--env", "=x"}, says: `"=x": use NAME=VALUE`},
		"env not set here":     {args: []string{"run", "-c", "1", "--env", "CERTAINLY_NOT_SET"}, says: "CERTAINLY_NOT_SET is not set here"},
		"unknown isolation":    {args: []string{"repl", "--isolation", "walls"}, says: `--isolation: "walls": use container, files or none`},
		"workspace missing":    {args: []string{"repl", "--workspace", missing}, says: "--workspace: stat " + missing},
		"workspace no folder":  {args: []string{"run", "-c", "1", "--workspace", "usage_test.go"}, says: "--workspace: usage_test.go: not a folder"},
		"root missing":         {args: []string{"run", "-c", "1", "--allow-root", missing}, says: "--allow-root: stat " + missing},
		"denied domain":        {args: []string{"run", "-c", "1", "--deny", "pypi.org"}, says: `deny entry "pypi.org" is a domain`},
		"allowed nonsense":     {args: []string{"shell", "--allow", "http://pypi.org"}, says: `--allow, --deny: allow entry "http://pypi.org"`},
		"lists of nothing":     {args: []string{"repl", "--network", "none", "--allow", "pypi.org"}, says: `mode "none" reaches nothing`},
		"no such file":         {args: []string{"run", "-c", "1", "--file", missing}, says: "--file: stat " + missing},
		"unknown flag":         {args: []string{"run", "--nonsense"}, says: "unknown flag: --nonsense"},
		"unknown command":      {args: []string{"nonsense"}, says: "nonsense"},
		"argument too many":    {args: []string{"kernels", "python"}, says: `unexpected "python"`},
		"variable for a flag":  {args: []string{"version"}, env: map[string]string{"DS_SANDBOX_JSON": "maybe"}, says: "DS_SANDBOX_JSON: "},
		"variable for timeout": {args: []string{"run", "-c", "1"}, env: map[string]string{"DS_SANDBOX_TIMEOUT": "x"}, says: `DS_SANDBOX_TIMEOUT: "x" is no duration`},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			c := start(t, nil, test.args...)
			require.Equal(t, exitUsage, c.wait())
			require.Contains(t, c.err.String(), test.says)
			require.Contains(t, c.err.String(), "see `ds-sandbox help`")
			require.Empty(t, c.out.String())
		})
	}
}

func TestHelpGoesToStandardOutput(t *testing.T) {
	for _, args := range [][]string{{}, {"help"}, {"run", "--help"}} {
		c := start(t, nil, args...)
		require.Equal(t, 0, c.wait())
		require.Contains(t, c.out.String(), "Usage:")
		require.Empty(t, c.err.String())
	}
}

func TestWithoutAPythonTheErrorSaysWhatToDo(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "python3")
	for _, args := range [][]string{{"run", "-c", "1"}, {"repl"}, {"kernels"}, {"doctor"}, {"setup"}} {
		c := start(t, nil, append(args, "--python", missing)...)
		require.Equal(t, exitFailed, c.wait(), args)
		require.Contains(t, c.err.String(), missing)
		require.Contains(t, c.err.String(), "choose another Python with --python or DS_SANDBOX_PYTHON")
	}
}

func TestAPythonThatAVariableNamesIsBlamedOnIt(t *testing.T) {
	t.Setenv("DS_SANDBOX_PYTHON", "/nonexistent")
	c := start(t, nil, "run", "-c", "1")
	require.Equal(t, exitFailed, c.wait())
	require.Contains(t, c.err.String(), "/nonexistent, asked for by DS_SANDBOX_PYTHON: no such file")
}

func TestABaseThatTakesNoFolderIsToldWithARemedy(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		s := &streams{in: strings.NewReader(""), out: newBuffer(), err: newBuffer()}
		require.Equal(t, exitFailed, execute(t.Context(), []string{"run", "-c", "1", "--python", python, "--workspace-base", "/proc"}, s))
		require.Contains(t, s.err.(*buffer).String(), "/proc takes no new folder")
		require.Contains(t, s.err.(*buffer).String(), "choose another with WorkspaceBaseDir or DS_SANDBOX_WORKSPACE_BASE")
	})
}

func TestABrokenKernelSpecIsNamed(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "kernels", "broken", "kernel.json")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte("{nonsense"), 0o644))
	t.Setenv("JUPYTER_PATH", folder)
	eachPython(t, func(t *testing.T, python string) {
		c := start(t, nil, "kernels", "--python", python)
		require.Equal(t, 0, c.wait())
		require.Contains(t, c.err.String(), "skipped: "+file+": ")
		require.Contains(t, c.out.String(), "python3")
		c = start(t, nil, "run", "--python", python, "--kernel", "broken", "-c", "1")
		require.Equal(t, exitUsage, c.wait())
		require.Contains(t, c.err.String(), "skipped: "+file+": ")
	})
}

func TestUnknownBackendIsNamed(t *testing.T) {
	c := start(t, nil, "run", "-c", "1", "--backend", "moon")
	require.Equal(t, exitUsage, c.wait())
	require.Contains(t, c.err.String(), `backend "moon" is not known`)
}

func TestVersionIsPrinted(t *testing.T) {
	c := start(t, nil, "version")
	require.Equal(t, 0, c.wait())
	require.Regexp(t, `^ds-sandbox \S+ \(go\S+, \w+/\w+\)\n$`, c.out.String())

	t.Setenv("DS_SANDBOX_JSON", "true") // a flag by its variable
	c = start(t, nil, "version")
	require.Equal(t, 0, c.wait())
	require.Contains(t, c.out.String(), `"version":`)
}

func TestAVariableOfAListHasAnItemALine(t *testing.T) {
	t.Setenv("DS_SANDBOX_ENV", "A=1,2\nB=3 4")
	var o sessionOptions
	s := &streams{out: os.Stdout, err: os.Stderr}
	cmd := newRun(s, new(common))
	_, err := fromEnvironment(cmd.Flags())
	require.NoError(t, err)
	o.env, err = cmd.Flags().GetStringArray("env")
	require.NoError(t, err)
	require.NoError(t, o.check())
	require.Equal(t, map[string]string{"A": "1,2", "B": "3 4"}, o.environment)
}
