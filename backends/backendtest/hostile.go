package backendtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// swapper makes d a folder and a link to the outside by turns, for ever.
const swapper = `
import os, shutil, sys
print("up", flush=True)
while True:
    try:
        os.rename("d", "spare")
        os.symlink(sys.argv[1], "d")
        os.unlink("d")
    except OSError:  # the other side has made a folder there meanwhile
        shutil.rmtree("d", ignore_errors=True)
    try:
        os.rename("spare", "d")
    except OSError:
        shutil.rmtree("d", ignore_errors=True)
`

// changer makes a file longer and shorter, for ever.
const changer = `
import os
print("up", flush=True)
with open("growing", "r+b", buffering=0) as f:
    while True:
        os.ftruncate(f.fileno(), 3_000_000)
        os.ftruncate(f.fileno(), 10)
`

// during runs a program of Python while act runs.
func during(t *testing.T, ctx context.Context, in backends.Instance, program string, args []string, act func()) {
	t.Helper()
	c, err := in.StartCommand(ctx, backends.Cmd{Args: append([]string{"python3", "-c", program}, args...)})
	require.NoError(t, err)
	readUntil(t, c.Stdout(), "up\n")
	act()
	require.NoError(t, c.Signal(ctx, "SIGKILL"))
	status, err := c.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, "SIGKILL", status.Signal, "it went on all the time")
	require.NoError(t, errors.Join(c.Stdout().Close(), c.Stderr().Close()))
}

// complete checks that nothing went wrong, but that these may have been left out for want of permission.
func complete(t *testing.T, err error, but ...string) {
	t.Helper()
	skipped := new(backends.SkippedError)
	if err == nil || !errors.As(err, &skipped) {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, fs.ErrPermission)
	require.Equal(t, len(skipped.Skipped), skipped.Count)
	for _, s := range skipped.Skipped {
		require.Contains(t, but, strings.TrimSuffix(s.Name, "/"))
	}
}

func testHostileFiles(t *testing.T, open Open) {
	with(t, open, "LinksSwappedWhileWeWalk", func(t *testing.T, ctx context.Context, in backends.Instance) {
		there := map[string]string{"same": "of the outside", "victim": "of the outside"}
		outside, now := makeOutside(t, ctx, in, there)
		files := in.Files()
		write(t, ctx, files, "d/same", "of the inside")
		inside := 0
		during(t, ctx, in, swapper, []string{outside}, func() {
			for range 200 {
				if r, err := files.Open(ctx, "d/same", nil); err == nil {
					data, err := io.ReadAll(r)
					require.NoError(t, errors.Join(err, r.Close()))
					require.Equal(t, "of the inside", string(data))
					inside++
				}
				_, _ = files.Write(ctx, "d/escaped", strings.NewReader("x"), &backends.WriteOptions{Mode: 0o777})
				_ = files.MakeDir(ctx, "d/escaped-too")
				_ = files.SetMetadata(ctx, "d/victim", map[string]string{"escaped": "yes"})
				_ = files.Rename(ctx, "d/victim", "stolen")
				_ = files.Remove(ctx, "d/victim")
				_ = files.Copy(ctx, "d", "copied")
				infos, err := files.List(ctx, "", 5)
				if err == nil {
					for _, info := range infos {
						require.NotContains(t, info.Path, "victim")
					}
				}
				var buf bytes.Buffer
				if files.Export(ctx, "", &buf) == nil {
					require.NotContains(t, buf.String(), "of the outside")
				}
				buf.Reset()
				w := tar.NewWriter(&buf)
				require.NoError(t, w.WriteHeader(&tar.Header{Name: "escaped/by-tar", Typeflag: tar.TypeReg, Mode: 0o600}))
				require.NoError(t, w.Close())
				_ = files.Import(ctx, "d", &buf)
				if watch, err := files.Watch(ctx, "d", nil); err == nil {
					require.NoError(t, watch.Close())
				}
				_ = files.Remove(ctx, "copied")
			}
		})
		t.Logf("%d of 200 reads found the folder", inside)
		require.Equal(t, there, now(), "nothing came, nothing went and nothing changed")
	})
	with(t, open, "WhatIsNoFileIsNeverOpened", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		_, _, status := finished(t, ctx, in, backends.Cmd{Args: []string{"python3", "-c", `
import os, socket
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
os.mkdir("closed", 0)
os.symlink("/dev/zero", "zero")
os.symlink("loop", "loop")
`}})
		require.Equal(t, 0, status.Code)
		for _, name := range []string{"fifo", "socket", "zero", "loop"} {
			_, err := files.Open(ctx, name, nil)
			require.Error(t, err, name)
			info, err := files.Stat(ctx, name)
			require.NoError(t, err, name)
			require.NotEqual(t, backends.TypeFile, info.Type, name)
			require.Error(t, files.Copy(ctx, name+"/below", "copy"), name)
			_, err = files.Write(ctx, name+"/below", strings.NewReader(""), nil)
			require.Error(t, err, name)
		}
		for _, name := range []string{"fifo", "socket"} {
			_, err := files.Open(ctx, name, nil)
			require.ErrorIs(t, err, backends.ErrNotRegular, name)
			require.Error(t, files.Copy(ctx, name, "copy"), name)
		}
		complete(t, files.Export(ctx, "", io.Discard), "closed")
		_, err := files.List(ctx, "closed", 1)
		if err != nil { // a user other than root
			require.ErrorIs(t, err, fs.ErrPermission)
		}
		require.NoError(t, files.Remove(ctx, "closed"))
		require.NoError(t, files.Export(ctx, "", io.Discard), "what is no file is left out")
		for _, name := range []string{"fifo", "socket", "zero", "loop"} {
			require.NoError(t, files.Remove(ctx, name), name)
		}
	})
	with(t, open, "WhatMayNotBeReadIsLeftOut", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "d/a", "first")
		write(t, ctx, files, "d/closed/in", "x")
		write(t, ctx, files, "d/secret", "x")
		write(t, ctx, files, "d/unlisted/in", "x")
		write(t, ctx, files, "d/z", "last")
		root := sh(t, ctx, in, "chmod 0 d/closed d/secret; chmod 600 d/unlisted; id -u") == "0\n"
		var buf bytes.Buffer
		complete(t, files.Export(ctx, "d", &buf), "closed", "secret", "unlisted")
		complete(t, files.Copy(ctx, "d", "copy"), "closed", "secret", "unlisted")
		require.NoError(t, files.Import(ctx, "import", &buf))
		for _, to := range []string{"copy", "import"} {
			require.Equal(t, "first", read(t, ctx, files, to+"/a"))
			require.Equal(t, "last", read(t, ctx, files, to+"/z"))
			info, err := files.Stat(ctx, to+"/closed")
			require.NoError(t, err)
			require.Equal(t, backends.TypeDir, info.Type)
			_, err = files.Stat(ctx, to+"/secret")
			require.Equal(t, root, err == nil)
		}
		if !root {
			require.ErrorIs(t, files.Export(ctx, "d/secret", io.Discard), fs.ErrPermission)
			require.ErrorIs(t, files.Export(ctx, "d/closed", io.Discard), fs.ErrPermission)
		}
		require.NoError(t, files.Remove(ctx, "d"))
	})
	with(t, open, "FilesThatChangeWhileRead", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "growing", strings.Repeat("x", 10))
		during(t, ctx, in, changer, nil, func() {
			for range 50 {
				r, err := files.Open(ctx, "growing", nil)
				require.NoError(t, err)
				n, err := io.Copy(io.Discard, r)
				require.NoError(t, errors.Join(err, r.Close()))
				require.LessOrEqual(t, n, int64(3_000_000))
				var buf bytes.Buffer
				require.NoError(t, files.Export(ctx, "growing", &buf), "a stream is whole whatever the file does")
				tr := tar.NewReader(&buf)
				header, err := tr.Next()
				require.NoError(t, err)
				n, err = io.Copy(io.Discard, tr)
				require.NoError(t, err)
				require.Equal(t, header.Size, n)
				_ = files.Copy(ctx, "growing", "copy")
			}
		})
	})
}
