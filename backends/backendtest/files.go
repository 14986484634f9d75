package backendtest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// read returns a file's contents.
func read(t *testing.T, ctx context.Context, files backends.FileSystem, name string) string {
	t.Helper()
	r, err := files.Open(ctx, name, nil)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	return string(data)
}

func write(t *testing.T, ctx context.Context, files backends.FileSystem, name, text string) {
	t.Helper()
	n, err := files.Write(ctx, name, strings.NewReader(text), nil)
	require.NoError(t, err)
	require.Equal(t, int64(len(text)), n)
}

func testFiles(t *testing.T, open Open) {
	with(t, open, "WriteReadReplace", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		infos, err := files.List(ctx, "", 1)
		require.NoError(t, err)
		require.Empty(t, infos, "a fresh workspace is empty")
		write(t, ctx, files, "deep/down/a.txt", "one")
		write(t, ctx, files, "deep/down/a.txt", "two!")
		require.Equal(t, "two!", read(t, ctx, files, "deep/down/a.txt"))
		write(t, ctx, files, "empty", "")
		require.Empty(t, read(t, ctx, files, "empty"))
		info, err := files.Stat(ctx, "deep/down/a.txt")
		require.NoError(t, err)
		require.Equal(t, backends.FileInfo{
			Name: "a.txt", Path: "deep/down/a.txt", Type: backends.TypeFile, Size: 4, Mode: 0o644, ModTime: info.ModTime,
			Owner: info.Owner, Group: info.Group, AccessTime: info.AccessTime, ChangeTime: info.ChangeTime,
		}, info)
		require.False(t, info.ModTime.IsZero())
	})
	with(t, open, "AllNamesOfTheWorkspace", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "/home/user/a", "x")
		for _, name := range []string{"a", "/a", "./a", "//a", "/home/user/a", "/home/user//a", "b/../a", in.Workspace() + "/a"} {
			require.Equal(t, "x", read(t, ctx, files, name), name)
		}
		for _, name := range []string{"", "/", ".", "/home/user", "/home/user/", in.Workspace()} {
			infos, err := files.List(ctx, name, 1)
			require.NoError(t, err, name)
			require.Len(t, infos, 1, name)
		}
	})
	with(t, open, "NamesThatLeadOutOrCanNotBe", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		for _, name := range []string{"..", "../x", "/../../etc/passwd", "a/../../x", "/home/user/../../etc/passwd"} {
			_, err := files.Open(ctx, name, nil)
			require.ErrorIs(t, err, backends.ErrOutside, name)
			_, err = files.Write(ctx, name, strings.NewReader("x"), nil)
			require.ErrorIs(t, err, backends.ErrOutside, name)
			require.ErrorIs(t, files.Remove(ctx, name), backends.ErrOutside, name)
			require.ErrorIs(t, files.MakeDir(ctx, name), backends.ErrOutside, name)
			require.ErrorIs(t, files.Rename(ctx, name, "y"), backends.ErrOutside, name)
		}
		for _, name := range []string{"a\x00b", "\xff\xfe", strings.Repeat("n", 256), strings.Repeat("long/", 2000)} {
			_, err := files.Write(ctx, name, strings.NewReader("x"), nil)
			require.ErrorIs(t, err, backends.ErrInvalidName)
			_, err = files.Stat(ctx, name)
			require.ErrorIs(t, err, backends.ErrInvalidName)
		}
		write(t, ctx, files, "ünïcode 🎉 \n name", "fine")
		require.Equal(t, "fine", read(t, ctx, files, "ünïcode 🎉 \n name"))
	})
	with(t, open, "NamesThatAreNoUTF8", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		const told = "caf\uFFFDe9"
		_, problems, _ := finished(t, ctx, in, backends.Cmd{
			Args: shell(`mkdir "$(printf 'caf\351')"; echo x >"$(printf 'caf\351/caf\351')"`),
		})
		require.Empty(t, problems)
		infos, err := files.List(ctx, "", 2)
		require.NoError(t, err)
		require.Len(t, infos, 2)
		require.Equal(t, told, infos[0].Path)
		require.Equal(t, told+"/"+told, infos[1].Path)
		info, err := files.Stat(ctx, infos[1].Path)
		require.NoError(t, err)
		require.Equal(t, infos[1], info)
		require.Equal(t, "x\n", read(t, ctx, files, infos[1].Path))
		write(t, ctx, files, told+"/"+told, "y")
		require.NoError(t, files.Rename(ctx, told+"/"+told, "plain"))
		require.Equal(t, "y", read(t, ctx, files, "plain"))
		require.NoError(t, files.Remove(ctx, told))
		infos, err = files.List(ctx, "", 2)
		require.NoError(t, err)
		require.Len(t, infos, 1)
	})
	with(t, open, "MissingAndWrongKinds", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		_, err := files.Open(ctx, "none", nil)
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = files.Stat(ctx, "none")
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = files.List(ctx, "none", 1)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorIs(t, files.Remove(ctx, "none"), fs.ErrNotExist)
		require.ErrorIs(t, files.Rename(ctx, "none", "new/place"), fs.ErrNotExist)
		_, err = files.Stat(ctx, "new")
		require.ErrorIs(t, err, fs.ErrNotExist, "a rename that fails makes no folders")
		require.NoError(t, files.MakeDir(ctx, "dir/sub"))
		require.NoError(t, files.MakeDir(ctx, "dir/sub"))
		_, err = files.Open(ctx, "dir", nil)
		require.ErrorIs(t, err, backends.ErrNotRegular)
		_, err = files.Write(ctx, "dir", strings.NewReader("x"), nil)
		require.ErrorIs(t, err, backends.ErrNotRegular)
		require.Error(t, files.Remove(ctx, ""), "the workspace itself stays")
		write(t, ctx, files, "file", "x")
		_, err = files.Write(ctx, "file/below", strings.NewReader("x"), nil)
		require.Error(t, err)
	})
	with(t, open, "ListRenameRemove", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "b", "2")
		write(t, ctx, files, "a", "1")
		require.NoError(t, files.MakeDir(ctx, "c"))
		write(t, ctx, files, "c/d", "3")
		infos, err := files.List(ctx, "", 1)
		require.NoError(t, err)
		var names []string
		for _, i := range infos {
			names = append(names, string(i.Type)+":"+i.Path)
		}
		require.Equal(t, []string{"file:a", "file:b", "dir:c"}, names)
		require.NoError(t, files.Rename(ctx, "c", "x/y"))
		require.Equal(t, "3", read(t, ctx, files, "x/y/d"))
		require.NoError(t, files.Remove(ctx, "x"))
		_, err = files.Stat(ctx, "x")
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
	with(t, open, "FailedWriteLeavesTheOldFile", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "f", "old")
		bad := errors.New("source broke")
		_, err := files.Write(ctx, "f", io.MultiReader(strings.NewReader("new"), broken{bad}), nil)
		require.ErrorIs(t, err, bad)
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err = files.Write(cancelled, "f", strings.NewReader("new"), nil)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, "old", read(t, ctx, files, "f"))
		infos, err := files.List(ctx, "", 1)
		require.NoError(t, err)
		require.Len(t, infos, 1, "nothing half written is left")
	})
	with(t, open, "LargeFile", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		const size = 64 << 20
		n, err := files.Write(ctx, "large", io.LimitReader(zeros{}, size), nil)
		require.NoError(t, err)
		require.Equal(t, int64(size), n)
		r, err := files.Open(ctx, "large", nil)
		require.NoError(t, err)
		got, err := io.Copy(io.Discard, r)
		require.NoError(t, errors.Join(err, r.Close()))
		require.Equal(t, int64(size), got)
	})
}

// broken is a reader that fails.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
