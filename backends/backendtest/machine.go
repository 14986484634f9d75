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

// testMachine is about users and all files, of backends that have such and of those that have not. Code gains no privileges in it.
func testMachine(t *testing.T, open Open) {
	with(t, open, "Users", func(t *testing.T, ctx context.Context, in backends.Instance) {
		for _, user := range []string{backends.OrdinaryUser, backends.RootUser, "nobody"} {
			_, is := in.(backends.Machine)
			if is && user == backends.OrdinaryUser {
				continue
			}
			_, err := in.StartCommand(ctx, backends.Cmd{Args: shell("true"), User: user})
			require.Error(t, err, "it has one user")
			if user == "nobody" && is {
				require.ErrorIs(t, err, backends.ErrNoUser)
			} else {
				require.ErrorIs(t, err, backends.ErrUnsupported)
			}
		}
		machine, is := in.(backends.Machine)
		if !is {
			return
		}
		home, err := machine.Home(backends.OrdinaryUser)
		require.NoError(t, err)
		require.Equal(t, in.Workspace(), home)
		_, err = machine.FilesOf("nobody")
		require.ErrorIs(t, err, backends.ErrNoUser)
		root, err := machine.FilesOf(backends.RootUser)
		require.NoError(t, err)
		_, err = root.Stat(ctx, "/etc")
		require.ErrorIs(t, err, backends.ErrUnsupported, "nothing may gain privileges")
	})
	with(t, open, "AllFilesOfAMachine", func(t *testing.T, ctx context.Context, in backends.Instance) {
		machine, is := in.(backends.Machine)
		if !is {
			t.Skip("the backend has no files but workspaces")
		}
		files, err := machine.FilesOf(backends.OrdinaryUser)
		require.NoError(t, err)
		if _, err := files.Stat(ctx, "/"); errors.Is(err, backends.ErrUnsupported) {
			t.Skip("its agent is no container's: ", err)
		}
		write(t, ctx, files, "/tmp/deep/er/a", "one")
		require.Equal(t, "one", read(t, ctx, files, "tmp/deep/../deep/er/a"))
		info, err := files.Stat(ctx, "/tmp/deep/er")
		require.NoError(t, err)
		require.Equal(t, "tmp/deep/er", info.Path)
		require.Equal(t, "user", info.Owner)
		write(t, ctx, files, in.Workspace()+"/b", "two")
		require.Equal(t, "two", read(t, ctx, in.Files(), "b"), "the workspace is a part of it")
		require.Contains(t, read(t, ctx, files, "/../etc/passwd"), "root:")

		out, errText, _ := finished(t, ctx, in, backends.Cmd{
			Args: shell("pwd; id -un; ln -s /etc /tmp/deep/abs; ln -s ../../../../etc /tmp/deep/rel; ln -s /../etc/../etc/passwd /tmp/deep/file"),
			User: backends.OrdinaryUser, Dir: "/tmp",
		})
		require.Empty(t, errText)
		require.Equal(t, "/tmp\nuser\n", out)
		for _, name := range []string{"/tmp/deep/abs/passwd", "/tmp/deep/rel/passwd", "/tmp/deep/file"} {
			require.Contains(t, read(t, ctx, files, name), "root:", "links lead where they say")
		}
		infos, err := files.List(ctx, "/tmp/deep/abs", 1)
		require.NoError(t, err)
		require.NotEmpty(t, infos)
		require.True(t, strings.HasPrefix(infos[0].Path, "tmp/deep/abs/"), infos[0].Path)
		out, _, _ = finished(t, ctx, in, backends.Cmd{Args: shell("pwd"), User: backends.OrdinaryUser})
		require.Equal(t, in.Workspace()+"\n", out)
		_, err = in.StartCommand(ctx, backends.Cmd{Args: shell("pwd"), User: backends.OrdinaryUser, Dir: "/nowhere"})
		require.ErrorIs(t, err, fs.ErrNotExist)

		for _, name := range []string{"/etc/x", "/root/x", "/usr/bin/sh"} {
			_, err = files.Write(ctx, name, strings.NewReader("x"), nil)
			require.ErrorIs(t, err, fs.ErrPermission, name)
		}
		_, err = files.Open(ctx, "/etc/shadow", nil)
		require.ErrorIs(t, err, fs.ErrPermission)
		_, err = files.Open(ctx, "/dev/null", nil)
		require.ErrorIs(t, err, backends.ErrNotRegular)
		require.ErrorIs(t, files.Remove(ctx, "/"), fs.ErrPermission)

		watch, err := files.Watch(ctx, "/tmp/deep", &backends.WatchOptions{Recursive: true, Entry: true})
		require.NoError(t, err)
		require.NoError(t, files.MakeDir(ctx, "/tmp/deep/new"))
		event, err := watch.Next(ctx)
		require.NoError(t, err)
		require.Equal(t, "new", event.Name)
		require.NotNil(t, event.Entry)
		require.Equal(t, "tmp/deep/new", event.Entry.Path)
		require.NoError(t, watch.Close())
		require.NoError(t, files.Copy(ctx, "/tmp/deep", "/tmp/copy"))
		require.NoError(t, files.Rename(ctx, "/tmp/copy/er", in.Workspace()+"/er"))
		require.Equal(t, "one", read(t, ctx, in.Files(), "er/a"))
		r, err := files.Open(ctx, "/proc/self/status", nil)
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.NotEmpty(t, data)
	})
}
