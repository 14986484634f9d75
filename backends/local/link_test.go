package local_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/backends/local"
)

// opener opens backends that share a base folder.
func opener(t *testing.T) (open func() *local.Backend, base string) {
	t.Helper()
	base, runtime := folders(t)
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	return func() *local.Backend {
		b, err := local.Open(t.Context(), local.Config{Python: python, BaseDir: base, RuntimeDir: runtime, NoForkServer: true})
		require.NoError(t, err)
		return b
	}, base
}

func TestWorkspaceIsALinkInTheBaseFolder(t *testing.T) {
	open, base := opener(t)
	b := open()
	defer func() { require.NoError(t, b.Close()) }()
	top := t.TempDir()
	mine, alias := filepath.Join(top, "mine"), filepath.Join(top, "alias")
	require.NoError(t, os.Mkdir(mine, 0o755))
	require.NoError(t, os.Symlink("mine", alias))
	in, err := b.Create(t.Context(), backends.Spec{ID: "one", WorkspacePath: alias})
	require.NoError(t, err)
	link := filepath.Join(base, "ws-one")
	require.Equal(t, link, in.Workspace())
	target, err := os.Readlink(link)
	require.NoError(t, err)
	require.Equal(t, mine, target, "not the alias, which could lead elsewhere later")
	two, err := b.Create(t.Context(), backends.Spec{ID: "two", WorkspacePath: mine})
	require.NoError(t, err, "sandboxes may share a folder")
	require.NoError(t, in.Destroy(t.Context()))
	_, err = two.Files().List(t.Context(), "", 1)
	require.NoError(t, err)
}

// TestSweepRemovesTheLinkAlone makes what an engine leaves that was killed: the link may lead to the user's folder, to another
// sandbox, nowhere, or have become something else by now.
func TestSweepRemovesTheLinkAlone(t *testing.T) {
	open, base := opener(t)
	require.NoError(t, open().Close())
	mine := t.TempDir()
	stranger := filepath.Join(base, "ws-stranger")
	for _, dir := range []string{mine, stranger} {
		if dir == stranger {
			require.NoError(t, os.Mkdir(dir, 0o700))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("mine"), 0o600))
	}
	for id, target := range map[string]string{
		"user": mine, "relative": "ws-stranger", "absolute": stranger, "dangling": filepath.Join(mine, "none"), "round": "ws-round", "self": ".",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(base, "ws-"+id)))
		private := filepath.Join(base, "env-"+id)
		require.NoError(t, os.MkdirAll(filepath.Join(private, "home"), 0o700))
		require.NoError(t, os.Symlink(mine, filepath.Join(private, "home", "link"))) // what code may leave
		require.NoError(t, os.WriteFile(filepath.Join(private, "owner"), []byte(`{"mark":"m`+id+`"}`), 0o600))
	}
	b := open()
	defer func() { require.NoError(t, b.Close()) }()
	require.Eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(base, "*"))
		return err == nil && len(left) == 1 && left[0] == stranger
	}, 10*time.Second, time.Millisecond)
	for _, dir := range []string{mine, stranger} {
		data, err := os.ReadFile(filepath.Join(dir, "f"))
		require.NoError(t, err)
		require.Equal(t, "mine", string(data))
	}
}

// TestDestroyGoesByTheNameAlone lets the name of the workspace become something else while it is used.
func TestDestroyGoesByTheNameAlone(t *testing.T) {
	open, base := opener(t)
	b := open()
	defer func() { require.NoError(t, b.Close()) }()
	mine, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{mine, other} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	}
	link := filepath.Join(base, "ws-one")
	for _, become := range []func() error{
		func() error { return nil }, // it is gone
		func() error { return os.Symlink(other, link) },
		func() error { return os.WriteFile(link, nil, 0o600) },
		func() error { return os.MkdirAll(filepath.Join(link, "folder"), 0o700) },
	} {
		in, err := b.Create(t.Context(), backends.Spec{ID: "one", WorkspacePath: mine})
		require.NoError(t, err)
		require.NoError(t, os.Remove(link))
		require.NoError(t, become())
		_, err = in.Files().Stat(t.Context(), "f")
		require.NoError(t, err, "the folder that was opened is used")
		require.NoError(t, in.Destroy(t.Context()))
		require.NoFileExists(t, link)
		require.FileExists(t, filepath.Join(mine, "f"))
		require.FileExists(t, filepath.Join(other, "f"))
	}
}
