package backendtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// refused defines what must hold of everything outside, whether it is out of reach or not even there.
const refused = `
import os, pathlib
def refused(what, *args, **kwargs):
    try:
        what(*args, **kwargs)
    except (PermissionError, FileNotFoundError):
        return
    except OSError as e:
        if e.errno == 18: return  # EXDEV: Landlock's answer, and that of another file system
        raise
    print("not refused:", what, args)
`

func testIsolation(t *testing.T, open Open) {
	t.Run("UnknownKindIsAnError", func(t *testing.T) {
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		_, err := b.Create(t.Context(), backends.Spec{ID: "suite", Isolation: "walls"})
		require.ErrorIs(t, err, backends.ErrUnsupported)
		require.ErrorContains(t, err, `"walls"`)
	})
	t.Run("WhatCanNotBeHadIsAnError", func(t *testing.T) {
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		isolation, detail := b.Isolation()
		require.NotEmpty(t, detail)
		in, err := b.Create(t.Context(), backends.Spec{ID: "suite", Isolation: backends.IsolationFiles})
		if isolation != backends.IsolationFiles {
			require.ErrorIs(t, err, backends.ErrUnsupported)
			return
		}
		require.NoError(t, err)
		require.Equal(t, backends.IsolationFiles, in.Isolation())
	})
	// The user's home is one of ours, so that what the code does to it hurts nobody.
	home, outside := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	secret, canary := filepath.Join(home, ".ssh", "id_test"), filepath.Join(outside, "canary")
	require.NoError(t, os.MkdirAll(filepath.Dir(secret), 0o755))
	require.NoError(t, os.WriteFile(secret, []byte("s3cret"), 0o644))
	require.NoError(t, os.WriteFile(canary, []byte("alive"), 0o644))

	isolated := func(name string, test func(t *testing.T, ctx context.Context, in backends.Instance)) {
		with(t, open, name, func(t *testing.T, ctx context.Context, in backends.Instance) {
			if in.Isolation() == backends.IsolationNone {
				t.Skip("no isolation here")
			}
			test(t, ctx, in)
		})
	}
	isolated("HomeCanNotBeRead", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.Empty(t, c.run(refused+fmt.Sprintf(`
import subprocess
home = pathlib.Path(%q)
refused(open, home / ".ssh" / "id_test")
refused(os.listdir, home)
refused(os.listdir, home / ".ssh")
os.symlink(home, "link")
refused(open, "link/.ssh/id_test")
refused(os.link, home / ".ssh" / "id_test", "hard")
refused(os.rename, home / ".ssh" / "id_test", "mine")
refused(open, f"/proc/self/root{home}/.ssh/id_test")
assert subprocess.run(["cat", str(home / ".ssh" / "id_test")], capture_output=True).stdout == b"", "by a subprocess"
`, home)))
	})
	isolated("OutsideCanNotBeChanged", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.Empty(t, c.run(refused+fmt.Sprintf(`
outside = pathlib.Path(%q)
canary = outside / "canary"
open("inside", "w").close()
for mode in "r", "r+", "w", "a":
    refused(open, canary, mode)
refused(open, outside / "new", "w")
refused(os.truncate, canary, 0)
refused(os.unlink, canary)
refused(os.rename, canary, outside / "moved")
refused(os.rename, "inside", outside / "inside")
refused(os.link, "inside", outside / "inside")
refused(os.mkdir, outside / "dir")
refused(os.rmdir, outside)
refused(os.symlink, "x", outside / "link")
refused(os.mkfifo, outside / "fifo")
`, outside)))
		data, err := os.ReadFile(canary)
		require.NoError(t, err)
		require.Equal(t, "alive", string(data))
		names, err := os.ReadDir(outside)
		require.NoError(t, err)
		require.Len(t, names, 1)
	})
	isolated("WhatCodeNeedsIsThere", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.Equal(t, "all there\n", c.run(`
import os, sqlite3, ssl, subprocess, tempfile, threading
from multiprocessing import Pool, shared_memory
os.makedirs("a/b"); open("a/f", "w").write("x"); os.rename("a/f", "a/b/g"); os.truncate("a/b/g", 0)
os.mkfifo("fifo"); os.symlink("a", "link"); os.link("a/b/g", "hard"); os.chmod("hard", 0o755)
open(os.path.expanduser("~/.netrc"), "w").close(); open(os.devnull, "w").write("x"); open("/dev/urandom", "rb").read(1)
with tempfile.NamedTemporaryFile(dir=None) as f: os.link(f.name, "from temporary")
sqlite3.connect("db").execute("create table t (x)"); ssl.create_default_context(); os.listdir("/usr"); open("/etc/passwd").read(1)
for end in os.openpty(): os.close(end)
assert subprocess.check_output("cat <(echo sub); echo here", shell=True, executable="/bin/bash") == b"sub\nhere\n"
subprocess.run(["kill", "-9", str(subprocess.Popen(["sleep", "600"]).pid)], check=True)
thread = threading.Thread(target=os.getpid); thread.start(); thread.join()
with Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
block = shared_memory.SharedMemory(create=True, size=10); block.close(); block.unlink()
print("all there")
`))
		names, err := in.Files().List(ctx, "a/b", 1)
		require.NoError(t, err)
		require.Len(t, names, 1)
	})
	t.Run("InstancesCanNotReadEachOther", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		b := open(t)
		defer func() { require.NoError(t, b.Close()) }()
		one, err := b.Create(ctx, backends.Spec{ID: "one"})
		require.NoError(t, err)
		two, err := b.Create(ctx, backends.Spec{ID: "two"})
		require.NoError(t, err)
		if one.Isolation() == backends.IsolationNone {
			t.Skip("no isolation here")
		}
		write(t, ctx, one.Files(), "from", one.Workspace())
		c := startKernel(t, ctx, two, backends.KernelConfig{})
		require.Empty(t, c.run(refused+fmt.Sprintf("other = pathlib.Path(%q)\n"+
			"if other != pathlib.Path.cwd(): refused(open, other / 'from'); refused(os.listdir, other); refused(os.listdir, other.parent)",
			one.Workspace())))
	})
}
