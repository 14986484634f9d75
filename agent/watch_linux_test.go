package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// watched is a workspace in a fresh folder, and a watch of it.
type watched struct {
	t     *testing.T
	dir   string
	files *files
	watch backends.Watch
	marks int
}

func newWatched(t *testing.T, opts *backends.WatchOptions) *watched {
	t.Helper()
	dir := t.TempDir()
	files, err := openFiles(dir)
	require.NoError(t, err)
	w := &watched{t: t, dir: dir, files: files}
	t.Cleanup(func() { require.NoError(t, files.Close()) })
	w.start("", opts)
	return w
}

func (w *watched) start(name string, opts *backends.WatchOptions) {
	w.t.Helper()
	watch, err := w.files.Watch(w.t.Context(), name, opts)
	require.NoError(w.t, err)
	w.watch = watch
}

func (w *watched) path(name string) string { return filepath.Join(w.dir, name) }

func (w *watched) mkdir(name string) {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(w.path(name), 0o755))
}

func (w *watched) put(name, text string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.path(name), []byte(text), 0o644))
}

func (w *watched) rename(from, to string) {
	w.t.Helper()
	require.NoError(w.t, os.Rename(w.path(from), w.path(to)))
}

// events returns all that has happened until now, as "op name", one for several in a row.
func (w *watched) events() []string {
	w.t.Helper()
	w.marks++
	mark := "mark" + strconv.Itoa(w.marks)
	w.mkdir(mark)
	var seen []string
	for {
		event, err := w.watch.Next(w.t.Context())
		require.NoError(w.t, err)
		if event.Name == mark {
			return seen
		}
		seen = append(seen, string(event.Op)+" "+event.Name)
		seen = slices.Compact(seen) // a file may be truncated and written
	}
}

var recursive = &backends.WatchOptions{Recursive: true}

func TestWatchTellsEachKindOfChange(t *testing.T) {
	w := newWatched(t, nil)
	w.put("f", "1")
	require.Equal(t, []string{"create f", "write f"}, w.events())
	w.put("f", "2")
	require.NoError(t, os.Chmod(w.path("f"), 0o600))
	require.Equal(t, []string{"write f", "chmod f"}, w.events())
	w.rename("f", "g")
	require.NoError(t, os.Remove(w.path("g")))
	require.NoError(t, os.Symlink("nowhere", w.path("link")))
	require.Equal(t, []string{"rename f", "create g", "remove g", "create link"}, w.events())
	w.mkdir("d")
	w.put("d/below", "")
	require.Equal(t, []string{"create d"}, w.events(), "what is below is not watched")
	require.NoError(t, os.Chmod(w.dir, 0o750))
	require.Equal(t, []string{"chmod ."}, w.events())
}

func TestWatchTellsOurOwnWritesAsOne(t *testing.T) {
	w := newWatched(t, recursive)
	for _, want := range [][]string{{"create d", "create d/f", "write d/f"}, {"write d/f"}} {
		_, err := w.files.Write(t.Context(), "d/f", strings.NewReader("text"), nil)
		require.NoError(t, err)
		require.Equal(t, want, w.events())
	}
	_, err := w.files.Write(t.Context(), "d/f", io.MultiReader(strings.NewReader("x"), iotestError{}), nil)
	require.Error(t, err)
	require.Empty(t, w.events(), "a write that failed changed nothing")
}

type iotestError struct{}

func (iotestError) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestWatchOfFoldersMadeAtOnce(t *testing.T) {
	w := newWatched(t, recursive)
	var wg sync.WaitGroup
	const trees, depth = 300, 5
	for i := range trees {
		wg.Go(func() {
			dir := w.path("t" + strconv.Itoa(i))
			for range depth {
				dir = filepath.Join(dir, "d")
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Error(err)
			}
			for d := dir; d != w.dir; d = filepath.Dir(d) {
				if err := os.WriteFile(filepath.Join(d, "f"), []byte("x"), 0o644); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	count := make(map[string]int)
	for _, event := range w.events() {
		count[event]++
	}
	for i := range trees {
		name := "t" + strconv.Itoa(i)
		for range depth + 1 {
			require.Equal(t, 1, count["create "+name], name)
			require.Equal(t, 1, count["create "+name+"/f"], name)
			require.NotZero(t, count["write "+name+"/f"], name)
			name += "/d"
		}
	}
	// And they are watched.
	w.put("t7/d/d/d/d/d/late", "")
	require.Equal(t, []string{"create t7/d/d/d/d/d/late"}, w.events())
}

func TestWatchOfFoldersThatMove(t *testing.T) {
	w := newWatched(t, recursive)
	outside := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(outside, "in/deep"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "in/deep/f"), []byte("x"), 0o644))
	require.NoError(t, os.Rename(filepath.Join(outside, "in"), w.path("a")))
	require.Equal(t, []string{"create a", "create a/deep", "create a/deep/f"}, w.events())
	w.rename("a", "b")
	require.Equal(t, []string{"rename a", "create b", "create b/deep", "create b/deep/f"}, w.events())
	w.put("b/deep/f", "y")
	require.Equal(t, []string{"write b/deep/f"}, w.events())
	w.mkdir("a") // the old name is another folder now
	w.put("a/g", "")
	require.NoError(t, os.Chmod(w.path("b/deep"), 0o700))
	require.Equal(t, []string{"create a", "create a/g", "chmod b/deep"}, w.events())
	require.NoError(t, os.Rename(w.path("b"), filepath.Join(outside, "out")))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "out/deep/f"), []byte("z"), 0o644))
	require.Equal(t, []string{"rename b"}, w.events(), "what has left is not followed")
	require.NoError(t, os.RemoveAll(w.path("a")))
	require.Equal(t, []string{"remove a/g", "remove a"}, w.events())
}

// A folder tree is changed at random by several goroutines. What the events say is there must be what is there.
func TestWatchAddsUpWhateverHappens(t *testing.T) {
	w := newWatched(t, recursive)
	const workers, steps = 4, 1500
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			name := func() string {
				parts := make([]string, 1+random.IntN(4))
				for i := range parts {
					parts[i] = string(rune('a' + random.IntN(3)))
				}
				return w.path(strings.Join(parts, "/"))
			}
			for range steps {
				switch random.IntN(6) { // errors are part of it
				case 0, 1:
					_ = os.MkdirAll(name(), 0o755)
				case 2:
					_ = os.WriteFile(name(), []byte("x"), 0o644)
				case 3:
					_ = os.Rename(name(), name())
				case 4:
					_ = os.Remove(name())
				case 5:
					_ = os.RemoveAll(name())
				}
			}
		})
	}
	defer wg.Wait()
	told := make(map[string]bool)
	finished := make(chan struct{})
	go func() { wg.Wait(); w.mkdir("end"); close(finished) }()
	twice := 0
	for {
		event, err := w.watch.Next(t.Context())
		require.NoError(t, err)
		if event.Name == "end" {
			break
		}
		switch event.Op {
		case backends.WatchCreate:
			if told[event.Name] {
				twice++ // a rename onto another entry tells nothing of that one
			}
			told[event.Name] = true
		case backends.WatchRemove, backends.WatchRename:
			for name := range told {
				if name == event.Name || strings.HasPrefix(name, event.Name+"/") {
					delete(told, name)
				}
			}
		case backends.WatchOverflow:
			t.Fatal("lost events, although they were read")
		}
	}
	<-finished
	there := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(w.dir, func(at string, _ fs.DirEntry, err error) error {
		if rest, ok := strings.CutPrefix(at, w.dir+"/"); ok && rest != "end" {
			there[rest] = true
		}
		return err
	}))
	require.Equal(t, there, told)
	t.Log(len(there), "entries in the end,", twice, "replaced by a rename")
}

func TestWatchNeverFollowsLinksOut(t *testing.T) {
	canary := t.TempDir()
	for _, d := range []string{"b", "b/c"} {
		require.NoError(t, os.Mkdir(filepath.Join(canary, d), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(canary, d, "canary"), nil, 0o644))
	}
	w := newWatched(t, &backends.WatchOptions{Recursive: true, Entry: true})
	end := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { // the canary sings all the time
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			default:
			}
			for _, d := range []string{"", "b", "b/c"} {
				name := filepath.Join(canary, d, "canary")
				if os.WriteFile(name, []byte("song"), 0o644) != nil || os.Chmod(name, 0o600+fs.FileMode(i%2)) != nil {
					t.Error("the canary is dead")
				}
			}
		}
	})
	wg.Go(func() {
		defer close(end)
		for i := range 3000 {
			a := w.path("a")
			_ = os.MkdirAll(a+"/b/c", 0o755)
			victim := []string{"a", "a/b", "a/b/c"}[i%3]
			target := canary + []string{"", "/b", "/b/c"}[i%3]
			_ = os.Rename(w.path(victim), w.path("old"))
			_ = os.Symlink(target, w.path(victim))
			_ = os.Remove(w.path(victim))
			_ = os.Symlink(target, w.path("link"))
			_ = os.Rename(w.path("old"), w.path(victim))
			_ = os.Rename(w.path("link"), w.path("a/b/c/link"))
			if err := os.RemoveAll(a); err != nil {
				t.Error(err)
			}
		}
	})
	seen := 0
	go func() { wg.Wait(); w.mkdir("end") }()
	for {
		event, err := w.watch.Next(t.Context())
		require.NoError(t, err)
		if event.Name == "end" {
			break
		}
		seen++
		require.NotContains(t, event.Name, "canary")
		if event.Entry != nil {
			require.NotEqual(t, "canary", event.Entry.Name)
		}
	}
	require.Greater(t, seen, 3000)
}

func TestWatchOfASlowReaderMergesAndTellsWhatWasLost(t *testing.T) {
	w := newWatched(t, recursive)
	w.put("f", "")
	for range 1000 {
		w.put("f", "x")
		require.NoError(t, os.Chmod(w.path("f"), 0o600))
		w.put("g", "x")
	}
	w.put("h", "")
	queue := &w.watch.(*watch).queue
	require.Eventually(t, func() bool { // what is read makes room for another of its kind
		queue.mu.Lock()
		defer queue.mu.Unlock()
		return len(queue.events) > 0 && queue.events[len(queue.events)-1].Name == "h"
	}, 10*time.Second, time.Millisecond)
	require.ElementsMatch(t, []string{"create f", "write f", "chmod f", "create g", "write g", "create h"}, w.events())

	for i := range maxEvents + 1000 {
		w.put("n"+strconv.Itoa(i), "")
	}
	first, err := w.watch.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, backends.FileEvent{Name: "n0", Op: backends.WatchCreate}, first)
	last := first
	for n := 1; last.Op != backends.WatchOverflow; n++ {
		require.LessOrEqual(t, n, maxEvents)
		last, err = w.watch.Next(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, ".", last.Name)
	w.put("after", "x")
	require.Contains(t, w.events(), "create after")
}

func TestWatchGoesOnAfterTheSystemLostEvents(t *testing.T) {
	w := newWatched(t, recursive)
	w.mkdir("before")
	require.Equal(t, []string{"create before"}, w.events())
	queue := &w.watch.(*watch).queue
	queue.mu.Lock() // holds up the watch, so that the system's own queue fills
	for i := range 20_000 {
		w.put("before/f"+strconv.Itoa(i), "")
	}
	require.NoError(t, os.Rename(w.path("before"), w.path("moved")))
	w.mkdir("unseen/deep")
	w.put("unseen/deep/f", "x")
	queue.mu.Unlock()
	for {
		event, err := w.watch.Next(t.Context())
		require.NoError(t, err)
		if event.Op == backends.WatchOverflow {
			break
		}
	}
	w.events()
	w.put("unseen/deep/g", "")
	w.put("moved/g", "")
	require.Equal(t, []string{"create unseen/deep/g", "create moved/g"}, w.events())
}

func TestWatchOfMoreThanCanBeWatched(t *testing.T) {
	w := newWatched(t, recursive)
	w.mkdir(strings.Repeat("d/", maxWatchedDepth+1))
	for {
		_, err := w.watch.Next(t.Context())
		if err != nil {
			require.ErrorIs(t, err, backends.ErrWatchLimit)
			break
		}
	}
	_, err := w.files.Watch(t.Context(), "", recursive)
	require.ErrorIs(t, err, backends.ErrWatchLimit)
	_, err = w.files.Watch(t.Context(), "d", recursive)
	require.NoError(t, err)
}

func TestWatchEnds(t *testing.T) {
	w := newWatched(t, nil)
	waiting, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("enough"))
	defer cancel()
	_, err := w.watch.Next(waiting)
	require.ErrorContains(t, err, "enough")
	w.put("f", "")
	require.NoError(t, w.watch.Close())
	require.NoError(t, w.watch.Close())
	_, err = w.watch.Next(t.Context())
	require.ErrorIs(t, err, io.EOF)

	for act, do := range map[string]func(name string) error{
		"remove": os.Remove, "rename": func(name string) error { return os.Rename(name, name+"2") },
	} {
		w.mkdir("d")
		w.start("d", recursive)
		require.NoError(t, do(w.path("d")))
		event, err := w.watch.Next(waiting2(t))
		require.NoError(t, err)
		require.Equal(t, backends.FileEvent{Name: ".", Op: backends.WatchOp(act)}, event)
		_, err = w.watch.Next(t.Context())
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, w.watch.Close())
	}

	w.start("", recursive)
	ended := make(chan error)
	go func() {
		_, err := w.watch.Next(t.Context())
		ended <- err
	}()
	require.NoError(t, w.files.Close())
	require.ErrorIs(t, <-ended, backends.ErrDestroyed)
	_, err = w.files.Watch(t.Context(), "", nil)
	require.ErrorIs(t, err, backends.ErrDestroyed)
}

// waiting2 bounds a wait for what must come.
func waiting2(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestWatchOfOddNames(t *testing.T) {
	w := newWatched(t, &backends.WatchOptions{Recursive: true, Entry: true})
	w.mkdir("bad\xff\xfe")
	w.put("bad\xff\xfe/new\nline", "x")
	for _, want := range []string{"create bad\uFFFDff\uFFFDfe", "create bad\uFFFDff\uFFFDfe/new\nline", "write bad\uFFFDff\uFFFDfe/new\nline"} {
		event, err := w.watch.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprintf("%s %s", event.Op, event.Name))
		require.Equal(t, event.Name, event.Entry.Path)
	}
}

// BenchmarkWatch is one event from its cause to its reader, in a tree of 100,000 files.
func BenchmarkWatch(b *testing.B) {
	dir := b.TempDir()
	for i := range 100 {
		sub := filepath.Join(dir, strconv.Itoa(i))
		require.NoError(b, os.Mkdir(sub, 0o755))
		for j := range 1000 {
			require.NoError(b, os.WriteFile(filepath.Join(sub, strconv.Itoa(j)), nil, 0o644))
		}
	}
	files, err := openFiles(dir)
	require.NoError(b, err)
	defer func() { require.NoError(b, files.Close()) }()
	begin := time.Now()
	watch, err := files.Watch(b.Context(), "", recursive)
	require.NoError(b, err)
	start := time.Since(begin)
	file, err := os.OpenFile(filepath.Join(dir, "50/500"), os.O_WRONLY, 0)
	require.NoError(b, err)
	defer func() { require.NoError(b, file.Close()) }()
	for b.Loop() {
		_, err = file.WriteAt([]byte("x"), 0)
		require.NoError(b, err)
		_, err = watch.Next(b.Context())
		require.NoError(b, err)
	}
	b.ReportMetric(float64(start.Microseconds())/1000, "ms-start")
}
