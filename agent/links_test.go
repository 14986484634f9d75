package agent

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// linked is a workspace with an allowed root, and a canary folder that must stay out of reach.
func linked(t *testing.T) (f *files, ws, root, canary string) {
	t.Helper()
	top := t.TempDir()
	ws, root, canary = filepath.Join(top, "ws"), filepath.Join(top, "root"), filepath.Join(top, "canary")
	for _, dir := range []string{ws, root, canary} {
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte(filepath.Base(dir)), 0o644))
	}
	f, err := openFiles(ws, root)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f, ws, root, canary
}

// untouched checks a canary folder.
func untouched(t *testing.T, canary string) {
	t.Helper()
	names, err := os.ReadDir(canary)
	require.NoError(t, err)
	require.Len(t, names, 1, "something was made there, or removed")
	data, err := os.ReadFile(filepath.Join(canary, "f"))
	require.NoError(t, err)
	require.Equal(t, "canary", string(data))
}

// swapping calls swap again and again until the test's work is done.
func swapping(swap func(), work func()) {
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				swap()
			}
		}
	})
	work()
	close(stop)
	swapper.Wait()
}

func TestResolve(t *testing.T) {
	f, ws, root, canary := linked(t)
	alias := filepath.Join(filepath.Dir(ws), "alias")
	require.NoError(t, os.Symlink(root, alias))
	long := canary + strings.Repeat("/long", 500)
	for name, target := range map[string]string{
		"abs": root, "rel": "../root", "file": root + "/f", "self": ws, "round": "round", "one": "two", "two": "one", "dots": root + "/../canary",
		"out": canary, "up": "..", "alias": alias, "slash": "/", "proc": "/proc/self/root" + canary, "long": long, "back": root + "/../ws/f", "not": "missing",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(ws, name)))
	}
	for name, want := range map[string]string{
		"f": "ws", "abs/f": "root", "rel/f": "root", "file": "root", "self/f": "ws", "back": "ws", "self/abs/f": "root", "up/root/f": "root", "slash" + root + "/f": "root",
	} {
		in, at, err := f.at(name, true)
		require.NoError(t, err, name)
		data, err := in.root.ReadFile(at)
		require.NoError(t, err, name)
		require.Equal(t, want, string(data), name)
	}
	for _, name := range []string{"out/f", "dots/f", "up", "up/canary/f", "alias/f", "slash", "slash/etc/passwd", "proc/f", "long"} {
		_, _, err := f.at(name, true)
		require.ErrorIs(t, err, backends.ErrOutside, name)
		require.ErrorContains(t, err, "AllowedRoots", name)
		require.Less(t, len(err.Error()), 700)
	}
	for _, name := range []string{"round", "one", "round/f"} {
		_, err := f.Open(t.Context(), name, nil)
		require.Error(t, err, name)
	}
	_, err := f.Write(t.Context(), "not", strings.NewReader("made"), nil)
	require.NoError(t, err, "a link to a file that is to be")
	require.FileExists(t, filepath.Join(ws, "missing"))
}

func TestRootThatIsALinkIsKnownByBothNames(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"ws", "real"} {
		require.NoError(t, os.Mkdir(filepath.Join(top, dir), 0o755))
	}
	require.NoError(t, os.Symlink("real", filepath.Join(top, "alias")))
	require.NoError(t, os.WriteFile(filepath.Join(top, "real", "f"), nil, 0o644))
	require.NoError(t, os.Symlink(filepath.Join(top, "alias"), filepath.Join(top, "ws", "one")))
	require.NoError(t, os.Symlink(filepath.Join(top, "real"), filepath.Join(top, "ws", "two")))
	f, err := openFiles(filepath.Join(top, "ws"), filepath.Join(top, "alias"))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	for _, name := range []string{"one/f", "two/f"} {
		_, err := f.Stat(t.Context(), name)
		require.NoError(t, err, name)
	}
}

// TestSwappedLinksLeadIntoRootsOrNowhere swaps a link for one elsewhere, or for a folder, while everything is done through it.
func TestSwappedLinksLeadIntoRootsOrNowhere(t *testing.T) {
	f, ws, root, canary := linked(t)
	ctx, link, aside := t.Context(), filepath.Join(ws, "d"), filepath.Join(ws, "aside")
	require.NoError(t, os.Mkdir(aside, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(aside, "f"), []byte("aside"), 0o644))
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	swapping(func() {
		for _, target := range []string{root, canary, "../canary"} {
			_ = os.Symlink(target, link)
			_ = os.Remove(link)
		}
		_ = os.Rename(aside, link)
		_ = os.Rename(link, aside)
	}, func() {
		for range rounds {
			if r, err := f.Open(ctx, "d/f", nil); err == nil {
				data, err := io.ReadAll(r)
				require.NoError(t, err)
				require.NoError(t, r.Close())
				require.NotContains(t, string(data), "canary")
			}
			var stream bytes.Buffer
			_ = f.Export(ctx, "d", &stream)
			require.NotContains(t, stream.String(), "canary")
			_, _ = f.Write(ctx, "d/new", strings.NewReader("x"), nil)
			_, _ = f.List(ctx, "d", 2)
			_ = f.Copy(ctx, "d", "copy")
			_ = f.Copy(ctx, "d/f", "d/g")
			_ = f.Rename(ctx, "d/new", "d/newer")
			_ = f.MakeDir(ctx, "d/sub")
			_ = f.SetMetadata(ctx, "d/f", map[string]string{"k": "v"})
			_, _ = f.folder("d/dir")
			_ = f.Remove(ctx, "d/sub")
			_ = f.Remove(ctx, "d/g")
		}
	})
	untouched(t, canary)
	for _, dir := range []string{ws, root} {
		left, err := filepath.Glob(filepath.Join(dir, "*", ".ds-sandbox-*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	data, err := os.ReadFile(filepath.Join(root, "f"))
	require.NoError(t, err)
	require.Equal(t, "root", string(data))
}

// TestRemoveAllFollowsNoLink swaps the folder that is being removed, and one in it, for links to a canary beside.
func TestRemoveAllFollowsNoLink(t *testing.T) {
	top := t.TempDir()
	canary := filepath.Join(top, "canary")
	require.NoError(t, os.Mkdir(canary, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(canary, "f"), []byte("canary"), 0o644))
	root, err := os.OpenRoot(top)
	require.NoError(t, err)
	defer func() { require.NoError(t, root.Close()) }()

	require.NoError(t, os.Symlink(canary, filepath.Join(top, "absolute")))
	require.NoError(t, os.Symlink("canary", filepath.Join(top, "relative")))
	for _, name := range []string{"absolute", "relative"} {
		require.NoError(t, RemoveAll(t.Context(), root, name))
		require.NoFileExists(t, filepath.Join(top, name))
	}
	untouched(t, canary)

	dir, aside, fresh := filepath.Join(top, "dir"), filepath.Join(top, "aside"), filepath.Join(top, "fresh")
	swapping(func() {
		_ = os.MkdirAll(filepath.Join(fresh, "sub", "sub"), 0o755) // where no link can have been left to be followed
		_ = os.Rename(fresh, dir)
		_ = os.Rename(filepath.Join(dir, "sub"), aside)
		_ = os.Symlink("../canary", filepath.Join(dir, "sub"))
		_ = os.Rename(dir, filepath.Join(aside, "dir"))
		_ = os.Symlink("canary", dir)
		_ = os.Remove(dir)
		_ = os.RemoveAll(aside)
	}, func() {
		for range 30_000 { // some hundred swaps
			_ = RemoveAll(context.Background(), root, "dir")
		}
	})
	untouched(t, canary)
}
