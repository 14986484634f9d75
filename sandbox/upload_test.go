package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// onBothBackends runs a test in a sandbox without a kernel, here and in a container.
func onBothBackends(t *testing.T, test func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox)) {
	t.Helper()
	t.Run("local", func(t *testing.T) {
		ctx, sbx := lazySandbox(t)
		test(t, ctx, sbx)
	})
	t.Run("docker", func(t *testing.T) {
		ctx := testContext(t)
		engine, err := sandbox.Open(ctx, sandbox.Config{
			DefaultBackend: "docker", AgentBinary: dockertest.Config(t).Agent, NoForkServer: true, MaxSpares: sandbox.NoSpares,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, engine.Close(context.Background())) })
		sbx, err := engine.Create(ctx, &sandbox.Options{Lazy: true})
		require.NoError(t, err)
		test(t, ctx, sbx)
	})
}

// put writes files of this machine, making their folders.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
}

// did is a Transferred without what was left out.
func did(t *testing.T, done *sandbox.Transferred, err error) sandbox.Transferred {
	t.Helper()
	require.NoError(t, err)
	require.Nil(t, done.Skipped)
	return *done
}

func TestUploadSendsWhatChanged(t *testing.T) {
	onBothBackends(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		files, dir := sbx.Files(), t.TempDir()
		put(t, dir, map[string]string{"a.py": "1", "data/b.csv": "22", "data/c.csv": "333", "\xff": "4444"})
		require.NoError(t, os.Symlink("a.py", filepath.Join(dir, "link")))
		changed := &sandbox.TransferOptions{Changed: sandbox.ChangedTime}
		upload := func(opts *sandbox.TransferOptions) sandbox.Transferred {
			t.Helper()
			done, err := files.Upload(ctx, dir, "work", opts)
			return did(t, done, err)
		}
		require.Equal(t, sandbox.Transferred{Sent: 5, Bytes: 10}, upload(nil))
		require.Equal(t, sandbox.Transferred{Unchanged: 5}, upload(changed), "times survive, to the nanosecond")
		put(t, dir, map[string]string{"a.py": "2", "new/d": ""})
		require.NoError(t, os.Remove(filepath.Join(dir, "data", "c.csv")))
		require.Equal(t, sandbox.Transferred{Sent: 2, Unchanged: 3, Bytes: 1}, upload(changed))
		_, err := sbx.Commands().Run(ctx, "test -e work/data/c.csv && mkdir -p work/by/code && touch work/by/code/x work/data/x && printf 23 >work/data/b.csv", nil)
		require.NoError(t, err)
		require.Equal(t, sandbox.Transferred{Sent: 1, Unchanged: 4, Deleted: 5, Bytes: 2}, upload(&sandbox.TransferOptions{Changed: sandbox.ChangedTime, Delete: true}))
		require.Equal(t, "22", mustRead(t, ctx, files, "work/data/b.csv"))
		require.NoError(t, os.Chtimes(filepath.Join(dir, "a.py"), time.Time{}, time.Now()))
		require.Equal(t, sandbox.Transferred{Unchanged: 5}, upload(&sandbox.TransferOptions{Changed: sandbox.ChangedHash}))
		require.Equal(t, sandbox.Transferred{Sent: 1, Unchanged: 4, Bytes: 1}, upload(changed))

		// One file alone.
		one := filepath.Join(dir, "a.py")
		done, err := files.Upload(ctx, one, "work", changed)
		require.Equal(t, sandbox.Transferred{Unchanged: 1}, did(t, done, err))
		done, err = files.Upload(ctx, one, "elsewhere", changed)
		require.Equal(t, sandbox.Transferred{Sent: 1, Bytes: 1}, did(t, done, err))
		_, err = files.Upload(ctx, one, "work", &sandbox.TransferOptions{Delete: true})
		require.ErrorIs(t, err, sandbox.ErrNotDir)
		_, err = files.Upload(ctx, dir, "work/a.py", changed)
		require.ErrorIs(t, err, fs.ErrExist)
		require.NotErrorIs(t, err, context.Canceled)

		// What is in the way.
		_, err = sbx.Commands().Run(ctx, "rm -r work/new work/a.py && mkdir work/a.py && touch work/new work/a.py/x", nil)
		require.NoError(t, err)
		_, err = files.Upload(ctx, dir, "work", changed)
		require.ErrorIs(t, err, sandbox.ErrIsDir)
		require.Equal(t, 3, upload(&sandbox.TransferOptions{Changed: sandbox.ChangedTime, Delete: true}).Deleted)
		require.Equal(t, "2", mustRead(t, ctx, files, "work/a.py"))

		for says, opts := range map[string]*sandbox.TransferOptions{`"some"`: {Follow: "some"}, `"odd"`: {Changed: "odd"}} {
			_, err = files.Upload(ctx, dir, "work", opts)
			require.ErrorContains(t, err, says)
		}
		_, err = files.Download(ctx, "work", t.TempDir(), changed)
		require.ErrorContains(t, err, "uploads")
		_, err = files.Upload(ctx, dir, "../x", changed)
		require.ErrorIs(t, err, sandbox.ErrOutside)
	})
}

func mustRead(t *testing.T, ctx context.Context, files *sandbox.Files, name string) string {
	t.Helper()
	text, err := files.ReadString(ctx, name)
	require.NoError(t, err)
	return text
}

func TestUploadNamesWhatItLeavesOut(t *testing.T) {
	onBothBackends(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		files, top := sbx.Files(), t.TempDir()
		dir := filepath.Join(top, "dir")
		put(t, top, map[string]string{"dir/d/f": "inside", "dir/z": "last", "secret/key": "outside"})
		for name, target := range map[string]string{"copy": "d/f", "d/up": "..", "keys": "../secret", "nowhere": "none"} {
			require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
		}
		require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
		done, err := files.Upload(ctx, dir, "in", &sandbox.TransferOptions{Follow: sandbox.FollowInside})
		left := new(sandbox.SkippedError)
		require.ErrorAs(t, err, &left)
		require.Equal(t, left, done.Skipped)
		require.Equal(t, 4, left.Count)
		for _, why := range []error{sandbox.ErrLoop, sandbox.ErrOutside, fs.ErrNotExist, sandbox.ErrNotRegular} {
			require.ErrorIs(t, err, why)
		}
		require.Equal(t, 3, done.Sent)
		require.Equal(t, "inside", mustRead(t, ctx, files, "in/copy"))
		require.Equal(t, "last", mustRead(t, ctx, files, "in/z"))
		there, err := files.Exists(ctx, "in/keys")
		require.NoError(t, err)
		require.False(t, there)

		done, err = files.Upload(ctx, dir, "all", &sandbox.TransferOptions{Follow: sandbox.FollowAll, AllowSkipped: true})
		require.NoError(t, err)
		require.Equal(t, 3, done.Skipped.Count)
		require.Equal(t, "outside", mustRead(t, ctx, files, "all/keys/key"))
	})
}

func TestUploadNamesWhatMayNotBeRead(t *testing.T) {
	if os.Geteuid() == 0 {
		backendtest.AsOrdinaryUser(t, "^"+t.Name()+"$", t.Name())
		return
	}
	ctx, sbx := lazySandbox(t)
	dir := t.TempDir()
	put(t, dir, map[string]string{"a": "1", "closed/x": "2", "file": "3", "z": "4"})
	mirror := &sandbox.TransferOptions{Changed: sandbox.ChangedTime, Delete: true, AllowSkipped: true}
	done, err := sbx.Files().Upload(ctx, dir, "w", mirror)
	require.Equal(t, 4, did(t, done, err).Sent)
	require.NoError(t, os.Chmod(filepath.Join(dir, "closed"), 0))
	require.NoError(t, os.Chmod(filepath.Join(dir, "file"), 0))
	defer func() { _ = os.Chmod(filepath.Join(dir, "closed"), 0o700) }()
	done, err = sbx.Files().Upload(ctx, dir, "w", mirror)
	require.NoError(t, err)
	require.Equal(t, 2, done.Skipped.Count)
	require.ErrorIs(t, done.Skipped, fs.ErrPermission)
	require.Zero(t, done.Deleted)
	require.Equal(t, "2", mustRead(t, ctx, sbx.Files(), "w/closed/x"), "what can't be read here is not removed there")
	require.Equal(t, "3", mustRead(t, ctx, sbx.Files(), "w/file"))
}

// TestUploadOfAFolderInUse uploads while files are written, replaced and removed: what is named as sent is whole.
func TestUploadOfAFolderInUse(t *testing.T) {
	onBothBackends(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		dir := t.TempDir()
		ended, idle := make(chan struct{}), make(chan struct{})
		rest := sync.OnceFunc(func() {
			close(ended)
			<-idle
		})
		defer rest()
		go func() {
			defer close(idle)
			for i := 0; ; i++ {
				select {
				case <-ended:
					return
				default:
				}
				name := filepath.Join(dir, fmt.Sprint(i%10))
				switch i % 4 {
				case 0:
					_ = os.Remove(name)
				case 1:
					_ = os.Symlink("/etc/passwd", name)
				default: // of one byte over and over
					_ = os.Remove(name)
					_ = os.WriteFile(name, bytes.Repeat([]byte{byte('a' + i%26)}, 200_000), 0o600)
				}
			}
		}()
		opts := &sandbox.TransferOptions{Follow: sandbox.FollowInside, Changed: sandbox.ChangedTime, Delete: true}
		for range 10 {
			_, err := sbx.Files().Upload(ctx, dir, "w", opts)
			for left := new(sandbox.SkippedError); errors.As(err, &left); err = nil {
				for _, s := range left.Skipped {
					require.True(t, errors.Is(s.Err, sandbox.ErrVanished) || errors.Is(s.Err, sandbox.ErrChanged) ||
						errors.Is(s.Err, sandbox.ErrOutside) || errors.Is(s.Err, fs.ErrNotExist), "%v", s)
				}
			}
			require.NoError(t, err)
		}
		rest()
		for range 2 {
			_, err := sbx.Files().Upload(ctx, dir, "w", opts)
			if err != nil {
				require.ErrorIs(t, err, sandbox.ErrOutside)
			}
		}
		out := t.TempDir()
		require.NoError(t, transferErr(sbx.Files().Download(ctx, "w", out, nil)))
		names, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, n := range names {
			if n.Type()&fs.ModeSymlink == 0 {
				want, err := os.ReadFile(filepath.Join(dir, n.Name()))
				require.NoError(t, err)
				got, err := os.ReadFile(filepath.Join(out, n.Name()))
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got), n.Name())
			}
		}
	})
}

func TestOneOfTenThousandFilesIsSentAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 10,000 files")
	}
	dir := t.TempDir()
	for i := range 10_000 {
		name := filepath.Join(dir, fmt.Sprint(i/100), fmt.Sprint(i))
		if i%100 == 0 {
			require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		}
		require.NoError(t, os.WriteFile(name, []byte("some bytes"), 0o600))
	}
	onBothBackends(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		for _, by := range []sandbox.ChangePolicy{sandbox.ChangedTime, sandbox.ChangedHash} {
			opts := &sandbox.TransferOptions{Changed: by, Delete: true}
			begun := time.Now()
			done, err := sbx.Files().Upload(ctx, dir, "w", opts)
			did(t, done, err)
			all := time.Since(begun)
			put(t, dir, map[string]string{"50/5000": fmt.Sprint(by)})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun = time.Now()
			done, err = sbx.Files().Upload(ctx, dir, "w", opts)
			took := time.Since(begun)
			runtime.ReadMemStats(&after)
			require.Equal(t, sandbox.Transferred{Sent: 1, Unchanged: 9999, Bytes: 4}, did(t, done, err))
			require.Less(t, took, 10*time.Second)
			t.Logf("by %s: first %v, then %v; %d KiB allocated", by, all, took, (after.TotalAlloc-before.TotalAlloc)>>10)
		}
	})
}
