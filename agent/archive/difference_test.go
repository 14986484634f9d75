package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
)

// entriesOf walks a folder, to be pulled.
func entriesOf(ctx context.Context, root *os.Root, hash bool) iter.Seq2[*backends.TreeEntry, error] {
	return func(yield func(*backends.TreeEntry, error) bool) {
		enough := errors.New("enough")
		err := archive.Walk(ctx, root, ".", &backends.WalkOptions{Hash: hash}, func(e *backends.TreeEntry) error {
			if !yield(e, nil) {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			yield(nil, err)
		}
	}
}

// send brings a folder to another, the difference alone.
func send(t *testing.T, from, to string, opts archive.Options, diff archive.Difference) archive.Count {
	t.Helper()
	target := openRoot(t, to)
	next, stop := iter.Pull2(entriesOf(t.Context(), target, diff.Hash))
	defer stop()
	diff.Next = func() (*backends.TreeEntry, error) {
		e, err, _ := next()
		return e, err
	}
	count := new(archive.Count)
	opts.Strict, opts.Count, opts.Difference = true, count, &diff
	var buf bytes.Buffer
	require.NoError(t, archive.Pack(t.Context(), openRoot(t, from), ".", &buf, &opts))
	require.NoError(t, archive.Unpack(t.Context(), target, &buf, &archive.Options{OutwardLinks: true, Remove: (*os.Root).RemoveAll}))
	return *count
}

// treeOf is what a folder holds; of folders the name alone.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			tree[rel] = "folder"
		case info.Mode()&fs.ModeSymlink != 0:
			tree[rel], err = os.Readlink(name)
		default:
			var data []byte
			data, err = os.ReadFile(name)
			tree[rel] = fmt.Sprintf("%v %v %d %s", info.Mode(), info.ModTime().UnixNano(), info.Size(), data)
		}
		return err
	}))
	return tree
}

// scramble makes, changes and removes things at random; names are such that the order of names in folders matters.
func scramble(t *testing.T, r *rand.Rand, dir string, steps int) {
	t.Helper()
	names := []string{"a", "a-", "a.b", "a0", "b", "\xff", "é", "a b"}
	for range steps {
		name := dir
		for range 1 + r.IntN(3) {
			name = filepath.Join(name, names[r.IntN(len(names))])
		}
		switch r.IntN(6) {
		case 0:
			_ = os.RemoveAll(name) // a file may be in the way, here and below
		case 1:
			_ = os.MkdirAll(name, 0o755)
		case 2:
			if os.MkdirAll(filepath.Dir(name), 0o755) == nil {
				_ = os.Symlink(names[r.IntN(len(names))], name)
			}
		default:
			if os.MkdirAll(filepath.Dir(name), 0o755) == nil {
				if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
					continue
				}
				_ = os.WriteFile(name, []byte{byte('a' + r.IntN(26))}, fs.FileMode(0o600|r.IntN(2)*0o055))
			}
		}
	}
}

func TestAnyTreeBecomesAnyOther(t *testing.T) {
	for seed := range uint64(backendtest.Rounds(2000, 25)) {
		r := rand.New(rand.NewPCG(seed, 1))
		from, to := t.TempDir(), t.TempDir()
		scramble(t, r, from, 60)
		scramble(t, r, to, 60)
		diff := archive.Difference{Delete: true, Hash: seed%2 == 1}
		send(t, from, to, archive.Options{}, diff)
		if !diff.Hash { // files of the same contents keep their time
			require.Equal(t, treeOf(t, from), treeOf(t, to), "seed %d", seed)
		}
		count := send(t, from, to, archive.Options{}, diff)
		require.Zero(t, count.Sent, "seed %d", seed)
		require.Zero(t, count.Deleted, "seed %d", seed)
		scramble(t, r, from, 5)
		send(t, from, to, archive.Options{}, archive.Difference{Delete: true})
		require.Equal(t, treeOf(t, from), treeOf(t, to), "seed %d", seed)
	}
}

func TestOnlyWhatChangedIsSent(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for _, name := range []string{"a", "b", "c", "extra"} {
		require.NoError(t, os.WriteFile(filepath.Join(from, name), []byte("1234"), 0o600))
	}
	require.Equal(t, archive.Count{Sent: 4, Bytes: 16}, send(t, from, to, archive.Options{}, archive.Difference{}))
	require.NoError(t, os.WriteFile(filepath.Join(from, "a"), []byte("12345"), 0o600))
	same := filepath.Join(from, "b") // of one size and time
	info, err := os.Stat(same)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(same, []byte("4321"), 0o600))
	require.NoError(t, os.Chtimes(same, time.Time{}, info.ModTime()))
	require.NoError(t, os.Chtimes(filepath.Join(from, "c"), time.Time{}, time.Now().Add(time.Nanosecond)))
	require.NoError(t, os.Remove(filepath.Join(from, "extra")))
	require.Equal(t, archive.Count{Sent: 2, Unchanged: 1, Bytes: 9}, send(t, from, to, archive.Options{}, archive.Difference{}))
	require.Equal(t, archive.Count{Sent: 1, Unchanged: 2, Bytes: 4}, send(t, from, to, archive.Options{}, archive.Difference{Hash: true}))
	require.FileExists(t, filepath.Join(to, "extra"), "nothing is removed unasked")
	require.Equal(t, archive.Count{Sent: 3, Deleted: 1, Bytes: 13}, send(t, from, to, archive.Options{}, archive.Difference{All: true, Delete: true}))
	require.Equal(t, treeOf(t, from), treeOf(t, to))
}

func TestListingsThatLieAreRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	for _, names := range [][]string{{"b", "a"}, {"a", "a"}, {"../a"}, {"/a"}, {"a/../b"}, {"."}, {""}, {"a-", "a/b"}, {"a\x00"}} {
		err := archive.Pack(t.Context(), openRoot(t, dir), ".", new(bytes.Buffer), &archive.Options{Difference: &archive.Difference{
			Delete: true, Next: listing(names...),
		}})
		require.ErrorIs(t, err, archive.ErrOrder, "%q", names)
	}
}

func TestRemovalsAreObeyedOnWishOnly(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(to, "f"), []byte("kept"), 0o600))
	var buf bytes.Buffer
	require.NoError(t, archive.Pack(t.Context(), openRoot(t, from), ".", &buf, &archive.Options{Difference: &archive.Difference{
		Delete: true, Next: listing("gone"),
	}}))
	require.NoError(t, archive.Unpack(t.Context(), openRoot(t, to), &buf, nil))
	require.FileExists(t, filepath.Join(to, "f"))
	require.FileExists(t, filepath.Join(to, "gone"), "an entry like others")
}

func listing(names ...string) func() (*backends.TreeEntry, error) {
	return func() (*backends.TreeEntry, error) {
		if len(names) == 0 {
			return nil, nil
		}
		e := &backends.TreeEntry{Name: names[0], Type: backends.TypeFile}
		names = names[1:]
		return e, nil
	}
}
