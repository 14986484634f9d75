package pyenv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFindTakesTheFirstThatHasAKernel(t *testing.T) {
	m := newMachine(t)
	ctx := context.Background()

	system := m.python(filepath.Join(m.root, "usr", "python3"), "3.11.2", "ipykernel")
	systemPythons = []string{system}
	requireFound(t, system)

	path := m.python(m.onPath("python3"), "3.12.1", "ipykernel")
	requireFound(t, path)

	managed := m.python(managedPython(m.data), "3.12.1", "ipykernel")
	requireFound(t, path) // no marker: a setup was broken off
	m.finishSetup()
	requireFound(t, managed)

	env := filepath.Join(m.root, "env")
	t.Setenv("VIRTUAL_ENV", env)
	requireFound(t, managed) // the folder is gone
	active := m.python(filepath.Join(env, "bin", "python"), "3.13.0", "ipykernel")
	requireFound(t, active)

	asked := m.python(filepath.Join(m.root, "mine"), "3.11.0", "ipykernel")
	t.Setenv("DS_SANDBOX_PYTHON", asked)
	requireFound(t, asked)

	option := m.python(filepath.Join(m.root, "option"), "3.11.0", "ipykernel")
	p, err := Find(ctx, Options{Python: option})
	require.NoError(t, err)
	require.Equal(t, option, p.Executable)
}

func requireFound(t *testing.T, path string) {
	t.Helper()
	p, err := Find(context.Background(), Options{})
	require.NoError(t, err)
	require.Equal(t, path, p.Executable)
	survey := Survey(context.Background(), Options{})
	for _, a := range survey {
		if a.Err == nil {
			require.Equal(t, path, a.Path)
			return
		}
	}
	t.Fatal("Survey finds none")
}

func TestFindPassesOverWhatDoesNotDo(t *testing.T) {
	m := newMachine(t)
	second := filepath.Join(m.root, "second")
	t.Setenv("PATH", m.bin+":relative:"+second+":/nonexistent")
	env := filepath.Join(m.root, "env")
	t.Setenv("VIRTUAL_ENV", env)

	m.python(filepath.Join(env, "bin", "python"), "3.12.0", "numpy")
	m.script(m.onPath("python3"), "echo I am no Python")
	good := m.python(filepath.Join(second, "python3"), "3.12.0", "ipykernel")
	requireFound(t, good)
}

func TestFindUnderstandsNamesAndFoldersOfEnvironments(t *testing.T) {
	m := newMachine(t)
	named := m.python(m.onPath("python3.12"), "3.12.0", "ipykernel")
	inFolder := m.python(filepath.Join(m.root, "env", "bin", "python"), "3.12.0", "ipykernel")
	for asked, want := range map[string]string{
		"python3.12": named, named: named, filepath.Join(m.root, "env"): inFolder,
	} {
		p, err := Find(context.Background(), Options{Python: asked})
		require.NoError(t, err)
		require.Equal(t, want, p.Executable)
	}
}

func TestFindErrorSaysWhatWasTriedAndWhatToDo(t *testing.T) {
	t.Run("nothing there", func(t *testing.T) {
		newMachine(t)
		_, err := Find(context.Background(), Options{})
		require.ErrorIs(t, err, ErrNotFound)
		require.ErrorContains(t, err, "ds-sandbox setup")
	})
	t.Run("none has a kernel", func(t *testing.T) {
		m := newMachine(t)
		bare := m.python(m.onPath("python3"), "3.12.0")
		m.python(managedPython(m.data), "3.12.0", "ipykernel")
		_, err := Find(context.Background(), Options{})
		require.ErrorIs(t, err, ErrNotFound)
		require.ErrorContains(t, err, bare+", python3 on PATH: has no ipykernel")
		require.ErrorContains(t, err, "its setup was broken off")
	})
	t.Run("the chosen one is not replaced by another", func(t *testing.T) {
		m := newMachine(t)
		good := m.python(m.onPath("python3"), "3.12.0", "ipykernel")
		for name, asked := range map[string]string{
			"has no ipykernel":             m.python(filepath.Join(m.root, "bare"), "3.12.0"),
			"is Python 3.8.10: 3.9":        m.python(filepath.Join(m.root, "old"), "3.8.10", "ipykernel"),
			"is Python 2.7.18: 3.9":        m.python(filepath.Join(m.root, "ancient"), "2.7.18", "ipykernel"),
			"it answers no Python's":       m.script(filepath.Join(m.root, "strange"), "echo '['"),
			"exit status 3: cannot do it!": m.script(filepath.Join(m.root, "failing"), "echo cannot do it! >&2; exit 3"),
			"no such file":                 filepath.Join(m.root, "missing"),
		} {
			_, err := Find(context.Background(), Options{Python: asked})
			require.ErrorIs(t, err, ErrNotFound, name)
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, asked)
			require.NotContains(t, err.Error(), good)
		}
	})
}

func TestFindEndsWithItsContext(t *testing.T) {
	m := newMachine(t)
	m.script(m.onPath("python3"), "exec /bin/sleep 100")
	reason := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, reason)
	defer cancel()
	start := time.Now()
	_, err := Find(ctx, Options{})
	require.ErrorIs(t, err, reason)
	require.Less(t, time.Since(start), 10*time.Second)
}

func TestMissingListsWhatSandboxesShouldHave(t *testing.T) {
	m := newMachine(t)
	p, err := Find(context.Background(), Options{Python: m.python(m.onPath("python3"), "3.12.0", "ipykernel", "numpy", "pillow")})
	require.NoError(t, err)
	require.Equal(t, []string{"matplotlib", "pandas", "scikit-learn"}, Missing(p))
}

func TestDataDirFollowsTheUsersSettings(t *testing.T) {
	newMachine(t)
	require.Equal(t, "/given", DataDir("/given"))
	require.Equal(t, os.Getenv("DS_SANDBOX_DATA_DIR"), DataDir(""))
	t.Setenv("DS_SANDBOX_DATA_DIR", "")
	t.Setenv("XDG_DATA_HOME", "/xdg")
	require.Equal(t, "/xdg/ds-sandbox", DataDir(""))
	t.Setenv("XDG_DATA_HOME", "relative/is/ignored")
	require.Equal(t, os.Getenv("HOME"), filepath.Dir(filepath.Dir(filepath.Dir(DataDir("")))))
}
