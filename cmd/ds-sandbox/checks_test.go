package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKernelsAreListed(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		c := start(t, nil, "kernels", "--python", python)
		require.Equal(t, 0, c.wait())
		require.Regexp(t, `(?m)^NAME +LANGUAGE +DESCRIPTION`, c.out.String())
		require.Regexp(t, `(?m)^python3 +python +Python 3`, c.out.String())

		c = start(t, nil, "kernels", "--json", "--python", python)
		require.Equal(t, 0, c.wait())
		var kernels []kernelJSON
		require.NoError(t, json.Unmarshal([]byte(c.out.String()), &kernels))
		require.Contains(t, c.out.String(), `"name":"python3","language":"python"`)
	})
}

func TestDoctorTriesAKernel(t *testing.T) {
	t.Setenv("SANDBOX_TIMEOUT", "90")
	t.Setenv("DS_SANDBOX_PRELOAD", "json,no_such.module")
	eachPython(t, func(t *testing.T, python string) {
		c := start(t, nil, "doctor", "--python", python)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Contains(t, c.out.String(), "* "+python)
		require.Regexp(t, `kernel ipython \S+, protocol 5\.\d: ready in \d+ ms, 1 \+ 1 took`, c.out.String())
		require.Regexp(t, `isolation (files|none) \(.+\)`, c.out.String())
		require.Regexp(t, `Python +\S+ \(--python\)`, c.out.String())
		require.Regexp(t, `DefaultTimeout +1m30s \(environment SANDBOX_TIMEOUT\)`, c.out.String())
		require.Contains(t, c.out.String(), "not preloaded for lack of them: no_such.module\n")
		require.Contains(t, c.out.String(), "all is well")

		c = start(t, nil, "doctor", "--json", "--python", python)
		require.Equal(t, 0, c.wait())
		var r diagnosis
		require.NoError(t, json.Unmarshal([]byte(c.out.String()), &r))
		require.Positive(t, r.Engine.CreateSeconds)
		require.NotEmpty(t, r.Python.Packages["ipykernel"])
	})
}

func TestSetupOfAPythonThatIsThereNamesIt(t *testing.T) {
	t.Setenv("DS_SANDBOX_DATA_DIR", t.TempDir())
	eachPython(t, func(t *testing.T, python string) {
		c := start(t, nil, "setup", "--python", python)
		require.Equal(t, 0, c.wait(), c.err.String())
		require.Contains(t, c.out.String(), "ready: "+python+" (Python 3.")

		c = start(t, nil, "setup", "--quiet", "--python", python)
		require.Equal(t, 0, c.wait())
		require.Equal(t, python+"\n", c.out.String())
		require.Empty(t, c.err.String())

		c = start(t, nil, "setup", "--json", "--python", python)
		require.Equal(t, 0, c.wait())
		var p pythonJSON
		require.NoError(t, json.Unmarshal([]byte(c.out.String()), &p))
		require.Equal(t, python, p.Executable)
	})
}
