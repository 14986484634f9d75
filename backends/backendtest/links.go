package backendtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// tree is what a folder of this machine holds: contents of files, targets of links.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			entries[name] = "folder"
		case fs.ModeSymlink:
			entries[name], err = os.Readlink(path)
		default:
			var data []byte
			data, err = os.ReadFile(path)
			entries[name] = string(data)
		}
		return err
	}))
	return entries
}

// plant makes files in a folder of this machine.
func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

func testLinks(t *testing.T, open Open) {
	t.Run("WorkspaceIsTheUsersFolder", func(t *testing.T) { testWorkspacePath(t, open) })
	t.Run("OnlyTheLinkGoes", func(t *testing.T) { testOnlyTheLinkGoes(t, open) })
	t.Run("FoldersThatCanNotBe", func(t *testing.T) { testFoldersThatCanNotBe(t, open) })
	t.Run("AllowedRoots", func(t *testing.T) { testAllowedRoots(t, open) })
}

func testNoUserFolders(t *testing.T, open Open) {
	b := open(t)
	defer func() { require.NoError(t, b.Close()) }()
	for _, spec := range []backends.Spec{{ID: "suite", WorkspacePath: t.TempDir()}, {ID: "suite", AllowedRoots: []string{t.TempDir()}}} {
		_, err := b.Create(t.Context(), spec)
		require.ErrorIs(t, err, backends.ErrUnsupported)
	}
}

func testWorkspacePath(t *testing.T, open Open) {
	mine := t.TempDir()
	plant(t, mine, map[string]string{"data.csv": "a,b", "sub/deep": "below"})
	withSpec(t, open, "FilesAndCode", backends.Spec{WorkspacePath: mine}, func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		require.Equal(t, "a,b", read(t, ctx, files, "data.csv"))
		require.Equal(t, "below", read(t, ctx, files, in.Workspace()+"/sub/deep"), "by the workspace's path")
		write(t, ctx, files, "new/file", "from outside")
		write(t, ctx, files, "data.csv", "replaced")
		require.Equal(t, "out of the code\n", startKernel(t, ctx, in, backends.KernelConfig{}).run(`
import os
assert open("data.csv").read() == "replaced" and open(os.environ["HOME"] + "/.settings", "w").write("x")
open("by code", "w").write("x")
print("out of the code")
`))
		require.Equal(t, "x", read(t, ctx, files, "by code"))
		require.Equal(t, "replaced", sh(t, ctx, in, "cat data.csv"))
		require.NoError(t, in.Destroy(ctx))
		require.Equal(t, map[string]string{
			"data.csv": "replaced", "sub": "folder", "sub/deep": "below", "new": "folder", "new/file": "from outside", "by code": "x",
		}, tree(t, mine), "all of the user's and nothing of ours")
	})
}

func testOnlyTheLinkGoes(t *testing.T, open Open) {
	kept := map[string]string{"one": "1", "two/three": "3"}
	for name, do := range map[string]func(t *testing.T, ctx context.Context, in backends.Instance, mine string){
		"AfterFailures": func(t *testing.T, ctx context.Context, in backends.Instance, _ string) {
			for _, name := range []string{"one", "new"} {
				_, err := in.Files().Write(ctx, name, io.MultiReader(strings.NewReader("half"), broken{fs.ErrClosed}), nil)
				require.ErrorIs(t, err, fs.ErrClosed)
			}
			require.Error(t, in.Files().Import(ctx, "", strings.NewReader(strings.Repeat("no tar ", 1000))))
			require.Error(t, in.Files().Remove(ctx, ""))
		},
		"WithRunningCode": func(t *testing.T, ctx context.Context, in backends.Instance, _ string) {
			c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"sh", "-c", "sleep 600 & sleep 600"}})
			require.NoError(t, err)
			require.NoError(t, c.Stdout().Close())
			require.NoError(t, c.Stderr().Close())
		},
		"WhenTheFolderWentMeanwhile": func(t *testing.T, _ context.Context, _ backends.Instance, mine string) {
			require.NoError(t, os.Rename(mine, mine+"2"))
			t.Cleanup(func() { require.NoError(t, os.Rename(mine+"2", mine)) })
		},
		"WithLinksInIt": func(t *testing.T, ctx context.Context, in backends.Instance, mine string) {
			require.Empty(t, sh(t, ctx, in, "ln -s . self; ln -s / everything; ln -s two other; mkdir -m 0 closed"))
			require.NoError(t, in.Files().Remove(ctx, "self"))
			require.NoError(t, in.Files().Remove(ctx, "everything"))
			require.NoError(t, in.Files().Remove(ctx, "other"))
			require.NoError(t, in.Files().Remove(ctx, "closed"))
		},
	} {
		mine := filepath.Join(t.TempDir(), "mine")
		plant(t, mine, kept)
		before := tree(t, mine)
		withSpec(t, open, name, backends.Spec{WorkspacePath: mine}, func(t *testing.T, ctx context.Context, in backends.Instance) {
			do(t, ctx, in, mine)
			require.NoError(t, in.Destroy(ctx))
			require.NoError(t, in.Destroy(ctx))
		})
		require.Equal(t, before, tree(t, mine), name)
	}
	t.Run("AfterACreateThatFails", func(t *testing.T) {
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		mine := t.TempDir()
		plant(t, mine, kept)
		before := tree(t, mine)
		_, err := b.Create(t.Context(), backends.Spec{ID: "suite"})
		require.NoError(t, err)
		_, err = b.Create(t.Context(), backends.Spec{ID: "suite", WorkspacePath: mine})
		require.ErrorIs(t, err, os.ErrExist)
		_, err = b.Create(t.Context(), backends.Spec{ID: "other", WorkspacePath: mine, Isolation: "walls"})
		require.ErrorIs(t, err, backends.ErrUnsupported)
		_, err = b.Create(t.Context(), backends.Spec{ID: "other", WorkspacePath: mine, AllowedRoots: []string{mine + "/none"}})
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.Equal(t, before, tree(t, mine))
		in, err := b.Create(t.Context(), backends.Spec{ID: "other", WorkspacePath: mine})
		require.NoError(t, err, "nothing is left of what failed")
		require.NoError(t, in.Destroy(t.Context()))
		require.Equal(t, before, tree(t, mine))
	})
}

func testFoldersThatCanNotBe(t *testing.T, open Open) {
	b := open(t)
	defer func() { require.NoError(t, b.Close()) }()
	ctx, dir := t.Context(), t.TempDir()
	plant(t, dir, map[string]string{"file": "x"})
	own, err := b.Create(ctx, backends.Spec{ID: "own"})
	require.NoError(t, err)
	for _, test := range []struct {
		dir, says string
		is        error
	}{
		{dir: filepath.Join(dir, "none"), is: fs.ErrNotExist},
		{dir: filepath.Join(dir, "file"), is: backends.ErrNotDir},
		{dir: "relative", says: "absolute"},
		{dir: ".", says: "absolute"},
		{dir: "/", says: "holds the"},
		{dir: own.Workspace(), says: "is in the"},
		{dir: filepath.Dir(own.Workspace()), says: "is in the"},
		{dir: filepath.Dir(filepath.Dir(own.Workspace())), says: "holds the"},
	} {
		for option, spec := range map[string]backends.Spec{
			"WorkspacePath": {ID: "suite", WorkspacePath: test.dir},
			"AllowedRoots":  {ID: "suite", AllowedRoots: []string{test.dir}},
		} {
			_, err := b.Create(ctx, spec)
			require.ErrorContains(t, err, option, test.dir)
			require.ErrorContains(t, err, test.says, test.dir)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
		}
	}
}

func testAllowedRoots(t *testing.T, open Open) {
	top := t.TempDir()
	ws, data, other := filepath.Join(top, "ws"), filepath.Join(top, "data"), filepath.Join(top, "other")
	plant(t, ws, map[string]string{"own": "own"})
	plant(t, data, map[string]string{"set/a": "A", "set/b": "B"})
	plant(t, other, map[string]string{"secret": "s3cret", "gone": "kept"})
	for name, target := range map[string]string{
		"absolute": data, "relative": "../data/set", "file": filepath.Join(data, "set", "a"), "new": filepath.Join(data, "made"),
		"twice": "relative", "out": other, "up": "..", "secret": "../other/secret", "past": "../data/../other",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(ws, name)))
	}
	// A root may lead on to no other place but those.
	require.NoError(t, os.Symlink(other, filepath.Join(data, "on")))
	require.NoError(t, os.Symlink(filepath.Join(ws, "own"), filepath.Join(data, "back")))

	spec := backends.Spec{WorkspacePath: ws, AllowedRoots: []string{data}}
	withSpec(t, open, "FilesFollowLinksIntoThem", spec, func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		for name, want := range map[string]string{
			"absolute/set/a": "A", "relative/b": "B", "file": "A", "twice/a": "A", "absolute/back": "own", "up/data/set/b": "B", "up/ws/own": "own",
		} {
			require.Equal(t, want, read(t, ctx, files, name), name)
		}
		write(t, ctx, files, "absolute/deep/er/new", "written")
		write(t, ctx, files, "file", "A2")
		write(t, ctx, files, "new", "made")
		require.Equal(t, "A2", read(t, ctx, files, "relative/a"))
		info, err := files.Stat(ctx, "file")
		require.NoError(t, err)
		require.Equal(t, backends.TypeLink, info.Type, "it is still a link")
		info, err = files.Stat(ctx, "absolute/deep/er/new")
		require.NoError(t, err)
		require.Equal(t, "absolute/deep/er/new", info.Path)
		infos, err := files.List(ctx, "relative", 1)
		require.NoError(t, err)
		require.Equal(t, []string{"file:relative/a", "file:relative/b"}, paths(infos))

		require.NoError(t, files.Rename(ctx, "absolute/deep/er/new", "relative/c"), "within the root")
		require.Error(t, files.Rename(ctx, "own", "absolute/own"))
		require.NoError(t, files.Copy(ctx, "own", "absolute/own"))
		require.NoError(t, files.Copy(ctx, "absolute/set", "copy"))
		require.Equal(t, "B", read(t, ctx, files, "copy/b"))
		require.ErrorIs(t, files.Copy(ctx, "up/data/set", "relative/below"), fs.ErrInvalid, "into itself, by two names")
		require.NoError(t, files.MakeDir(ctx, "absolute/dir"))
		require.NoError(t, files.Remove(ctx, "absolute/deep"))
		var stream bytes.Buffer
		require.NoError(t, files.Export(ctx, "relative", &stream))
		require.NoError(t, files.Import(ctx, "absolute/imported", &stream))
		require.NoError(t, files.Remove(ctx, "twice"), "the link")
		require.Equal(t, map[string]string{
			"set": "folder", "set/a": "A2", "set/b": "B", "set/c": "written", "made": "made", "own": "own", "dir": "folder",
			"imported": "folder", "imported/a": "A2", "imported/b": "B", "imported/c": "written",
			"on": other, "back": filepath.Join(ws, "own"),
		}, tree(t, data))
		require.NoError(t, os.Symlink("relative", filepath.Join(ws, "twice")))
	})
	withSpec(t, open, "OthersAreRefused", spec, func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		for _, name := range []string{"out/secret", "secret", "past/secret", "absolute/on/secret", "up/other/secret"} {
			_, err := files.Open(ctx, name, nil)
			require.ErrorIs(t, err, backends.ErrOutside, name)
			require.ErrorContains(t, err, "AllowedRoots", name)
			_, err = files.Write(ctx, name, strings.NewReader("x"), nil)
			require.ErrorIs(t, err, backends.ErrOutside, name)
			require.ErrorIs(t, files.SetMetadata(ctx, name, nil), backends.ErrOutside, name)
			require.ErrorIs(t, files.Copy(ctx, "own", name+"/x"), backends.ErrOutside, name)
		}
		for _, name := range []string{"out", "up", "absolute/on"} {
			_, err := files.List(ctx, name, 1)
			require.ErrorIs(t, err, backends.ErrOutside, name)
			require.ErrorIs(t, files.MakeDir(ctx, name+"/x"), backends.ErrOutside, name)
			require.ErrorIs(t, files.Remove(ctx, name+"/gone"), backends.ErrOutside, name)
			require.ErrorIs(t, files.Rename(ctx, "own", name+"/own"), backends.ErrOutside, name)
			require.ErrorIs(t, files.Export(ctx, name, new(bytes.Buffer)), backends.ErrOutside, name)
			require.ErrorIs(t, files.Import(ctx, name, new(bytes.Buffer)), backends.ErrOutside, name)
			_, err = in.StartCommand(ctx, backends.Cmd{Args: []string{"true"}, Dir: name})
			require.ErrorIs(t, err, backends.ErrOutside, name)
		}
		require.Equal(t, map[string]string{"secret": "s3cret", "gone": "kept"}, tree(t, other))
	})
	withSpec(t, open, "CodeUsesThem", spec, func(t *testing.T, ctx context.Context, in backends.Instance) {
		require.Equal(t, "A2", sh(t, ctx, in, "cat file; touch absolute/by-code"))
		require.FileExists(t, filepath.Join(data, "by-code"))
		c := startKernel(t, ctx, in, backends.KernelConfig{Dir: "relative"})
		require.Equal(t, "B\n", c.run("print(open('b').read())"), "a working directory in a root")
		if in.Isolation() == backends.IsolationFiles {
			secret, made := filepath.Join(ws, "out/secret"), filepath.Join(other, "new")
			require.Empty(t, c.run(refused+fmt.Sprintf("refused(open, %q); refused(open, %q, 'w')", secret, made)))
		}
	})
	spec = backends.Spec{WorkspacePath: ws}
	withSpec(t, open, "WithoutThemAllAreRefused", spec, func(t *testing.T, ctx context.Context, in backends.Instance) {
		require.Equal(t, "own", read(t, ctx, in.Files(), "own"))
		for _, name := range []string{"absolute/set/a", "relative/a", "file", "up/data/set/a"} {
			_, err := in.Files().Open(ctx, name, nil)
			require.ErrorIs(t, err, backends.ErrOutside, name)
		}
	})
	spec = backends.Spec{AllowedRoots: []string{data}}
	withSpec(t, open, "InAWorkspaceOfItsOwn", spec, func(t *testing.T, ctx context.Context, in backends.Instance) {
		require.Empty(t, sh(t, ctx, in, "ln -s "+data+" data"))
		require.Equal(t, "B", read(t, ctx, in.Files(), "data/set/b"))
		require.NoError(t, in.Destroy(ctx))
		require.FileExists(t, filepath.Join(data, "set", "b"))
	})
}
