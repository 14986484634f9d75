package backendtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// grown is by how much the memory of this program that is in use grows at most during a call, bytes.
func grown(call func()) uint64 {
	var now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&now)
	before, most := now.HeapAlloc, now.HeapAlloc
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
			select {
			case <-ticker.C:
			case <-stop:
				return
			}
		}
	}()
	call()
	close(stop)
	<-done
	return most - before
}

// flat is by how much a transfer may let memory grow, whatever its size, bytes: buffers, and as much garbage again.
const flat = 64 << 20

// testHeavy is about what is much: large files, many files, names that are long or no text, floods, daemons.
func testHeavy(t *testing.T, open Open) {
	with(t, open, "LargeFilesWithFlatMemory", func(t *testing.T, ctx context.Context, in backends.Instance) {
		if testing.Short() {
			t.Skip("reads 4 GB")
		}
		files := in.Files()
		const size = 2 << 30
		// A hole, so that no disk is taken; the contents flow all the same.
		sh(t, ctx, in, "truncate -s 2147483648 large; printf end >>large")
		require.Less(t, grown(func() {
			r, err := files.Open(ctx, "large", nil)
			require.NoError(t, err)
			n, err := io.Copy(io.Discard, r)
			require.NoError(t, errors.Join(err, r.Close()))
			require.EqualValues(t, size+3, n)
			r, err = files.Open(ctx, "large", &backends.OpenOptions{Offset: size})
			require.NoError(t, err)
			tail, err := io.ReadAll(r)
			require.NoError(t, errors.Join(err, r.Close()))
			require.Equal(t, "end", string(tail))
			require.NoError(t, files.Export(ctx, "large", io.Discard))
			n, err = files.Write(ctx, "in", io.LimitReader(zeros{}, 256<<20), nil)
			require.NoError(t, err)
			require.EqualValues(t, 256<<20, n)
		}), uint64(flat))
	})
	with(t, open, "ManyFiles", func(t *testing.T, ctx context.Context, in backends.Instance) {
		if testing.Short() {
			t.Skip("makes 100,000 files")
		}
		files := in.Files()
		_, errText, status := finished(t, ctx, in, backends.Cmd{Args: []string{"python3", "-c", `
import os
for d in range(100):
    os.makedirs("many/%d" % d)
    for i in range(1000):
        os.close(os.open("many/%d/%d" % (d, i), os.O_CREAT | os.O_WRONLY))
`}})
		require.Zero(t, status.Code, errText)
		infos, err := files.List(ctx, "many", 1)
		require.NoError(t, err)
		require.Len(t, infos, 100)
		_, err = files.List(ctx, "many", 5)
		require.ErrorContains(t, err, "too many entries", "100,000 of them and 100 folders")
		r, w := io.Pipe()
		go func() { _ = w.CloseWithError(files.Export(ctx, "many", w)) }()
		entries := 0
		for stream := tar.NewReader(r); ; entries++ {
			if _, err = stream.Next(); err != nil {
				break
			}
		}
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, 100_100, entries)
		_, err = io.Copy(io.Discard, r)
		require.NoError(t, err)
		require.NoError(t, files.Remove(ctx, "many"))
	})
	with(t, open, "NamesThatAreLongOrNoText", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		for _, name := range []string{strings.Repeat("n", 10_000), strings.Repeat("d/", 5_000), "\xff\xfe", "nul\x00byte"} {
			_, err := files.Write(ctx, name, strings.NewReader("x"), nil)
			require.ErrorIs(t, err, backends.ErrInvalidName)
			_, err = files.Open(ctx, name, nil)
			require.ErrorIs(t, err, backends.ErrInvalidName)
			_, err = files.List(ctx, name, 2)
			require.ErrorIs(t, err, backends.ErrInvalidName)
			require.ErrorIs(t, files.Copy(ctx, name, "x"), backends.ErrInvalidName)
			require.ErrorIs(t, files.Rename(ctx, name, "x"), backends.ErrInvalidName)
			require.ErrorIs(t, files.Export(ctx, name, io.Discard), backends.ErrInvalidName)
			require.ErrorIs(t, files.Import(ctx, name, bytes.NewReader(nil)), backends.ErrInvalidName)
			require.ErrorIs(t, files.SetMetadata(ctx, name, nil), backends.ErrInvalidName)
		}
		long := strings.Repeat("é", 127)
		write(t, ctx, files, long+"/"+long+"/"+long, "x")
		require.Equal(t, "x", read(t, ctx, files, long+"/"+long+"/"+long))
		// What is no text is listed, and can be named, with its bytes written out, and is copied and removed with its folder.
		sh(t, ctx, in, `mkdir d; printf x >"d/$(printf 'a\377b')"`)
		infos, err := files.List(ctx, "d", 1)
		require.NoError(t, err)
		require.Equal(t, "a\uFFFDffb", infos[0].Name)
		require.Equal(t, "x", read(t, ctx, files, "d/"+infos[0].Name))
		require.NoError(t, files.Copy(ctx, "d", "e"))
		require.Equal(t, "x", sh(t, ctx, in, `cat "e/$(printf 'a\377b')"`))
		// Deeper than a path can be.
		_, errText, status := finished(t, ctx, in, backends.Cmd{Args: []string{"python3", "-c", `
import os
os.mkdir("deep"); os.chdir("deep")
for _ in range(600): os.mkdir("0123456789"); os.chdir("0123456789")
open("f", "w").write("x")`}})
		require.Zero(t, status.Code, errText)
		_, err = files.List(ctx, "", 2000)
		require.NoError(t, err)
		require.NoError(t, files.Export(ctx, "", io.Discard))
		require.ErrorIs(t, files.Copy(ctx, "deep", "deep2"), backends.ErrInvalidName)
		for _, name := range []string{"d", "e", "deep", "deep2"} {
			require.NoError(t, files.Remove(ctx, name), name)
		}
	})
	with(t, open, "OutputFlood", func(t *testing.T, ctx context.Context, in backends.Instance) {
		require.Less(t, grown(func() {
			c, err := in.StartCommand(ctx, backends.Cmd{Args: shell("yes 0123456789012345678901234567890 | head -c 300000000; echo >&2 end")})
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() { _, err := io.Copy(io.Discard, c.Stderr()); done <- errors.Join(err, c.Stderr().Close()) }()
			n, err := io.Copy(io.Discard, c.Stdout())
			require.NoError(t, errors.Join(err, c.Stdout().Close(), <-done))
			require.EqualValues(t, 300_000_000, n)
			status, err := c.Wait(ctx)
			require.NoError(t, err)
			require.Zero(t, status.Code)
			// One that nobody reads is held up, and ends like any other.
			c, err = in.StartCommand(ctx, backends.Cmd{Args: []string{"yes"}})
			require.NoError(t, err)
			<-time.After(300 * time.Millisecond)
			require.NoError(t, c.Signal(ctx, backends.Kill))
			status, err = c.Wait(ctx)
			require.NoError(t, err)
			require.Equal(t, "SIGKILL", status.Signal)
			require.NoError(t, errors.Join(c.Stdout().Close(), c.Stderr().Close()))
		}), uint64(flat))
	})
	with(t, open, "DaemonThatHoldsThePipes", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"python3", "-c", `
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    for name in "SIGTERM", "SIGHUP", "SIGINT": signal.signal(getattr(signal, name), signal.SIG_IGN)
    print("daemon", os.getpid(), flush=True)
    while True:
        time.sleep(.02)
        with open("beat.new", "w") as f: f.write(str(time.monotonic()))
        os.rename("beat.new", "beat")
time.sleep(.3)
`}})
		require.NoError(t, err)
		readUntil(t, c.Stdout(), "daemon")
		waiting, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		status, err := c.Wait(waiting)
		require.NoError(t, err, "the command has ended, whoever holds its pipes")
		require.Zero(t, status.Code)
		require.NoError(t, errors.Join(c.Stdout().Close(), c.Stderr().Close()), "a pipe can be closed that others hold")
		var first string
		require.Eventually(t, func() bool {
			r, err := in.Files().Open(ctx, "beat", nil)
			if errors.Is(err, fs.ErrNotExist) {
				return false
			}
			require.NoError(t, err)
			data, err := io.ReadAll(r)
			require.NoError(t, errors.Join(err, r.Close()))
			if first == "" {
				first = string(data)
			}
			return string(data) != first
		}, time.Minute, 20*time.Millisecond, "it lives on")
		stats, err := in.Stats(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, stats.Processes)
		require.NoError(t, in.Destroy(ctx), "and ends with its instance")
	})
	with(t, open, "WhoIgnoresSIGTERM", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c, err := in.StartCommand(ctx, backends.Cmd{
			Args: shell(`trap '' TERM; (trap '' TERM; echo up; while :; do sleep 0.05; done) & while :; do sleep 0.05; done`),
		})
		require.NoError(t, err)
		readUntil(t, c.Stdout(), "up\n")
		require.NoError(t, c.Signal(ctx, backends.Terminate))
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, err = c.Wait(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, c.Signal(ctx, backends.Kill))
		status, err := c.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, "SIGKILL", status.Signal)
		_, err = io.ReadAll(c.Stdout())
		require.NoError(t, err, "its child, too")
	})
}
