package archive_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// pack packs a folder strictly, unpacks it elsewhere, and returns what came there and what was left out.
func pack(t *testing.T, from string, follow archive.Follow) (tree map[string]string, left map[string]error) {
	t.Helper()
	var buf bytes.Buffer
	left = make(map[string]error)
	skipped := new(backends.SkippedError)
	err := archive.Pack(t.Context(), openRoot(t, from), ".", &buf, &archive.Options{Strict: true, Follow: follow})
	if errors.As(err, &skipped) {
		for _, s := range skipped.Skipped {
			left[s.Name] = s.Err
		}
	} else {
		require.NoError(t, err)
	}
	to := t.TempDir()
	require.NoError(t, archive.Unpack(t.Context(), openRoot(t, to), &buf, &archive.Options{OutwardLinks: true}))
	tree = treeOf(t, to)
	for name, is := range tree {
		if is != "folder" && filepath.Base(name) != "link" {
			tree[name] = "file"
		}
	}
	return tree, left
}

func TestLinksAreFollowedAsFarAsAsked(t *testing.T) {
	top := t.TempDir()
	dir, outside := filepath.Join(top, "dir"), filepath.Join(top, "outside")
	for _, d := range []string{filepath.Join(dir, "d", "e"), filepath.Join(outside, "o")} {
		require.NoError(t, os.MkdirAll(d, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(d, "f"), nil, 0o600))
	}
	for name, target := range map[string]string{
		"file": "d/e/f", "folder": "d", "whole": filepath.Join(dir, "d", "e", "f"), "through": "folder/e", "d/up": "..", "d/e/self": ".", "me": "me",
		"nowhere": "none", "out": outside, "outfile": "../outside/o/f", "all": "/", "above": top, "zero": "/dev/zero",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	require.NoError(t, os.Symlink("../dir/d", filepath.Join(outside, "back")))
	alias := filepath.Join(top, "alias") // the folder's name has a link in it
	require.NoError(t, os.Symlink("dir", alias))

	tree, left := pack(t, alias, archive.FollowInside)
	require.Equal(t, map[string]string{
		"d": "folder", "d/e": "folder", "d/e/f": "file", "file": "file", "folder": "folder", "folder/e": "folder", "folder/e/f": "file",
		"whole": "file", "through": "folder", "through/f": "file",
	}, tree)
	for name, why := range map[string]error{
		"d/up": backends.ErrLoop, "d/e/self": backends.ErrLoop, "folder/up": backends.ErrLoop, "folder/e/self": backends.ErrLoop,
		"through/self": backends.ErrLoop, "me": backends.ErrLoop, "nowhere": fs.ErrNotExist, "out": backends.ErrOutside,
		"outfile": backends.ErrOutside, "all": backends.ErrLoop, "above": backends.ErrLoop, "zero": backends.ErrOutside,
	} {
		require.ErrorIs(t, left[name], why, name)
		delete(left, name)
	}
	require.Empty(t, left)

	tree, left = pack(t, alias, archive.FollowAll)
	for name, is := range map[string]string{"out": "folder", "out/o/f": "file", "outfile": "file", "out/back/e/f": "file"} {
		require.Equal(t, is, tree[name], name)
	}
	require.ErrorIs(t, left["zero"], backends.ErrNotRegular)
	require.ErrorIs(t, left["out/back/up"], backends.ErrLoop)
	require.NotContains(t, left, "out")

	err := archive.Pack(t.Context(), openRoot(t, dir), ".", new(bytes.Buffer), &archive.Options{Follow: "some"})
	require.ErrorContains(t, err, `"some"`)
}

func TestWhatIsNoFileIsNamed(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	require.NoError(t, os.Symlink("fifo", filepath.Join(dir, "link")))
	tree, left := pack(t, dir, "")
	require.Equal(t, map[string]string{"link": "fifo"}, tree)
	require.ErrorIs(t, left["fifo"], backends.ErrNotRegular)
	require.ErrorContains(t, left["fifo"], "FIFO")
	_, left = pack(t, dir, archive.FollowAll)
	require.ErrorIs(t, left["link"], backends.ErrNotRegular)
	require.Len(t, left, 2)
}

// TestWhatIsLeftOutIsNotRemoved: that a file can't be read is no reason to remove the one that was sent before.
func TestWhatIsLeftOutIsNotRemoved(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(from, "b"), 0o600))
	for _, name := range []string{"a", "b/c", "d"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(to, name), nil, 0o600))
	}
	var buf bytes.Buffer
	count := new(archive.Count)
	err := archive.Pack(t.Context(), openRoot(t, from), ".", &buf, &archive.Options{
		Strict: true, Count: count, Difference: &archive.Difference{Delete: true, Next: listing("a", "b", "b/c", "d")},
	})
	require.ErrorIs(t, err, backends.ErrNotRegular)
	require.Equal(t, 2, count.Deleted)
	require.NoError(t, archive.Unpack(t.Context(), openRoot(t, to), &buf, &archive.Options{Remove: (*os.Root).RemoveAll}))
	require.FileExists(t, filepath.Join(to, "b", "c"))
	require.NoFileExists(t, filepath.Join(to, "a"))
	require.NoFileExists(t, filepath.Join(to, "d"))
}

// TestFilesThatNeverStandStillAreNamed has files that change while they are packed: what arrives is one state of each, or is named.
func TestFilesThatNeverStandStillAreNamed(t *testing.T) {
	dir := t.TempDir()
	const size = 1 << 20
	for i := range 4 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), make([]byte, size), 0o600))
	}
	restless := filepath.Join(dir, "0")
	stop := meanwhile(func(i int) {
		f, err := os.OpenFile(restless, os.O_WRONLY, 0)
		if err == nil {
			_, _ = f.WriteAt([]byte(strconv.Itoa(i)), int64(i%size))
			_ = f.Close()
		}
	})
	named := false
	for range 200 {
		_, left := pack(t, dir, "")
		for name, err := range left {
			require.Equal(t, "0", name)
			require.ErrorIs(t, err, backends.ErrChanged)
			named = true
		}
		if named {
			break
		}
	}
	stop()
	require.True(t, named)
	_, left := pack(t, dir, "")
	require.Empty(t, left)
}

// TestLinksThatLeadCrosswiseEnd: folders with links to each other make many more ways than there are folders.
func TestLinksThatLeadCrosswiseEnd(t *testing.T) {
	dir := t.TempDir()
	const n = 5
	for i := range n {
		sub := filepath.Join(dir, strconv.Itoa(i))
		require.NoError(t, os.Mkdir(sub, 0o755))
		for j := range n {
			require.NoError(t, os.Symlink("../"+strconv.Itoa(j), filepath.Join(sub, "to"+strconv.Itoa(j))))
		}
	}
	tree, left := pack(t, dir, archive.FollowInside)
	require.Len(t, left, backends.MaxSkipped)
	require.Contains(t, tree, "0/to1/to2/to3/to4")
}
