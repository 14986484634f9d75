package backendtest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// testWalk is about the listing that uploads look up what changed in, and the removals that they send.
func testWalk(t *testing.T, open Open) {
	walk := func(ctx context.Context, files backends.FileSystem, name string, opts *backends.WalkOptions) ([]*backends.TreeEntry, error) {
		var entries []*backends.TreeEntry
		err := files.Walk(ctx, name, opts, func(e *backends.TreeEntry) error {
			entries = append(entries, e)
			return nil
		})
		return entries, err
	}
	with(t, open, "TellsAllInOrder", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		sh(t, ctx, in, `mkdir -p d/a d/shut; echo x >d/a/f; echo y >d/a.b; echo z >d/a-; ln -s a d/link; mkfifo d/pipe;
printf 1 >"d/$(printf '\377')"
chmod 640 d/a.b; TZ=UTC touch -d '2020-02-03 04:05:06.123456789' d/a.b; echo n >d/shut/f; chmod 0 d/shut; ln -s d way`)
		names := []string{"a", "a/f", "a-", "a.b", "link", "pipe", "shut", "\xff"}
		for _, name := range []string{"d", "way", "/home/user/d"} {
			entries, err := walk(ctx, files, name, nil)
			require.NoError(t, err)
			var told []string
			for _, e := range entries {
				if e.Name != "shut/f" { // which an agent that may do anything sees
					told = append(told, e.Name)
				}
				require.Nil(t, e.Hash)
			}
			require.Equal(t, names, told)
			require.Equal(t, backends.TypeFile, entries[3].Type)
			require.Equal(t, fs.FileMode(0o640), entries[3].Mode)
			require.EqualValues(t, 2, entries[3].Size)
			require.True(t, entries[3].ModTime.Equal(time.Date(2020, 2, 3, 4, 5, 6, 123456789, time.UTC)), entries[3].ModTime)
			require.Equal(t, "a", entries[4].Target)
			require.Equal(t, backends.TypeOther, entries[5].Type)
		}
		entries, err := walk(ctx, files, "d/a.b", &backends.WalkOptions{Hash: true})
		require.NoError(t, err)
		sum := sha256.Sum256([]byte("y\n"))
		require.Equal(t, sum[:], entries[0].Hash)
		require.Equal(t, "a.b", entries[0].Name)
		_, err = walk(ctx, files, "none", nil)
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = walk(ctx, files, "../..", nil)
		require.ErrorIs(t, err, backends.ErrOutside)
		enough := errors.New("enough")
		require.ErrorIs(t, files.Walk(ctx, "d", nil, func(*backends.TreeEntry) error { return enough }), enough)
		_, err = walk(ctx, files, "d", nil)
		require.NoError(t, err, "one that ended early is in nobody's way")
	})
	removal := map[string]string{archive.RemoveRecord: "1"}
	with(t, open, "RemovalsInAStream", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		sh(t, ctx, in, "mkdir -p t/d/e other; echo 1 >t/d/e/f; echo 2 >t/keep; echo 3 >other/f; ln -s ../other t/link; chmod 0 t/d/e")
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, name := range []string{"d", "link", "never"} {
			require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, PAXRecords: removal}))
		}
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "d", Mode: 0o600}))
		require.NoError(t, w.Close())
		require.NoError(t, files.Import(ctx, "t", &buf))
		infos, err := files.List(ctx, "", 5)
		require.NoError(t, err)
		require.Equal(t, []string{"dir:other", "file:other/f", "dir:t", "file:t/d", "file:t/keep"}, paths(infos))
		for name, is := range map[string]error{"../other": backends.ErrOutside, ".": backends.ErrInvalidName} {
			buf.Reset()
			w = tar.NewWriter(&buf)
			require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, PAXRecords: removal}))
			require.NoError(t, w.Close())
			require.ErrorIs(t, files.Import(ctx, "t", &buf), is)
		}
	})
}
