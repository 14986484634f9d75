package pyenv

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/images"
)

func TestSetupTakesWhatIsThere(t *testing.T) {
	m := newMachine(t)
	python := m.python(m.onPath("python3"), "3.12.0", "ipykernel")
	p, err := Setup(context.Background(), Options{})
	require.NoError(t, err)
	require.Equal(t, python, p.Executable)
	require.NoDirExists(t, m.data)
}

func TestSetupMakesTheManagedEnvironment(t *testing.T) {
	m, packages := realPython(t)
	wheels(t, packages, images.Requirements)
	t.Setenv("PYTHONPATH", packages) // must count for nothing
	t.Setenv("PIP_TARGET", filepath.Join(m.root, "elsewhere"))
	var said []string
	opts := Options{Managed: true, Progress: func(line string) { said = append(said, line) }}
	p, err := Setup(context.Background(), opts)
	require.NoError(t, err, strings.Join(said, "\n"))
	require.Equal(t, managedPython(m.data), p.Executable)
	require.Empty(t, Missing(p))
	require.Contains(t, strings.Join(said, "\n"), "installing ipykernel, matplotlib")
	require.FileExists(t, filepath.Join(p.FontCache, "fontlist-v1.json"))
	requireFound(t, p.Executable)

	t.Run("a second one has nothing to do", func(t *testing.T) {
		said = nil
		_, err := Setup(context.Background(), opts)
		require.NoError(t, err)
		require.Empty(t, said)
	})
	t.Run("the tests' list is added to it", func(t *testing.T) {
		wheels(t, packages, images.TestRequirements)
		_, err := Setup(context.Background(), Options{Managed: true, Tests: true})
		require.NoError(t, err)
		require.NoError(t, exec.Command(p.Executable, "-I", "-c", "import pytest").Run())
		said = nil
		_, err = Setup(context.Background(), opts) // the larger list includes the smaller
		require.NoError(t, err)
		require.Empty(t, said)
	})
	t.Run("one that was broken off is mended", func(t *testing.T) {
		require.NoError(t, os.Remove(markerFile(m.data)))
		require.NoError(t, os.Remove(managedPython(m.data)))
		_, err := Find(context.Background(), Options{Python: p.Executable})
		require.Error(t, err)
		_, err = Setup(context.Background(), opts)
		require.NoError(t, err)
		requireFound(t, p.Executable)
	})
}

func TestTwoSetupsAtOnceWaitForOneAnother(t *testing.T) {
	_, packages := realPython(t)
	wheels(t, packages, images.Requirements)
	var mu sync.Mutex
	var made, waited int
	var wg sync.WaitGroup
	var failures [2]error
	for i := range failures {
		wg.Go(func() {
			_, failures[i] = Setup(context.Background(), Options{Managed: true, Progress: func(line string) {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(line, "making an environment") {
					made++
				}
				if strings.HasPrefix(line, "waiting") {
					waited++
				}
			}})
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(failures[:]...))
	require.Equal(t, 1, made)
	require.Equal(t, 1, waited)
}

func TestSetupWithoutPackagesSaysSoAndLeavesNoHalfOne(t *testing.T) {
	m, _ := realPython(t)
	_, err := Setup(context.Background(), Options{Managed: true})
	require.ErrorContains(t, err, "install packages: python: exit status 1: ERROR: No matching distribution found")
	require.ErrorContains(t, err, "name it with --python")
	require.NoFileExists(t, markerFile(m.data))
	for _, a := range Survey(context.Background(), Options{}) {
		require.False(t, a.Err == nil && strings.HasPrefix(a.Path, m.data))
	}
}

func TestSetupWithABrokenPackageFails(t *testing.T) {
	m, packages := realPython(t)
	wheels(t, packages, images.Requirements)
	var version string
	for line := range strings.SplitSeq(images.Requirements, "\n") {
		if name, v, ok := strings.Cut(line, "=="); ok && name == "pandas" {
			version = v
		}
	}
	wheel(t, packages, "pandas", version, map[string]string{"pandas/__init__.py": "raise ImportError('wrong processor')"})
	_, err := Setup(context.Background(), Options{Managed: true})
	require.ErrorContains(t, err, "wrong processor")
	require.NoFileExists(t, markerFile(m.data))
}

func TestSetupWithoutANewPythonSaysWhatItTried(t *testing.T) {
	m := newMachine(t)
	was := baseNames
	t.Cleanup(func() { baseNames = was })
	baseNames = []string{"python3", "python3.13"}
	old := m.python(m.onPath("python3"), "3.10.4")
	_, err := Setup(context.Background(), Options{})
	require.ErrorContains(t, err, "no Python 3.11 or later found (tried "+old+": is 3.10.4, python3.13: not found)")

	_, err = Setup(context.Background(), Options{Managed: true, Python: filepath.Join(m.root, "none")})
	require.ErrorContains(t, err, filepath.Join(m.root, "none")+": not found")
}

func TestSetupFallsBackToDebiansPackages(t *testing.T) {
	m := newMachine(t)
	was := baseNames
	t.Cleanup(func() { baseNames = was })
	baseNames = []string{"python3"}
	canInstall = func() bool { return true }
	m.python(m.onPath("python3"), "3.10.4")
	m.script(m.onPath("apt-get"), `echo "$@" >> "$0.log"; echo "E: apt is out of order" >&2; exit 100`)
	_, err := Setup(context.Background(), Options{Managed: true})
	require.ErrorContains(t, err, "E: apt is out of order")
	log, err := os.ReadFile(m.onPath("apt-get.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "install -y -qq --no-install-recommends "+strings.Join(debianPackages, " "))
}

func TestCancelledSetupEndsWhatItStarted(t *testing.T) {
	m := newMachine(t)
	was := baseNames
	t.Cleanup(func() { baseNames = was })
	base := m.onPath("python3")
	baseNames = []string{base}
	pidFile := filepath.Join(m.root, "pid")
	// Making an environment starts a program that does not end.
	m.script(base, `case "$*" in
*venv*) /bin/sleep 300 & echo $! > `+pidFile+`; echo hanging; wait;;
*) echo '{"executable": "`+base+`", "version": "3.12.0", "packages": {}}';;
esac
`)
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	_, err := Setup(ctx, Options{Managed: true, Progress: func(line string) {
		if line == "hanging" {
			cancel(reason)
		}
	}})
	require.ErrorIs(t, err, reason)
	text, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	require.Eventually(t, func() bool { return gone(pid) }, 10*time.Second, 10*time.Millisecond)
}

// gone reports whether a process ended; one that nobody has collected yet has.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestWaitingForAnotherSetupEndsWithTheContext(t *testing.T) {
	m := newMachine(t)
	path := filepath.Join(m.root, "lock")
	unlock, err := lock(context.Background(), path, func() { t.Error("nobody holds it") })
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(context.Background())
	_, err = lock(ctx, path, cancel)
	require.ErrorIs(t, err, context.Canceled)
}

func TestProgressIsCutIntoLines(t *testing.T) {
	var lines []string
	w := &lineWriter{line: func(s string) { lines = append(lines, s) }}
	for _, part := range []string{"one\ntw", "o\r\n\n  three  \r", strings.Repeat("x", 3*maxLine), "\nlast"} {
		n, err := w.Write([]byte(part))
		require.NoError(t, err)
		require.Equal(t, len(part), n)
	}
	require.Equal(t, "last", w.finish())
	require.Equal(t, []string{"one", "two", "three", strings.Repeat("x", maxLine), "last"}, lines)
}

func TestTheListsArePinned(t *testing.T) {
	for _, list := range []string{images.Requirements, images.TestRequirements} {
		for line := range strings.SplitSeq(strings.TrimSpace(list), "\n") {
			if !strings.HasPrefix(line, "#") {
				require.Regexp(t, `^[a-z0-9_-]+==[0-9.]+(\.post[0-9]+)?$`, line)
			}
		}
	}
}
