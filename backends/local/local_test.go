package local_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/backends/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folders are a base and a runtime folder of a test's own.
func folders(t *testing.T) (base, runtime string) {
	t.Helper()
	runtime, err := os.MkdirTemp("", "dst") // a short path, for sockets
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	return filepath.Join(t.TempDir(), "base"), runtime
}

func TestLocalPassesTheSuite(t *testing.T) {
	first := true
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) {
		open := func(t *testing.T) backends.Backend {
			base, runtime := folders(t)
			b, err := local.Open(t.Context(), local.Config{Python: python, BaseDir: base, RuntimeDir: runtime, NoForkServer: true})
			require.NoError(t, err)
			return b
		}
		if first || backendtest.All() {
			backendtest.Run(t, open)
		} else { // files and limits know nothing of Pythons
			backendtest.RunKernels(t, open)
		}
		first = false
	})
}

func TestLocalPassesTheSuiteForAnOrdinaryUser(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the suite once more")
	}
	backendtest.AsOrdinaryUser(t, "^TestLocalPassesTheSuite$", "TestLocalPassesTheSuite/", "-test.short") // what is heavy is as heavy for everybody
}

func TestLimitsHoldWithoutControlGroups(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	backendtest.RunLimits(t, func(t *testing.T) backends.Backend {
		base, runtime := folders(t)
		b, err := local.Open(t.Context(), local.Config{Python: python, BaseDir: base, RuntimeDir: runtime, NoCgroup: true, NoForkServer: true})
		require.NoError(t, err)
		return b
	})
}

// create opens a backend and an instance without a kernel.
func create(t *testing.T) (*local.Backend, backends.Instance, string) {
	t.Helper()
	base, runtime := folders(t)
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	b, err := local.Open(t.Context(), local.Config{Python: python, BaseDir: base, RuntimeDir: runtime, NoForkServer: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	in, err := b.Create(t.Context(), backends.Spec{ID: "one"})
	require.NoError(t, err)
	return b, in, base
}

func TestFoldersAreTheOwnersAlone(t *testing.T) {
	_, in, base := create(t)
	info, err := os.Stat(base)
	require.NoError(t, err)
	require.Equal(t, os.ModeDir|os.ModeSticky|0o777, info.Mode())
	for _, name := range []string{"ws-one", "env-one"} {
		info, err := os.Stat(filepath.Join(base, name))
		require.NoError(t, err)
		require.Equal(t, os.ModeDir|0o700, info.Mode(), name)
	}
	require.Equal(t, filepath.Join(base, "ws-one"), in.Workspace())
}

func TestLinksNeverLeadOut(t *testing.T) {
	_, in, _ := create(t)
	ctx, files := t.Context(), in.Files()
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("s3cret"), 0o600))
	require.NoError(t, os.Symlink(secret, filepath.Join(in.Workspace(), "link")))
	require.NoError(t, os.Symlink(outside, filepath.Join(in.Workspace(), "dir")))
	require.NoError(t, os.Symlink("../../..", filepath.Join(in.Workspace(), "up")))
	for _, name := range []string{"link", "dir/secret", "up/etc/passwd"} {
		_, err := files.Open(ctx, name, nil)
		require.ErrorIs(t, err, backends.ErrOutside, name)
		_, err = files.Write(ctx, name, strings.NewReader("x"), nil)
		require.ErrorIs(t, err, backends.ErrOutside, name)
	}
	_, err := files.List(ctx, "dir", 1)
	require.Error(t, err)
	info, err := files.Stat(ctx, "link")
	require.NoError(t, err)
	require.Equal(t, backends.TypeLink, info.Type)
	require.Equal(t, secret, info.Target)
	require.NoError(t, files.Remove(ctx, "dir"), "a link is removed, not followed")
	require.NoError(t, files.Remove(ctx, "link"))
	data, err := os.ReadFile(secret)
	require.NoError(t, err)
	require.Equal(t, "s3cret", string(data))
}

func TestDevicesAreNeverOpened(t *testing.T) {
	_, in, _ := create(t)
	ctx, files := t.Context(), in.Files()
	for name, device := range map[string]uint32{"endless": unix.S_IFCHR, "disk": unix.S_IFBLK} {
		if err := unix.Mknod(filepath.Join(in.Workspace(), name), device|0o666, int(unix.Mkdev(1, 5))); err != nil {
			t.Skip("no device can be made here:", err)
		}
		_, err := files.Open(ctx, name, nil)
		require.ErrorIs(t, err, backends.ErrNotRegular)
		_, err = files.Write(ctx, name, strings.NewReader("x"), nil)
		require.ErrorIs(t, err, backends.ErrNotRegular)
		require.ErrorIs(t, files.Copy(ctx, name, "copy"), backends.ErrNotRegular)
		require.Error(t, files.SetMetadata(ctx, name, map[string]string{"a": "b"}))
		info, err := files.Stat(ctx, name)
		require.NoError(t, err)
		require.Equal(t, backends.TypeOther, info.Type)
	}
	var buf bytes.Buffer
	require.NoError(t, files.Export(ctx, "", &buf))
	require.NotContains(t, buf.String(), "endless")
	for _, name := range []string{"endless", "disk"} {
		require.NoError(t, files.Remove(ctx, name))
	}
}

func TestLinksSwappedMeanwhileNeverLeadOut(t *testing.T) {
	_, in, _ := create(t)
	ctx, files := t.Context(), in.Files()
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "f"), []byte("outside"), 0o600))
	dir, aside := filepath.Join(in.Workspace(), "d"), filepath.Join(in.Workspace(), "aside")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("inside"), 0o600))
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Rename(dir, aside)
				_ = os.Symlink(outside, dir)
				_ = os.Remove(dir)
				_ = os.Rename(aside, dir)
			}
		}
	})
	for range backendtest.Rounds(3000, 500) {
		if r, err := files.Open(ctx, "d/f", nil); err == nil {
			data := make([]byte, 16)
			n, _ := r.Read(data)
			require.NoError(t, r.Close())
			require.NotEqual(t, "outside", string(data[:n]))
		}
		_, _ = files.Write(ctx, "d/new", strings.NewReader("x"), nil)
		_ = files.Remove(ctx, "d/new")
	}
	close(stop)
	swapper.Wait()
	names, err := filepath.Glob(filepath.Join(outside, "*"))
	require.NoError(t, err)
	require.Len(t, names, 1, "something was written outside")
}

func TestWhatIsNoFileNeverBlocks(t *testing.T) {
	_, in, _ := create(t)
	makeFIFO(t, filepath.Join(in.Workspace(), "fifo"))
	_, err := in.Files().Open(t.Context(), "fifo", nil)
	require.ErrorIs(t, err, backends.ErrNotRegular)
	_, err = in.Files().Write(t.Context(), "fifo", strings.NewReader("x"), nil)
	require.ErrorIs(t, err, backends.ErrNotRegular)
	info, err := in.Files().Stat(t.Context(), "fifo")
	require.NoError(t, err)
	require.Equal(t, backends.TypeOther, info.Type)
}

func TestFoldersThatOthersControlAreRefused(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	base, runtime := folders(t)
	open := func(base, runtime string) error {
		b, err := local.Open(context.Background(), local.Config{Python: python, BaseDir: base, RuntimeDir: runtime, NoForkServer: true})
		if err == nil {
			require.NoError(t, b.Close())
		}
		return err
	}
	require.NoError(t, open(base, runtime))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(base, link))
	require.ErrorContains(t, open(link, runtime), "is a link")
	loose := filepath.Join(t.TempDir(), "loose")
	require.NoError(t, os.Mkdir(loose, 0o700))
	require.NoError(t, os.Chmod(loose, 0o777))
	require.ErrorContains(t, open(loose, runtime), "sticky")
	require.ErrorContains(t, open(base, loose), "open to others")
	require.ErrorContains(t, open(base, link), "not a folder but a link")
}

func TestWorkspaceOfALiveEngineIsNotSwept(t *testing.T) {
	_, in, base := create(t)
	b := in
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	_, runtime := folders(t)
	second, err := local.Open(t.Context(), local.Config{Python: python, BaseDir: base, RuntimeDir: runtime, NoForkServer: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, second.Close()) }()
	require.DirExists(t, b.Workspace())
	_, err = second.Create(t.Context(), backends.Spec{ID: "one"})
	require.ErrorContains(t, err, "taken", "two engines share a base folder but no id")
}

func TestLinksIntoTheWorkspaceAreFollowedWhateverTheirForm(t *testing.T) {
	_, in, _ := create(t)
	ctx, files, ws := t.Context(), in.Files(), in.Workspace()
	_, err := files.Write(ctx, "data/f", strings.NewReader("here"), nil)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(filepath.Join(ws, "data"), filepath.Join(ws, "absolute")))
	require.NoError(t, os.Symlink("data", filepath.Join(ws, "relative")))
	require.NoError(t, os.Symlink(filepath.Join(ws, "absolute", "f"), filepath.Join(ws, "twice")))
	require.NoError(t, os.Symlink("round", filepath.Join(ws, "round")))
	for _, name := range []string{"absolute/f", "relative/f", "twice"} {
		r, err := files.Open(ctx, name, nil)
		require.NoError(t, err, name)
		data, err := io.ReadAll(r)
		require.NoError(t, errors.Join(err, r.Close()))
		require.Equal(t, "here", string(data), name)
	}
	_, err = files.Write(ctx, "absolute/new", strings.NewReader("x"), nil)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(ws, "data", "new"))
	_, err = files.Open(ctx, "round", nil)
	require.Error(t, err)
}

func TestCreateAndCloseAtOnce(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	for round := range 20 {
		base, runtime := folders(t)
		b, err := local.Open(t.Context(), local.Config{Python: python, BaseDir: base, RuntimeDir: runtime, NoForkServer: true})
		require.NoError(t, err)
		var creators sync.WaitGroup
		for i := range 4 {
			creators.Go(func() {
				_, err := b.Create(context.Background(), backends.Spec{ID: "r" + strconv.Itoa(round) + "i" + strconv.Itoa(i)})
				if err != nil {
					require.ErrorContains(t, err, "closed")
				}
			})
		}
		err = b.Close()
		creators.Wait()
		require.NoError(t, err)
		left, err := filepath.Glob(filepath.Join(base, "*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// TestSweepNeedsNoRuntimeFolder kills an engine's locks with it, as a reboot does, and takes its runtime folder away.
func TestSweepNeedsNoRuntimeFolder(t *testing.T) {
	base, runtime := folders(t)
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	open := func() *local.Backend {
		b, err := local.Open(t.Context(), local.Config{Python: python, BaseDir: base, RuntimeDir: runtime, NoForkServer: true})
		require.NoError(t, err)
		return b
	}
	require.NoError(t, open().Close())
	// What a dead engine leaves: a note that nobody holds, and folders.
	for _, name := range []string{"ws-dead", "env-dead", "ws-stranger"} {
		require.NoError(t, os.Mkdir(filepath.Join(base, name), 0o700))
	}
	require.NoError(t, os.WriteFile(filepath.Join(base, "ws-dead", "f"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(base, "env-dead", "owner"), []byte(`{"mark":"m"}`), 0o600))
	b := open()
	defer func() { require.NoError(t, b.Close()) }()
	require.Eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(base, "*"))
		return err == nil && len(left) == 1 && left[0] == filepath.Join(base, "ws-stranger")
	}, 10*time.Second, time.Millisecond)
}
