package backendtest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// outsideDir is a folder of a container that is not its workspace, where its own code may write.
const outsideDir = "/var/tmp/suite-outside"

// makeOutside makes a folder outside of the workspace that the instance's links can lead to: on this machine or, where the instance
// has a file system of its own, in that. The returned function tells what is in it, as tree does.
func makeOutside(
	t *testing.T, ctx context.Context, in backends.Instance, files map[string]string,
) (dir string, now func() map[string]string) {
	t.Helper()
	if in.Isolation() != backends.IsolationContainer {
		dir = t.TempDir()
		plant(t, dir, files)
		return dir, func() map[string]string { return tree(t, dir) }
	}
	python := func(code string) string {
		head := "import json, os, pathlib\nd = pathlib.Path('" + outsideDir + "')\n"
		out, errText, status := finished(t, ctx, in, backends.Cmd{Args: []string{"python3", "-c", head + code}})
		require.Equal(t, 0, status.Code, errText)
		return out
	}
	data, err := json.Marshal(files)
	require.NoError(t, err)
	text, err := json.Marshal(string(data))
	require.NoError(t, err)
	python(fmt.Sprintf("for name, text in json.loads(%s).items():\n"+
		"    (d / name).parent.mkdir(parents=True, exist_ok=True)\n    (d / name).write_text(text)", text))
	return outsideDir, func() map[string]string {
		found := make(map[string]string)
		out := python("print(json.dumps({str(p.relative_to(d)): 'folder' if p.is_dir() else p.read_text() for p in d.rglob('*')}))")
		require.NoError(t, json.Unmarshal([]byte(out), &found))
		return found
	}
}
