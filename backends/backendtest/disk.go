package backendtest

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// awkward makes folders that are hard to count, closed and deep and changing, for a while, and nothing that is large.
const awkward = `
import os, time
os.mkdir("closed", 0)
top = os.open(".", os.O_RDONLY)
for i in range(1500):
    os.mkdir("d"); os.chdir("d")
os.fchdir(top)
os.makedirs("one/x"); open("two", "w").close()
end = time.monotonic() + 2
while time.monotonic() < end:
    os.rename("one", "spare"); os.rename("two", "one"); os.rename("one", "two"); os.rename("spare", "one")
print("alive", end="")
`

func testDisk(t *testing.T, open Open, lacks []Lack) {
	limits := backends.Limits{Disk: 60 << 20}
	withLimits(t, open, "WhatIsHardToCountIsNoReason", limits, func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.Equal(t, "alive", c.run(awkward))
		require.Equal(t, "alive", c.run("time.sleep(1); print('alive', end='')"))
	})
	limits.Disk = 20 << 20
	withLimits(t, open, "DeepFilesCount", limits, func(t *testing.T, ctx context.Context, in backends.Instance) {
		found := endedBy(t, ctx, in, `
import os, time
for i in range(300):
    os.mkdir("d"); os.chdir("d")
with open("big", "wb") as f:
    for _ in range(1000): f.write(bytes(1 << 20)); f.flush(); time.sleep(.01)`)
		require.Equal(t, backends.LimitDisk, found.Limit)
	})
	withLimits(t, open, "ClosedFoldersCountAsLastSeen", limits, func(t *testing.T, ctx context.Context, in backends.Instance) {
		found := endedBy(t, ctx, in, `
import os, time
def fill(name):
    with open(name, "wb") as f:
        for _ in range(12): f.write(bytes(1 << 20)); f.flush(); time.sleep(.01)
os.mkdir("d")
fill("d/one")
time.sleep(4)  # it is seen meanwhile, on a busy machine too
os.chmod("d", 0)
fill("two")
time.sleep(60)`)
		require.Equal(t, backends.LimitDisk, found.Limit)
	})
	withLimits(t, open, "OurOwnCallsKeepToIt", limits, func(t *testing.T, ctx context.Context, in backends.Instance) {
		files, c := in.Files(), startKernel(t, ctx, in, backends.KernelConfig{})
		require.Empty(t, c.run("import time; kept = 'kept'"))
		full := func(err error) {
			t.Helper()
			require.ErrorIs(t, err, backends.ErrNoSpace)
			var limit *backends.LimitError
			require.ErrorAs(t, err, &limit)
			require.Equal(t, backends.LimitDisk, limit.Limit)
			require.EqualValues(t, 20<<20, limit.Allowed)
		}
		write(t, ctx, files, "big", "old")
		_, err := files.Write(ctx, "big", io.LimitReader(zeros{}, 60<<20), nil)
		full(err)
		require.Equal(t, "old", read(t, ctx, files, "big"))
		_, err = files.Write(ctx, "half", io.LimitReader(zeros{}, 11<<20), nil)
		require.NoError(t, err)
		full(files.Copy(ctx, "half", "other"))
		require.NoError(t, files.MakeDir(ctx, "folder"))
		require.NoError(t, files.Rename(ctx, "half", "folder/half"))
		full(files.Copy(ctx, "folder", "twice"))
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "from tar", Typeflag: tar.TypeReg, Size: 15 << 20, Mode: 0o600}))
		_, err = io.Copy(w, io.LimitReader(zeros{}, 15<<20))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		full(files.Import(ctx, "in", bytes.NewReader(buf.Bytes())))
		require.Equal(t, "kept", c.run("time.sleep(1); print(kept, end='')"), "the code does not pay for it")
		require.NoError(t, files.Remove(ctx, "folder"))
		require.NoError(t, files.Import(ctx, "in", &buf), "what was removed is free again")
		require.Equal(t, "kept", c.run("time.sleep(1); print(kept, end='')"))
	})
	if slices.Contains(lacks, LacksUserFolders) {
		return
	}
	t.Run("OfAUsersFolder", func(t *testing.T) {
		mine := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(mine, "large"), make([]byte, 40<<20), 0o600))
		require.NoError(t, os.Mkdir(filepath.Join(mine, "closed"), 0))
		spec := backends.Spec{WorkspacePath: mine, Limits: limits}
		withSpec(t, open, "WhatWasThereDoesNotCount", spec, func(t *testing.T, ctx context.Context, in backends.Instance) {
			c := startKernel(t, ctx, in, backends.KernelConfig{})
			require.Equal(t, "alive", c.run("import time; time.sleep(1.5); print('alive', end='')"))
			_, err := in.Files().Write(ctx, "more", io.LimitReader(zeros{}, 10<<20), nil)
			require.NoError(t, err)
			_, err = in.Files().Write(ctx, "more2", io.LimitReader(zeros{}, 15<<20), nil)
			require.ErrorIs(t, err, backends.ErrNoSpace)
			require.NoError(t, in.Files().Remove(ctx, "more"))
			found := endedBy(t, ctx, in, `
import time
with open("big", "wb") as f:
    for _ in range(1000): f.write(bytes(1 << 20)); f.flush(); time.sleep(.01)`)
			require.Equal(t, backends.LimitDisk, found.Limit)
		})
	})
}
