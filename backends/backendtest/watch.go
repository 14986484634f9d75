package backendtest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// watcher reads a watch of the workspace.
type watcher struct {
	t     *testing.T
	ctx   context.Context
	files backends.FileSystem
	watch backends.Watch
	name  string // of the watched folder
	marks int
}

// startWatch watches a folder, or skips the test where the backend can't.
func startWatch(t *testing.T, ctx context.Context, in backends.Instance, name string, opts *backends.WatchOptions) *watcher {
	t.Helper()
	watch, err := in.Files().Watch(ctx, name, opts)
	if errors.Is(err, backends.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, watch.Close()) })
	return &watcher{t: t, ctx: ctx, files: in.Files(), watch: watch, name: name}
}

// events returns all that has happened until now, one for several in a row. There must be fewer than a watch keeps.
func (w *watcher) events() []backends.FileEvent {
	w.t.Helper()
	w.marks++
	mark := "mark" + strconv.Itoa(w.marks)
	require.NoError(w.t, w.files.MakeDir(w.ctx, path.Join(w.name, mark)))
	var seen []backends.FileEvent
	for {
		event, err := w.watch.Next(w.ctx)
		require.NoError(w.t, err)
		if event.Name == mark {
			return slices.CompactFunc(seen, func(a, b backends.FileEvent) bool { return a.Name == b.Name && a.Op == b.Op })
		}
		seen = append(seen, event)
	}
}

// wants checks what has happened until now, as "op name".
func (w *watcher) wants(want ...string) {
	w.t.Helper()
	got := []string{}
	for _, event := range w.events() {
		got = append(got, string(event.Op)+" "+event.Name)
	}
	require.Equal(w.t, want, got)
}

func testWatch(t *testing.T, open Open) {
	with(t, open, "EachKindOfChange", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.NoError(t, in.Files().MakeDir(ctx, "d"))
		w := startWatch(t, ctx, in, "/home/user/d", nil)
		w.name = "d"
		c.run("import os; f = open('d/f', 'x'); f.write('1'); f.close()")
		w.wants("create f", "write f")
		c.run("f = open('d/f', 'a'); f.write('2'); f.close(); os.chmod('d/f', 0o600)")
		w.wants("write f", "chmod f")
		c.run("os.rename('d/f', 'd/g'); os.remove('d/g'); os.mkdir('d/sub'); os.mkdir('other'); os.symlink(os.path.abspath('other'), 'd/link')")
		w.wants("rename f", "create g", "remove g", "create sub", "create link")
		c.run("open('d/sub/f', 'x'); open('d/link/f', 'a'); open('elsewhere', 'x')")
		c.run("os.rename('d/sub', 'sub'); os.rename('elsewhere', 'd/here')")
		w.wants("rename sub", "create here")
	})
	with(t, open, "WritesOfTheInterface", func(t *testing.T, ctx context.Context, in backends.Instance) {
		w := startWatch(t, ctx, in, "", &backends.WatchOptions{Recursive: true})
		write(t, ctx, in.Files(), "d/f", "1")
		w.wants("create d", "create d/f", "write d/f")
		write(t, ctx, in.Files(), "d/f", "22")
		w.wants("write d/f")
		require.NoError(t, in.Files().Rename(ctx, "d", "e"))
		w.wants("rename d", "create e", "create e/f")
		require.NoError(t, in.Files().Remove(ctx, "e"))
		w.wants("remove e/f", "remove e")
	})
	with(t, open, "FoldersMadeLater", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		w := startWatch(t, ctx, in, "", &backends.WatchOptions{Recursive: true})
		c.run(`
import os
for i in range(100):
    os.makedirs(f"{i}/a/b/c")
    for d in (f"{i}", f"{i}/a", f"{i}/a/b", f"{i}/a/b/c"):
        open(d + "/f", "x")
`)
		count := make(map[string]int)
		for _, event := range w.events() {
			if event.Op == backends.WatchCreate {
				count[event.Name]++
			}
		}
		require.Len(t, count, 100*8)
		for name, n := range count {
			require.Equal(t, 1, n, name)
		}
		c.run("os.rename('7/a', '8/moved')")
		names := []string{}
		for _, event := range w.events() {
			names = append(names, string(event.Op)+" "+event.Name)
		}
		require.ElementsMatch(t, []string{
			"rename 7/a", "create 8/moved", "create 8/moved/f", "create 8/moved/b", "create 8/moved/b/f",
			"create 8/moved/b/c", "create 8/moved/b/c/f",
		}, names)
		c.run("open('8/moved/b/c/f', 'w').write('x'); os.mkdir('7/a'); open('7/a/g', 'x')")
		w.wants("write 8/moved/b/c/f", "create 7/a", "create 7/a/g")
	})
	with(t, open, "Entries", func(t *testing.T, ctx context.Context, in backends.Instance) {
		write(t, ctx, in.Files(), "d/old", "x")
		w := startWatch(t, ctx, in, "d", &backends.WatchOptions{Entry: true})
		write(t, ctx, in.Files(), "d/f", "four")
		require.NoError(t, in.Files().Remove(ctx, "d/old"))
		events := w.events()
		require.Len(t, events, 3)
		want, err := in.Files().Stat(ctx, "d/f")
		require.NoError(t, err)
		require.Equal(t, backends.FileEvent{Name: "f", Op: backends.WatchCreate, Entry: &want}, events[0])
		require.Equal(t, backends.FileEvent{Name: "f", Op: backends.WatchWrite, Entry: &want}, events[1])
		require.Equal(t, backends.FileEvent{Name: "old", Op: backends.WatchRemove}, events[2])
	})
	with(t, open, "SlowReaderHearsOfWhatWasLost", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		w := startWatch(t, ctx, in, "", &backends.WatchOptions{Recursive: true})
		c.run("for i in range(10_000): open('same', 'a').write('x'); open('other', 'a').write('x')")
		w.wants("create same", "write same", "create other", "write other")
		c.run("import os; os.mkdir('many')\nfor i in range(40_000): open(f'many/{i}', 'x')")
		told := 0
		for {
			event, err := w.watch.Next(ctx)
			require.NoError(t, err)
			if event.Op == backends.WatchOverflow {
				require.Equal(t, ".", event.Name)
				break
			}
			told++
		}
		require.Less(t, told, 40_000)
		c.run("open('many/late', 'x')")
		names := []string{}
		for _, event := range w.events() {
			names = append(names, event.Name)
		}
		require.Contains(t, names, "many/late")
	})
	with(t, open, "LinksAreNeverFollowed", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c := startKernel(t, ctx, in, backends.KernelConfig{})
		require.NoError(t, in.Files().MakeDir(ctx, "inside"))
		w := startWatch(t, ctx, in, "inside", &backends.WatchOptions{Recursive: true, Entry: true})
		// A folder and a link to another one change places, while that other one is written to.
		c.run(`
import os, threading
os.mkdir("canary")
end = False
def sing():
    while not end:
        open("canary/canary", "w").write("song")
        os.chmod("canary/canary", 0o600)
singer = threading.Thread(target=sing)
singer.start()
os.makedirs("inside/a")
def play():
    for i in range(1500):
        os.rename("inside/a", "inside/old")
        os.symlink(os.path.abspath("canary"), "inside/a")
        os.remove("inside/a")
        os.rename("inside/old", "inside/a")
`)
		for range 3 {
			c.run("play()")
			for _, event := range w.events() {
				require.NotContains(t, event.Name, "canary")
			}
		}
		c.run("end = True; singer.join()")
		for _, outside := range []string{"/etc", "/"} {
			c.run("os.symlink('" + outside + "', 'out')")
			_, err := in.Files().Watch(ctx, "out", nil)
			require.ErrorIs(t, err, backends.ErrOutside)
			require.NoError(t, in.Files().Remove(ctx, "out"))
		}
	})
	with(t, open, "MistakesAndEnds", func(t *testing.T, ctx context.Context, in backends.Instance) {
		files := in.Files()
		write(t, ctx, files, "f", "x")
		startWatch(t, ctx, in, "", nil)
		_, err := files.Watch(ctx, "none", nil)
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = files.Watch(ctx, "f", nil)
		require.ErrorIs(t, err, backends.ErrNotDir)
		_, err = files.Watch(ctx, "../..", nil)
		require.ErrorIs(t, err, backends.ErrOutside)
		_, err = files.Watch(ctx, strings.Repeat("n", 256), nil)
		require.ErrorIs(t, err, backends.ErrInvalidName)

		require.NoError(t, files.MakeDir(ctx, "d"))
		w := startWatch(t, ctx, in, "d", nil)
		write(t, ctx, files, "d/f", "x")
		w.wants("create f", "write f")
		require.NoError(t, files.Remove(ctx, "d"))
		for err == nil || !errors.Is(err, fs.ErrNotExist) {
			_, err = w.watch.Next(ctx)
		}
		require.NoError(t, w.watch.Close())

		w = startWatch(t, ctx, in, "", nil)
		write(t, ctx, files, "g", "x")
		gathered, cancel := context.WithCancel(ctx)
		cancel()
		w.events()
		_, err = w.watch.Next(gathered)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, w.watch.Close())
		_, err = w.watch.Next(ctx)
		require.ErrorIs(t, err, io.EOF)

		w = startWatch(t, ctx, in, "", nil)
		require.NoError(t, in.Destroy(ctx))
		_, err = w.watch.Next(ctx)
		require.ErrorIs(t, err, backends.ErrDestroyed)
	})
}
