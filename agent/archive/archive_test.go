package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/agent/archive"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, root.Close()) })
	return root
}

func TestLinksThatLeadOutAreRefusedOnWish(t *testing.T) {
	for target, inside := range map[string]bool{
		"f": true, "d/f": true, "../a/f": true, "../../x": false, "..": true, "../..": false, "/etc/passwd": false, "d/../../../x": false, "": false,
	} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "a/link", Linkname: target, Typeflag: tar.TypeSymlink}))
		require.NoError(t, w.Close())
		err := archive.Unpack(t.Context(), openRoot(t, t.TempDir()), &buf, nil)
		if inside {
			require.NoError(t, err, target)
		} else {
			require.ErrorIs(t, err, backends.ErrOutside, target)
		}
	}
}

func TestProgressCountsAll(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(from, "d"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(from, "d", "big"), make([]byte, 20<<20), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(from, "small"), []byte("123"), 0o600))
	var packed, unpacked []backends.Progress
	var buf bytes.Buffer
	require.NoError(t, archive.Pack(t.Context(), openRoot(t, from), ".", &buf, &archive.Options{OnProgress: func(p backends.Progress) { packed = append(packed, p) }}))
	require.NoError(t, archive.Unpack(t.Context(), openRoot(t, to), &buf, &archive.Options{OnProgress: func(p backends.Progress) { unpacked = append(unpacked, p) }}))
	for _, told := range [][]backends.Progress{packed, unpacked} {
		require.Equal(t, backends.Progress{Entries: 3, Bytes: 20<<20 + 3, Name: "small"}, told[len(told)-1])
		require.Len(t, told, 6, "three entries, twice on the way through the large one, the end")
	}
}

// TestFilesThatChangeWhileTheyAreRead shrinks, grows, replaces and removes files while they are packed: the stream stays whole.
func TestFilesThatChangeWhileTheyAreRead(t *testing.T) {
	dir := t.TempDir()
	defer meanwhile(func(i int) {
		name := filepath.Join(dir, strconv.Itoa(i%20))
		switch i % 5 {
		case 0:
			_ = os.WriteFile(name, make([]byte, i%3*400_000), 0o600)
		case 1:
			_ = os.Truncate(name, int64(i%7)*100_000)
		case 2:
			_ = os.Remove(name)
		case 3:
			_ = os.Symlink("/etc/passwd", name)
		case 4:
			_ = os.MkdirAll(filepath.Join(name, "sub"), 0o700)
			_ = os.RemoveAll(name)
		}
	})()
	root := openRoot(t, dir)
	for range backendtest.Rounds(200, 50) {
		var buf bytes.Buffer
		require.NoError(t, archive.Pack(t.Context(), root, ".", &buf, nil))
		r := tar.NewReader(&buf)
		for {
			_, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, r)
			require.NoError(t, err)
		}
	}
}

// meanwhile does something over and over, until the returned function is called.
func meanwhile(do func(i int)) (stop func()) {
	ended := make(chan struct{})
	var doing sync.WaitGroup
	doing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			default:
				do(i)
			}
		}
	})
	return func() {
		close(ended)
		doing.Wait()
	}
}

// TestFoldersSwappedForLinksNeverLeadOut swaps a folder for a link to a canary while it is packed and unpacked into.
func TestFoldersSwappedForLinksNeverLeadOut(t *testing.T) {
	top := t.TempDir()
	dir, outside := filepath.Join(top, "dir"), filepath.Join(top, "outside")
	for _, d := range []string{filepath.Join(dir, "d"), outside} {
		require.NoError(t, os.MkdirAll(d, 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(outside, "f"), []byte("canary"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "d", "f"), []byte("inside"), 0o600))
	swapped, aside := filepath.Join(dir, "d"), filepath.Join(dir, "aside")
	defer meanwhile(func(int) {
		_ = os.Rename(swapped, aside)
		_ = os.Symlink(outside, swapped)
		_ = os.Remove(swapped)
		_ = os.Rename(aside, swapped)
	})()
	var stream bytes.Buffer
	w := tar.NewWriter(&stream)
	for i := range 3 {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "d/new" + strconv.Itoa(i), Typeflag: tar.TypeReg, Size: 1}))
		_, err := w.Write([]byte("x"))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	root := openRoot(t, dir)
	for range backendtest.Rounds(1000, 250) {
		var buf bytes.Buffer
		if err := archive.Pack(t.Context(), root, ".", &buf, nil); err == nil {
			require.NotContains(t, buf.String(), "canary")
		}
		_ = archive.Unpack(t.Context(), root, bytes.NewReader(stream.Bytes()), nil)
	}
	names, err := filepath.Glob(filepath.Join(outside, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(outside, "f")}, names, "something was written outside")
}

func TestCancelledTransfersEnd(t *testing.T) {
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	require.ErrorIs(t, archive.Pack(ctx, openRoot(t, dir), ".", io.Discard, nil), reason)
	require.ErrorIs(t, archive.Unpack(ctx, openRoot(t, dir), bytes.NewReader(nil), nil), reason)
}

func TestManySmallFiles(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	const folders, each = 20, 500
	for i := range folders {
		dir := filepath.Join(from, fmt.Sprintf("folder%02d", i))
		require.NoError(t, os.Mkdir(dir, 0o755))
		for j := range each {
			require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%04d", j)), []byte(strconv.Itoa(j)), 0o600))
		}
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := archive.Pack(t.Context(), openRoot(t, from), ".", w, nil)
		_ = w.CloseWithError(err)
		packed <- err
	}()
	entries := 0
	require.NoError(t, archive.Unpack(t.Context(), openRoot(t, to), r, &archive.Options{OnProgress: func(p backends.Progress) { entries = p.Entries }}))
	_, err := io.Copy(io.Discard, r)
	require.NoError(t, errors.Join(err, <-packed))
	require.Equal(t, folders*each+folders, entries)
	data, err := os.ReadFile(filepath.Join(to, "folder19", "file0499"))
	require.NoError(t, err)
	require.Equal(t, "499", string(data))
}

// FuzzUnpack feeds any bytes: nothing may be made outside of the folder.
func FuzzUnpack(f *testing.F) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "d/f", Typeflag: tar.TypeReg},
		{Name: "l", Linkname: "d/f", Typeflag: tar.TypeSymlink},
		{Name: "h", Linkname: "d/f", Typeflag: tar.TypeLink},
	} {
		_ = w.WriteHeader(&h)
	}
	_ = w.Close()
	f.Add(buf.Bytes())
	f.Add([]byte("nonsense"))
	f.Fuzz(func(t *testing.T, data []byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "in")
		require.NoError(t, os.Mkdir(dir, 0o755))
		root := openRoot(t, dir)
		_ = archive.Unpack(t.Context(), root, bytes.NewReader(data), nil)
		names, err := filepath.Glob(filepath.Join(top, "*"))
		require.NoError(t, err)
		require.Len(t, names, 1)
	})
}
