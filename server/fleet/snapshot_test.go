package fleet

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSnapshotsAreMadeUsedReplacedAndRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	f := openFleet(t, Options{SnapshotDir: dir})
	ctx := testContext(t)
	m := create(t, f, ada, Spec{})
	files := m.Sandbox().Files()
	require.NoError(t, files.WriteString(ctx, "a/b.txt", "one"))
	plain, err := m.Snapshot(ctx, "")
	require.NoError(t, err)
	require.Regexp(t, `^[0-9a-f]{20}:default$`, plain.ID)
	require.Empty(t, plain.Names)
	named, err := m.Snapshot(ctx, "work")
	require.NoError(t, err)
	require.Equal(t, "ada/work:default", named.ID)
	require.Equal(t, []string{named.ID}, named.Names)
	for _, bad := range []string{"Work", "a b", "../x", "bob/work", "a/b/c", "x:", ":x"} {
		_, err := m.Snapshot(ctx, bad)
		require.ErrorContains(t, err, "is no name of a snapshot", bad)
	}

	for _, template := range []string{plain.ID, plain.ID[:20], "work", "ada/work", "ada/work:default"} {
		fromIt := create(t, f, ada, Spec{Template: template})
		text, err := fromIt.Sandbox().Files().ReadString(ctx, "a/b.txt")
		require.NoError(t, err, template)
		require.Equal(t, "one", text)
		require.NoError(t, fromIt.Kill(ctx))
	}

	require.NoError(t, files.WriteString(ctx, "a/b.txt", "two"))
	_, err = m.Snapshot(ctx, "ada/work")
	require.NoError(t, err)
	require.Len(t, f.Snapshots(ada, ""), 2)
	require.Len(t, f.Snapshots(ada, m.ID()), 2)
	require.Empty(t, f.Snapshots(ada, "another"))
	fromIt := create(t, f, ada, Spec{Template: "work"})
	text, err := fromIt.Sandbox().Files().ReadString(ctx, "a/b.txt")
	require.NoError(t, err)
	require.Equal(t, "two", text)

	// A later daemon knows them; what was for a fork's time only is gone by then.
	hidden := &snapshot{Owner: "ada", Key: "leftover", Hidden: true}
	require.NoError(t, f.snapshots.write(hidden))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "broken.json"), []byte("{"), 0o600))
	later, err := New(f.Engine(), &Options{SnapshotDir: dir})
	require.NoError(t, err)
	require.Equal(t, len(f.Snapshots(ada, "")), len(later.Snapshots(ada, "")))
	require.Equal(t, f.snapshots.used, later.snapshots.used)
	require.NoFileExists(t, filepath.Join(dir, "leftover.json"))
	require.NoError(t, later.Close(ctx))
	require.NoError(t, os.Remove(filepath.Join(dir, "broken.json")))

	require.NoError(t, f.RemoveSnapshot(ctx, ada, "work"))
	require.ErrorIs(t, f.RemoveSnapshot(ctx, ada, "work"), ErrNoSnapshot)
	require.NotEmpty(t, glob(t, dir, "*.tar"), "something is still made from it")
	require.NoError(t, fromIt.Kill(ctx))
	require.NoError(t, f.RemoveSnapshot(ctx, ada, plain.ID))
	require.Empty(t, glob(t, dir, "*"))
	require.Zero(t, f.snapshots.used)
}

func glob(t *testing.T, dir, pattern string) []string {
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	return names
}

func TestSnapshotsTakeNoMoreThanTheirRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	f := openFleet(t, Options{SnapshotDir: dir, SnapshotBytes: 64 << 10})
	ctx := testContext(t)
	m := create(t, f, ada, Spec{})
	require.NoError(t, m.Sandbox().Files().Write(ctx, "big", make([]byte, 100<<10)))
	_, err := m.Snapshot(ctx, "")
	var limit *LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, QuotaSnapshots, limit.Quota)
	require.Empty(t, glob(t, dir, "*"))
	require.Zero(t, f.snapshots.used)
	require.NoError(t, m.Sandbox().Files().Write(ctx, "big", make([]byte, 10<<10)))
	_, err = m.Snapshot(ctx, "")
	require.NoError(t, err)
}

func TestForksHaveTheMemoryAndAreOnesOwnMembers(t *testing.T) {
	f := openFleet(t, Options{})
	ctx, owner := testContext(t), &Owner{Name: "ada", Limits: Limits{Sandboxes: 3}}
	m, err := f.Create(ctx, owner, &Spec{Metadata: map[string]string{"k": "v"}, Timeout: time.Hour})
	require.NoError(t, err)
	_, err = m.Sandbox().RunCode(ctx, "x = 41", nil)
	require.NoError(t, err)
	forks, err := m.Fork(ctx, 4, 2*time.Hour)
	require.NoError(t, err)
	require.Len(t, forks, 4)
	refused := 0
	for _, fork := range forks {
		if fork.Err != nil {
			var limit *LimitError
			require.ErrorAs(t, fork.Err, &limit)
			refused++
			continue
		}
		run, err := fork.Member.Sandbox().RunCode(ctx, "x += 1; x", nil)
		require.NoError(t, err)
		require.Equal(t, "42", run.Text())
		info := fork.Member.Info()
		require.Equal(t, map[string]string{"k": "v"}, info.Metadata)
		require.Equal(t, "base", info.Template)
		require.Greater(t, time.Until(info.EndsAt), time.Hour)
		require.NotEqual(t, m.AccessToken(), fork.Member.AccessToken())
		require.NoError(t, fork.Member.Kill(ctx))
	}
	require.Equal(t, 2, refused)
	_, err = m.Fork(ctx, 101, 0)
	require.ErrorContains(t, err, "count: 101: use 1 to 100")
	require.NoError(t, m.Pause(ctx))
	_, err = m.Fork(ctx, 1, 0)
	require.ErrorIs(t, err, ErrPaused)
}

func TestForksOfFilesGoWithoutALeftover(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	f := openFleet(t, Options{SnapshotDir: dir})
	ctx := testContext(t)
	m := create(t, f, ada, Spec{})
	require.NoError(t, m.Sandbox().Files().WriteString(ctx, "a", "one"))
	forks, err := m.forkFiles(ctx, Spec{Lazy: true, Timeout: time.Hour}, 2)
	require.NoError(t, err)
	require.Empty(t, f.Snapshots(ada, ""), "it is nobody's to name")
	for _, fork := range forks {
		require.NoError(t, fork.Err)
		text, err := fork.Member.Sandbox().Files().ReadString(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, "one", text)
		require.NotEmpty(t, glob(t, dir, "*"))
		require.NoError(t, fork.Member.Kill(ctx))
	}
	require.Empty(t, glob(t, dir, "*"))
}
