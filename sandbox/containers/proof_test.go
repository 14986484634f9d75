package containers_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// The tests of this file and of backends/docker/proof_*_test.go are what README's table of attacks names.

// peakOf is by how much this program's memory grows meanwhile, bytes.
func peakOf(do func()) int64 {
	heap := func() int64 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	runtime.GC()
	before := heap()
	peak := before
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			peak = max(peak, heap())
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	do()
	close(stop)
	watching.Wait()
	return peak - before
}

// liar is the program testdata/liar, built once.
var liar = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "liar")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "liar")
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", path, "../../backends/docker/testdata/liar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := build.CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("build the liar: %w\n%s", err, out), os.RemoveAll(dir))
	}
	program, err := os.ReadFile(path)
	return program, errors.Join(err, os.RemoveAll(dir))
})

// liarEngine makes sandboxes whose agent is testdata/liar, with a script.
func liarEngine(t *testing.T, script string) *sandbox.Engine {
	t.Helper()
	dockertest.Config(t)
	program, err := liar()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "liar")
	require.NoError(t, os.WriteFile(path, slices.Concat(program, []byte("="+script)), 0o755))
	return openDocker(t, func(c *sandbox.Config) { c.AgentBinary = path })
}

// TestProofAgentThatLiesInItsGreeting: no sandbox is made, in time, and with bounded memory.
func TestProofAgentThatLiesInItsGreeting(t *testing.T) {
	for _, script := range []string{"silent", "deaf", "dies", "text", "errors", "zeros", "pings", "prints", "settings", "huge", "headers", "version"} {
		t.Run(script, func(t *testing.T) {
			engine := liarEngine(t, script)
			peak := peakOf(func() {
				ctx, cancel := context.WithTimeout(testContext(t), 3*time.Second)
				defer cancel()
				begun := time.Now()
				_, err := engine.Create(ctx, &sandbox.Options{Lazy: true})
				require.Error(t, err)
				require.Less(t, len(err.Error()), 10<<10)
				require.Less(t, time.Since(begun), 10*time.Second)
				t.Logf("%v: %.200v", time.Since(begun).Round(time.Millisecond), err)
			})
			require.Less(t, peak, int64(128<<20)) // the agent is copied in, in memory
		})
	}
}

// TestProofAgentThatLiesLater: every call ends in time, and so does the sandbox.
func TestProofAgentThatLiesLater(t *testing.T) {
	for _, script := range []string{"never", "exits", "endless", "nonsense"} {
		t.Run(script, func(t *testing.T) {
			engine := liarEngine(t, script)
			peak := peakOf(func() {
				sbx, err := engine.Create(testContext(t), &sandbox.Options{Lazy: true})
				require.NoError(t, err)
				for name, call := range map[string]func(context.Context) error{
					"run":  func(ctx context.Context) error { _, err := sbx.RunCode(ctx, "1", nil); return err },
					"list": func(ctx context.Context) error { _, err := sbx.Files().List(ctx, ""); return err },
					"export": func(ctx context.Context) error {
						return sbx.Files().Export(ctx, "", &bounded{left: 64 << 20})
					},
					"write": func(ctx context.Context) error {
						_, err := sbx.Files().WriteFrom(ctx, "x", io.LimitReader(zeros{}, 8<<20), nil)
						return err
					},
					"command": func(ctx context.Context) error { _, err := sbx.Commands().Run(ctx, "true", nil); return err },
				} {
					ctx, cancel := context.WithTimeout(testContext(t), 1500*time.Millisecond)
					begun := time.Now()
					err := call(ctx)
					cancel()
					require.Error(t, err, name)
					require.Less(t, len(err.Error()), 10<<10)
					require.Less(t, time.Since(begun), 6*time.Second, name)
					t.Logf("%s, %v: %.150v", name, time.Since(begun).Round(time.Millisecond), err)
				}
				begun := time.Now()
				require.NoError(t, sbx.Kill(testContext(t)))
				require.Less(t, time.Since(begun), 5*time.Second)
			})
			require.Less(t, peak, int64(160<<20))
		})
	}
}

// bounded is a writer that has had enough.
type bounded struct{ left int }

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

// TestProofDownloadOfALyingAgent: nothing is written outside of the folder, and nothing that is no file is made in it.
func TestProofDownloadOfALyingAgent(t *testing.T) {
	sbx, err := liarEngine(t, "tricks").Create(testContext(t), &sandbox.Options{Lazy: true})
	require.NoError(t, err)
	for _, trick := range []string{
		"dots", "deep dots", "absolute", "through a link", "through a later link", "hard link", "hard link by a link", "device", "pipe", "setuid", "huge", "sparse", "nul", "long",
	} {
		t.Run(trick, func(t *testing.T) {
			top := t.TempDir()
			target := filepath.Join(top, "target")
			require.NoError(t, os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o600))
			for _, policy := range []sandbox.LinkPolicy{sandbox.LinksSkip, sandbox.LinksKeep} {
				ctx, cancel := context.WithTimeout(testContext(t), 5*time.Second)
				_, err := sbx.Files().Download(ctx, trick, target, &sandbox.TransferOptions{Links: policy})
				cancel()
				t.Logf("%s: %.150v", policy, err)
				beside, err := filepath.Glob(filepath.Join(top, "*"))
				require.NoError(t, err)
				require.Equal(t, []string{filepath.Join(top, "secret"), target}, beside, "nothing beside the target")
				data, err := os.ReadFile(filepath.Join(top, "secret"))
				require.NoError(t, err)
				require.Equal(t, "secret", string(data))
				_, err = os.Stat("/tmp/ds-sandbox-proof-outside")
				require.ErrorIs(t, err, os.ErrNotExist)
				secret, err := os.Stat(filepath.Join(top, "secret"))
				require.NoError(t, err)
				require.NoError(t, filepath.Walk(target, func(path string, info os.FileInfo, err error) error {
					require.NoError(t, err)
					require.Zero(t, info.Mode()&(os.ModeDevice|os.ModeNamedPipe|os.ModeSetuid|os.ModeSetgid), path)
					if info.Mode().IsRegular() {
						require.False(t, os.SameFile(secret, info), path)
						require.Less(t, info.Size(), int64(1<<20))
					}
					return nil
				}))
			}
		})
	}
}

// TestProofLinksInTheWorkspace: what code in a container links to is the container's; uploads, downloads, reads and watches never meet
// the machine's.
func TestProofLinksInTheWorkspace(t *testing.T) {
	engine := openDocker(t, nil)
	ctx := testContext(t)
	sbx, err := engine.Create(ctx, &sandbox.Options{Lazy: true})
	require.NoError(t, err)
	top := t.TempDir()
	secret := filepath.Join(top, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("the machine's"), 0o644))
	_, err = sbx.Commands().Run(ctx, "ln -s "+secret+" file; ln -s "+top+" dir; ln -s / root; mkdir -p sub; ln -s "+secret+" sub/f; ln -s /proc/1/root sub/p", nil)
	require.NoError(t, err)
	for _, name := range []string{"file", "dir/secret", "root" + secret, "sub/f", "sub/p" + secret} {
		r, err := sbx.Files().Open(ctx, name)
		if err == nil {
			data, _ := io.ReadAll(r)
			require.NotContains(t, string(data), "the machine's", name)
			require.NoError(t, r.Close())
		}
		_, err = sbx.Files().WriteFrom(ctx, name, strings.NewReader("changed"), nil)
		t.Logf("write %s: %.100v", name, err)
	}
	data, err := os.ReadFile(secret)
	require.NoError(t, err)
	require.Equal(t, "the machine's", string(data))
	target := filepath.Join(t.TempDir(), "out")
	_, err = sbx.Files().Download(ctx, "", target, nil)
	require.ErrorIs(t, err, backends.ErrOutside, "links that lead out are told of")
	require.NoError(t, filepath.Walk(target, func(path string, info os.FileInfo, err error) error {
		require.NoError(t, err)
		require.Zero(t, info.Mode()&os.ModeSymlink, path)
		return nil
	}))
	from := filepath.Join(top, "from")
	require.NoError(t, os.Mkdir(from, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(from, "secret"), []byte("uploaded"), 0o644))
	_, _ = sbx.Files().Upload(ctx, from, "dir", nil)
	data, err = os.ReadFile(secret)
	require.NoError(t, err)
	require.Equal(t, "the machine's", string(data))
	_, err = sbx.Files().Watch(ctx, "dir", nil)
	t.Logf("watch: %v", err)

	// Streams that lead out of the workspace in the container.
	for name, headers := range map[string][]tar.Header{
		"dots":     {{Name: "../../tmp/out", Mode: 0o644}},
		"link":     {{Typeflag: tar.TypeSymlink, Name: "way", Linkname: "/tmp"}, {Name: "way/out", Mode: 0o644}},
		"device":   {{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
		"hardlink": {{Typeflag: tar.TypeLink, Name: "hard", Linkname: "../../etc/passwd"}},
		"sparse":   {{Typeflag: tar.TypeGNUSparse, Name: "sparse"}},
		"huge":     {{Name: "huge", Size: 1 << 50, Mode: 0o644}},
	} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, h := range headers {
			_ = w.WriteHeader(&h)
		}
		_ = w.Flush()
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		require.Error(t, sbx.Files().Import(short, "in", &buf), name)
		cancel()
	}
	result, err := sbx.Commands().Run(ctx, "ls /tmp/out in/hard in/null in/huge 2>/dev/null; echo done", nil)
	require.NoError(t, err)
	require.Equal(t, "done\n", result.Stdout)
}

// TestProofKernelThatForges: code has its kernel's key and sockets, so it may send what it likes as the kernel. It harms its own run at
// the most.
func TestProofKernelThatForges(t *testing.T) {
	engine := openDocker(t, nil)
	ctx := testContext(t)
	sbx, err := engine.Create(ctx, nil)
	require.NoError(t, err)
	other, err := sbx.CreateContext(ctx, nil)
	require.NoError(t, err)
	const forge = `
import uuid
k = get_ipython().kernel
s, io = k.session, k.iopub_socket
mine = k.get_parent()
def parent(id): return {"header": {**mine["header"], "msg_id": id}}
for p in [mine, parent(str(uuid.uuid4())), parent(""), {}, {"header": {"msg_id": 7}}]:
    for kind, body in [("status", {"execution_state": "idle"}), ("status", {"execution_state": "dead"}), ("stream", {"name": "stdout", "text": "forged"}),
                       ("execute_result", {"data": {"text/plain": "forged"}, "metadata": {}, "execution_count": -1}), ("error", {}), ("execute_reply", {"status": "ok"}),
                       ("display_data", 5), ("nonsense", {"a": [1] * 1000}), ("shutdown_reply", {"restart": False}), ("status", {"execution_state": 3})]:
        for n in range(20):
            try: s.send(io, kind, content=body, parent=p)
            except Exception as e: pass
try: io.send_multipart([b"x"] * 50)
except Exception: pass
`
	var forged sync.WaitGroup
	forged.Go(func() {
		for range 3 {
			run, cancel := context.WithTimeout(ctx, 20*time.Second)
			begun := time.Now()
			_, err := sbx.RunCode(run, forge, nil)
			cancel()
			t.Logf("forging run: %v after %v", err, time.Since(begun).Round(time.Millisecond))
		}
	})
	for range 20 {
		execution, err := sbx.RunCode(ctx, "6 * 7", &sandbox.RunOptions{Context: other})
		require.NoError(t, err)
		require.Equal(t, "42", execution.Text())
		require.Empty(t, execution.Stdout())
	}
	forged.Wait()
	execution, err := sbx.RunCode(ctx, "print('mine'); 1 + 1", nil)
	require.NoError(t, err, "its own context goes on")
	require.Equal(t, "2", execution.Text())
	require.Equal(t, "mine\n", execution.Stdout())
}

// TestProofFloodOfAKernel: output without end costs bounded memory, ends with the run's time, and is told.
func TestProofFloodOfAKernel(t *testing.T) {
	engine := openDocker(t, nil)
	ctx := testContext(t)
	sbx, err := engine.Create(ctx, nil)
	require.NoError(t, err)
	neighbour, err := engine.Create(ctx, nil)
	require.NoError(t, err)
	peak := peakOf(func() {
		var flooding sync.WaitGroup
		flooding.Go(func() {
			execution, err := sbx.RunCode(ctx, "while True: print('x' * 10_000)", &sandbox.RunOptions{Timeout: 3 * time.Second, MaxOutput: 4 << 20})
			t.Logf("flood: %v", err)
			if execution != nil {
				t.Logf("truncated %d", execution.Truncated)
			}
		})
		for range 10 {
			begun := time.Now()
			require.Equal(t, "2", text(t, neighbour, "1 + 1"))
			require.Less(t, time.Since(begun), 3*time.Second)
			time.Sleep(200 * time.Millisecond)
		}
		flooding.Wait()
	})
	t.Logf("memory here %+d MiB", peak>>20)
	require.Less(t, peak, int64(200<<20))
	require.Equal(t, "2", text(t, sbx, "1 + 1"), "it goes on")
}
