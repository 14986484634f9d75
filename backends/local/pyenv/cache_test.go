package pyenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnswersAreKept(t *testing.T) {
	m := newMachine(t)
	bare := m.python(m.onPath("python3"), "3.12.0") // an answer of the wrong kind is kept as well
	good := m.python(filepath.Join(m.root, "system"), "3.12.0", "ipykernel")
	systemPythons = []string{good}
	first, err := Find(context.Background(), Options{})
	require.NoError(t, err)
	for range 3 {
		again, err := Find(context.Background(), Options{})
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
	require.Equal(t, 1, m.starts(bare))
	require.Equal(t, 1, m.starts(good))
}

func TestAnAnswerIsAskedForAgainWhenSomethingChanged(t *testing.T) {
	later := time.Now().Add(time.Hour)
	for name, change := range map[string]func(t *testing.T, m *machine, python, site string){
		"the interpreter": func(t *testing.T, _ *machine, python, _ string) {
			require.NoError(t, os.Chtimes(python, later, later))
		},
		"a package": func(t *testing.T, _ *machine, _, site string) {
			require.NoError(t, os.Chtimes(site, later, later))
		},
		"the package folder is gone": func(t *testing.T, _ *machine, _, site string) {
			require.NoError(t, os.RemoveAll(site))
		},
		"the version manager's choice above": func(t *testing.T, m *machine, _, _ string) {
			require.NoError(t, os.WriteFile(filepath.Join(m.root, ".python-version"), []byte("3.12\n"), 0o644))
		},
		"the version manager's global choice": func(t *testing.T, m *machine, _, _ string) {
			dir := filepath.Join(m.root, "home", ".pyenv")
			require.NoError(t, os.MkdirAll(dir, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "version"), []byte("3.12\n"), 0o644))
		},
		"the version manager's variable": func(t *testing.T, _ *machine, _, _ string) {
			t.Setenv("PYENV_VERSION", "3.12")
		},
		"the folder": func(t *testing.T, m *machine, _, _ string) { t.Chdir(m.bin) },
		"the cache is damaged": func(t *testing.T, _ *machine, python, _ string) {
			require.NoError(t, os.WriteFile(cacheFile(python), []byte(`{"python": {"executable"`), 0o600))
		},
		"the cache is of another version": func(t *testing.T, _ *machine, python, _ string) {
			require.NoError(t, os.WriteFile(cacheFile(python), []byte(`{"probe": 0, "stamps": {"/": ""}, "python": {}}`), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			work := filepath.Join(m.root, "work")
			require.NoError(t, os.MkdirAll(work, 0o755))
			t.Chdir(work)
			python := m.python(m.onPath("python3"), "3.12.0", "ipykernel")
			p, err := Find(context.Background(), Options{})
			require.NoError(t, err)
			change(t, m, python, p.SiteDirs[0])
			_, err = Find(context.Background(), Options{})
			require.NoError(t, err)
			require.Equal(t, 2, m.starts(python))
		})
	}
}

func TestFindWorksWithoutACache(t *testing.T) {
	m := newMachine(t)
	python := m.python(m.onPath("python3"), "3.12.0", "ipykernel")
	require.NoError(t, os.WriteFile(filepath.Join(m.root, "file"), nil, 0o644))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(m.root, "file")) // where no folder can be made
	for range 2 {
		_, err := Find(context.Background(), Options{})
		require.NoError(t, err)
	}
	require.Equal(t, 2, m.starts(python))
}

func TestTheCacheDoesNotGrowWithoutBound(t *testing.T) {
	m := newMachine(t)
	dir := cacheDir()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	old := time.Now().Add(-time.Hour)
	for i := range 3 * maxRemembered {
		name := filepath.Join(dir, fmt.Sprintf("python-%d.json", i))
		require.NoError(t, os.WriteFile(name, nil, 0o600))
		require.NoError(t, os.Chtimes(name, old, old))
	}
	python := m.python(m.onPath("python3"), "3.12.0", "ipykernel")
	for range 2 {
		_, err := Find(context.Background(), Options{})
		require.NoError(t, err)
	}
	require.Equal(t, 1, m.starts(python), "the newest answer stays")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.LessOrEqual(t, len(files), maxRemembered)
}

// BenchmarkFind measures what every start of a program pays.
func BenchmarkFind(b *testing.B) {
	if _, err := Find(context.Background(), Options{}); err != nil {
		b.Skip(err)
	}
	for b.Loop() {
		if _, err := Find(context.Background(), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
