package backendtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// sh runs a line of shell in an instance.
func sh(t *testing.T, ctx context.Context, in backends.Instance, line string) string {
	t.Helper()
	out, errText, status := finished(t, ctx, in, backends.Cmd{Args: shell(line)})
	require.Zero(t, status.Code, errText)
	return out
}

// paths are those of a listing.
func paths(infos []backends.FileInfo) []string {
	var out []string
	for _, i := range infos {
		out = append(out, string(i.Type)+":"+i.Path)
	}
	return out
}

func testFilesInFull(t *testing.T, open Open) {
	with(t, open, "Ranges", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "f", "0123456789")
		for _, c := range []struct {
			offset, length int64
			want           string
		}{{0, 0, "0123456789"}, {3, 0, "3456789"}, {3, 4, "3456"}, {8, 100, "89"}, {10, 1, ""}, {1 << 40, 5, ""}} {
			r, err := files.Open(ctx, "f", &backends.OpenOptions{Offset: c.offset, Length: c.length})
			require.NoError(t, err)
			data, err := io.ReadAll(r)
			require.NoError(t, errors.Join(err, r.Close()))
			require.Equal(t, c.want, string(data))
		}
		for _, opts := range []*backends.OpenOptions{{Offset: -1}, {Length: -1}} {
			_, err := files.Open(ctx, "f", opts)
			require.ErrorIs(t, err, fs.ErrInvalid)
		}
	})
	with(t, open, "ModesAndMetadata", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		metadata := map[string]string{"source": "survey 2024", "Ünit": "x"}
		_, err := files.Write(ctx, "f", strings.NewReader("x"), &backends.WriteOptions{Metadata: metadata})
		require.ErrorContains(t, err, "metadata key")
		_, err = files.Stat(ctx, "f")
		require.ErrorIs(t, err, fs.ErrNotExist)
		delete(metadata, "Ünit")
		metadata["note"] = "größer als zwei 🎉"
		_, err = files.Write(ctx, "f", strings.NewReader("x"), &backends.WriteOptions{Mode: 0o750, Metadata: metadata})
		require.NoError(t, err)
		info, err := files.Stat(ctx, "f")
		require.NoError(t, err)
		require.Equal(t, metadata, info.Metadata)
		require.Equal(t, fs.FileMode(0o750), info.Mode)
		require.NotEmpty(t, info.Owner)
		require.NotEmpty(t, info.Group)
		require.False(t, info.AccessTime.IsZero() || info.ChangeTime.IsZero())
		infos, err := files.List(ctx, "", 1)
		require.NoError(t, err)
		require.Equal(t, metadata, infos[0].Metadata)
		require.NoError(t, files.Rename(ctx, "f", "g"))
		require.NoError(t, files.Copy(ctx, "g", "h"))
		for _, name := range []string{"g", "h"} {
			info, err = files.Stat(ctx, name)
			require.NoError(t, err)
			require.Equal(t, metadata, info.Metadata, name)
			require.Equal(t, fs.FileMode(0o750), info.Mode, name)
		}
		write(t, ctx, files, "g", "new")
		info, err = files.Stat(ctx, "g")
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o750), info.Mode, "a file that is replaced keeps its mode")
		require.Empty(t, info.Metadata, "and loses its metadata")
		require.NoError(t, files.SetMetadata(ctx, "h", map[string]string{"only": "this"}))
		require.NoError(t, files.MakeDir(ctx, "d"))
		require.NoError(t, files.SetMetadata(ctx, "d", map[string]string{"a": "folder"}))
		for name, want := range map[string]map[string]string{"h": {"only": "this"}, "d": {"a": "folder"}} {
			info, err = files.Stat(ctx, name)
			require.NoError(t, err)
			require.Equal(t, want, info.Metadata)
		}
		require.Error(t, files.SetMetadata(ctx, "h", map[string]string{"big": strings.Repeat("x", 5000)}))
		require.ErrorIs(t, files.SetMetadata(ctx, "none", nil), fs.ErrNotExist)
		require.NoError(t, files.SetMetadata(ctx, "h", nil))
		info, err = files.Stat(ctx, "h")
		require.NoError(t, err)
		require.Empty(t, info.Metadata)
	})
	with(t, open, "ListWithDepth", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		for _, name := range []string{"b/2/z", "b/1/y/x", "a", "c"} {
			write(t, ctx, files, name, "")
		}
		sh(t, ctx, in, "ln -s b link; ln -s . b/round; mkfifo fifo; mkdir -m 0 closed")
		all := []string{
			"file:a", "dir:b", "dir:b/1", "dir:b/1/y", "file:b/1/y/x", "dir:b/2", "file:b/2/z", "symlink:b/round", "file:c",
			"dir:closed", "other:fifo", "symlink:link",
		}
		infos, err := files.List(ctx, "", 100)
		require.NoError(t, err)
		require.Equal(t, all, paths(infos))
		infos, err = files.List(ctx, "", 2)
		require.NoError(t, err)
		require.Equal(t, []string{
			"file:a", "dir:b", "dir:b/1", "dir:b/2", "symlink:b/round", "file:c", "dir:closed", "other:fifo", "symlink:link",
		}, paths(infos))
		infos, err = files.List(ctx, "link", 0)
		require.NoError(t, err)
		require.Equal(t, []string{"dir:link/1", "dir:link/2", "symlink:link/round"}, paths(infos), "the name that was asked for")
		_, err = files.List(ctx, "a", 1)
		require.ErrorIs(t, err, backends.ErrNotDir)
		_, err = files.List(ctx, "", -1)
		require.ErrorIs(t, err, fs.ErrInvalid)
	})
	with(t, open, "WhatLinksLeadTo", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "d/file", "12345")
		_, problems, _ := finished(t, ctx, in, backends.Cmd{Args: shell(
			"chmod 604 d/file; ln -s d/file one; ln -s one two; ln -s $PWD/d folder; ln -s nowhere broken; ln -s /etc outside; ln -s self self")})
		require.Empty(t, problems)
		infos, err := files.List(ctx, "", 1)
		require.NoError(t, err)
		for _, info := range infos {
			again, err := files.Stat(ctx, info.Path)
			require.NoError(t, err)
			require.Equal(t, info.End, again.End)
			if info.Name != "one" && info.Name != "two" && info.Name != "folder" {
				require.Nil(t, info.End, info.Name)
				continue
			}
			require.NotNil(t, info.End, info.Name)
			if info.Name == "folder" {
				require.Equal(t, backends.TypeDir, info.End.Type)
				continue
			}
			require.True(t, strings.HasSuffix(info.End.Path, "/d/file"), info.End.Path)
			require.True(t, path.IsAbs(info.End.Path))
			require.Equal(t, backends.TypeFile, info.End.Type)
			require.EqualValues(t, 0o604, info.End.Mode)
			require.EqualValues(t, 5, info.End.Size)
			require.False(t, info.End.ModTime.IsZero())
		}
	})
	with(t, open, "Copy", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "d/one", "1")
		write(t, ctx, files, "d/sub/two", "2")
		sh(t, ctx, in, "ln -s one d/link; chmod 750 d/sub; ln -s d/one top")
		require.NoError(t, files.Copy(ctx, "d", "new/place"))
		require.Equal(t, "2", read(t, ctx, files, "new/place/sub/two"))
		info, err := files.Stat(ctx, "new/place/link")
		require.NoError(t, err)
		require.Equal(t, "one", info.Target)
		info, err = files.Stat(ctx, "new/place/sub")
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o750), info.Mode)
		write(t, ctx, files, "d/one", "changed")
		write(t, ctx, files, "new/place/more", "kept")
		require.NoError(t, files.Copy(ctx, "d", "new/place"), "it is merged")
		require.Equal(t, "changed", read(t, ctx, files, "new/place/one"))
		require.Equal(t, "kept", read(t, ctx, files, "new/place/more"))
		require.NoError(t, files.Copy(ctx, "top", "new/link"))
		info, err = files.Stat(ctx, "new/link")
		require.NoError(t, err)
		require.Equal(t, backends.TypeLink, info.Type)
		require.NoError(t, files.Copy(ctx, "d/one", "d/one"))
		require.ErrorIs(t, files.Copy(ctx, "d", "d/sub/d"), fs.ErrInvalid)
		require.ErrorIs(t, files.Copy(ctx, "none", "x"), fs.ErrNotExist)
		require.ErrorIs(t, files.Copy(ctx, "d/one", "d/sub"), backends.ErrIsDir)
		require.Error(t, files.Copy(ctx, "d", "d/one"))
		require.ErrorIs(t, files.Copy(ctx, "d", "../out"), backends.ErrOutside)
	})
	with(t, open, "ErrorsSayWhat", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "file", "x")
		write(t, ctx, files, "full/f", "x")
		require.NoError(t, files.MakeDir(ctx, "empty"))
		_, err := files.Open(ctx, "full", nil)
		require.ErrorIs(t, err, backends.ErrIsDir)
		_, err = files.Write(ctx, "full", strings.NewReader("x"), nil)
		require.ErrorIs(t, err, backends.ErrIsDir)
		_, err = files.Write(ctx, "file/below", strings.NewReader("x"), nil)
		require.ErrorIs(t, err, backends.ErrNotDir)
		require.ErrorIs(t, files.MakeDir(ctx, "file"), backends.ErrNotDir)
		require.ErrorIs(t, files.Rename(ctx, "empty", "full"), backends.ErrNotEmpty)
		require.ErrorIs(t, files.Rename(ctx, "empty", "file"), backends.ErrNotDir)
		require.Error(t, files.Rename(ctx, "file", "empty"))
		require.NoError(t, files.Rename(ctx, "full", "empty"), "an empty folder is replaced")
		require.Equal(t, "x", read(t, ctx, files, "empty/f"))
	})
	with(t, open, "TreesAsStreams", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		metadata := map[string]string{"kept": "yes"}
		_, err := files.Write(ctx, "d/one", strings.NewReader("1"), &backends.WriteOptions{Mode: 0o711, Metadata: metadata})
		require.NoError(t, err)
		write(t, ctx, files, "d/"+strings.Repeat("deep/", 100)+"two", "2")
		sh(t, ctx, in, "cd d; ln -s one link; ln -s /etc outward; mkfifo fifo; mkdir empty; head -c 3000000 /dev/zero >zeros; "+
			"printf x >\"$(printf 'bad\\377name')\"")
		var buf bytes.Buffer
		require.NoError(t, files.Export(ctx, "d", &buf))
		require.NoError(t, files.Import(ctx, "copy/of", bytes.NewReader(buf.Bytes())))
		before, err := files.List(ctx, "d", 200)
		require.NoError(t, err)
		after, err := files.List(ctx, "copy/of", 200)
		require.NoError(t, err)
		var wanted, got []string
		for _, i := range before {
			if i.Type != backends.TypeOther {
				wanted = append(wanted, string(i.Type)+i.Mode.String()+strings.TrimPrefix(i.Path, "d/")+i.Target)
			}
		}
		for _, i := range after {
			got = append(got, string(i.Type)+i.Mode.String()+strings.TrimPrefix(i.Path, "copy/of/")+i.Target)
		}
		require.Equal(t, wanted, got, "all but the FIFO")
		info, err := files.Stat(ctx, "copy/of/one")
		require.NoError(t, err)
		require.Equal(t, metadata, info.Metadata)
		require.Equal(t, "same\n", sh(t, ctx, in, "cmp d/zeros copy/of/zeros && cmp d/bad* copy/of/bad* && echo same"))

		buf.Reset()
		require.NoError(t, files.Export(ctx, "d/one", &buf))
		require.NoError(t, files.Import(ctx, "", &buf))
		require.Equal(t, "1", read(t, ctx, files, "one"))
		require.ErrorIs(t, files.Export(ctx, "none", io.Discard), fs.ErrNotExist)
		require.ErrorIs(t, files.Export(ctx, "../..", io.Discard), backends.ErrOutside)
		require.Error(t, files.Export(ctx, "d/outward", io.Discard))
		require.Error(t, files.Import(ctx, "d/outward", strings.NewReader("")))
		require.Error(t, files.Import(ctx, "x", strings.NewReader("this is no tar stream, whatever it says it is"+strings.Repeat("!", 1000))))
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, files.Export(cancelled, "d", io.Discard), context.Canceled)
	})
	with(t, open, "HostileStreams", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "in/old", "old")
		for name, headers := range map[string][]tar.Header{
			"a name that leads out":       {{Name: "../../escaped", Typeflag: tar.TypeReg}},
			"a link and a file behind it": {{Name: "l", Linkname: "../..", Typeflag: tar.TypeSymlink}, {Name: "l/escaped", Typeflag: tar.TypeReg}},
			"an absolute link":            {{Name: "m", Linkname: "/tmp", Typeflag: tar.TypeSymlink}, {Name: "m/escaped", Typeflag: tar.TypeReg}},
			"a hard link to outside":      {{Name: "h", Linkname: "../../../etc/passwd", Typeflag: tar.TypeLink}},
			"a hard link through a link": {
				{Name: "n", Linkname: "/etc", Typeflag: tar.TypeSymlink}, {Name: "p", Linkname: "n/passwd", Typeflag: tar.TypeLink},
			},
			"a device":             {{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
			"a FIFO":               {{Name: "fifo", Typeflag: tar.TypeFifo}},
			"a file over a folder": {{Name: "q/r", Typeflag: tar.TypeReg}, {Name: "q", Typeflag: tar.TypeReg}},
			"a file below a file":  {{Name: "s", Typeflag: tar.TypeReg}, {Name: "s/t", Typeflag: tar.TypeReg}},
			"the folder itself":    {{Name: ".", Typeflag: tar.TypeReg}},
			"a long name":          {{Name: strings.Repeat("x", 300), Typeflag: tar.TypeReg}},
		} {
			var buf bytes.Buffer
			w := tar.NewWriter(&buf)
			for _, h := range headers {
				require.NoError(t, w.WriteHeader(&h), name)
			}
			require.NoError(t, w.Close())
			require.Error(t, files.Import(ctx, "in", &buf), name)
		}
		// A file is replaced whole or not at all.
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "/old", Typeflag: tar.TypeReg, Size: 1000}))
		_, err := w.Write(make([]byte, 500))
		require.NoError(t, err)
		require.Error(t, files.Import(ctx, "in", bytes.NewReader(buf.Bytes())), "it ends in the middle")
		require.Equal(t, "old", read(t, ctx, files, "in/old"))
		infos, err := files.List(ctx, "in", 1)
		require.NoError(t, err)
		for _, i := range infos {
			require.NotContains(t, i.Name, "ds-sandbox", "nothing half written is left")
		}
		setuid := tar.Header{Name: "tool", Typeflag: tar.TypeReg, Mode: 0o4755}
		buf.Reset()
		w = tar.NewWriter(&buf)
		require.NoError(t, w.WriteHeader(&setuid))
		require.NoError(t, w.Close())
		require.NoError(t, files.Import(ctx, "in", &buf))
		require.Equal(t, "755\n", sh(t, ctx, in, "stat -c %a in/tool"))
	})
}
