package envd_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
)

func (w *world) stat(path string) *envdpb.EntryInfo {
	w.t.Helper()
	got, err := w.files().Stat(testContext(w.t), connect.NewRequest(&envdpb.StatRequest{Path: path}))
	require.NoError(w.t, err)
	return got.Msg.Entry
}

func (w *world) list(path string, depth uint32) []string {
	w.t.Helper()
	got, err := w.files().ListDir(testContext(w.t), connect.NewRequest(&envdpb.ListDirRequest{Path: path, Depth: depth}))
	require.NoError(w.t, err)
	var paths []string
	for _, e := range got.Msg.Entries {
		paths = append(paths, e.Path)
	}
	return paths
}

func TestFilesystem(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx := testContext(w.t)
		w.t.Run("entries", func(t *testing.T) {
			for _, binary := range []bool{false, true} {
				w := *w
				w.t, w.binary = t, binary
				w.put("d/file", "12345")
				w.run("cd d; chmod 604 file; ln -sf file link; ln -sfn nowhere broken; mkdir -p sub; ln -sfn sub dirlink")
				e := w.stat("d/file")
				require.Equal(t, "file", e.Name)
				require.Equal(t, w.home+"/d/file", e.Path)
				require.Equal(t, envdpb.FileType_FILE_TYPE_FILE, e.Type)
				require.EqualValues(t, 5, e.Size)
				require.EqualValues(t, 0o604, e.Mode)
				require.Equal(t, "-rw----r--", e.Permissions)
				require.NotEmpty(t, e.Owner)
				require.NotEmpty(t, e.Group)
				require.WithinDuration(t, time.Now(), e.ModifiedTime.AsTime(), time.Hour)
				require.Nil(t, e.SymlinkTarget)
				e = w.stat("d")
				require.Equal(t, "drwxr-xr-x", e.Permissions)
				require.Equal(t, envdpb.FileType_FILE_TYPE_DIRECTORY, e.Type)
				e = w.stat("d/link")
				require.Equal(t, envdpb.FileType_FILE_TYPE_FILE, e.Type)
				require.EqualValues(t, 0o604, e.Mode)
				require.Equal(t, "Lrwxrwxrwx", e.Permissions)
				require.Equal(t, w.home+"/d/file", e.GetSymlinkTarget())
				require.Equal(t, envdpb.FileType_FILE_TYPE_DIRECTORY, w.stat("d/dirlink").Type)
				e = w.stat("d/broken")
				require.Equal(t, envdpb.FileType_FILE_TYPE_SYMLINK, e.Type)
				require.Equal(t, "nowhere", e.GetSymlinkTarget())
			}
			_, err := w.files().Stat(ctx, connect.NewRequest(&envdpb.StatRequest{Path: "nowhere"}))
			codeIs(t, connect.CodeNotFound, err)
			require.Equal(t, w.home, w.stat("").Path)
			require.Equal(t, w.home, w.stat("~").Path)
		})
		w.t.Run("lists", func(t *testing.T) {
			w := *w
			w.t = t
			w.run("mkdir -p tree/a/deep/er tree/b; touch tree/a/x tree/z; ln -s tree tolink")
			base := w.home + "/tree"
			require.Equal(t, []string{base + "/a", base + "/b", base + "/z"}, w.list("tree", 0))
			require.Equal(t, w.list("tree", 0), w.list("tree", 1))
			require.Equal(t, []string{base + "/a", base + "/a/deep", base + "/a/x", base + "/b", base + "/z"}, w.list("tree", 2))
			require.Contains(t, w.list("tree", 4_000_000_000), base+"/a/deep/er")
			require.Equal(t, []string{w.home + "/tolink/a", w.home + "/tolink/b", w.home + "/tolink/z"}, w.list("tolink", 1))
			require.Empty(t, w.list("tree/b", 1))
			_, err := w.files().ListDir(ctx, connect.NewRequest(&envdpb.ListDirRequest{Path: "tree/z"}))
			codeIs(t, connect.CodeInvalidArgument, err)
			_, err = w.files().ListDir(ctx, connect.NewRequest(&envdpb.ListDirRequest{Path: "missing"}))
			codeIs(t, connect.CodeNotFound, err)
		})
		w.t.Run("changes", func(t *testing.T) {
			w := *w
			w.t = t
			made, err := w.files().MakeDir(ctx, connect.NewRequest(&envdpb.MakeDirRequest{Path: "m/n/o"}))
			require.NoError(t, err)
			require.Equal(t, w.home+"/m/n/o", made.Msg.Entry.Path)
			_, err = w.files().MakeDir(ctx, connect.NewRequest(&envdpb.MakeDirRequest{Path: "m/n"}))
			codeIs(t, connect.CodeAlreadyExists, err)
			w.put("m/file", "x")
			_, err = w.files().MakeDir(ctx, connect.NewRequest(&envdpb.MakeDirRequest{Path: "m/file"}))
			codeIs(t, connect.CodeInvalidArgument, err)
			_, err = w.files().MakeDir(ctx, connect.NewRequest(&envdpb.MakeDirRequest{Path: "m/file/below"}))
			codeIs(t, connect.CodeInvalidArgument, err)
			moved, err := w.files().Move(ctx, connect.NewRequest(&envdpb.MoveRequest{Source: "m/file", Destination: "new/place/file"}))
			require.NoError(t, err)
			require.Equal(t, w.home+"/new/place/file", moved.Msg.Entry.Path)
			_, err = w.files().Move(ctx, connect.NewRequest(&envdpb.MoveRequest{Source: "m/file", Destination: "x"}))
			codeIs(t, connect.CodeNotFound, err)
			for range 2 { // what is gone may be removed
				_, err = w.files().Remove(ctx, connect.NewRequest(&envdpb.RemoveRequest{Path: "m"}))
				require.NoError(t, err)
			}
			_, err = w.files().Remove(ctx, connect.NewRequest(&envdpb.RemoveRequest{Path: "a\x00b"}))
			codeIs(t, connect.CodeInvalidArgument, err)
		})
		w.t.Run("watch", func(t *testing.T) {
			w := *w
			w.t = t
			w.run("mkdir -p watched")
			request := connect.NewRequest(&envdpb.WatchDirRequest{Path: "watched", Recursive: true, IncludeEntry: true})
			request.Header().Set("Keepalive-Ping-Interval", "1")
			live, leave := context.WithCancel(ctx)
			defer leave()
			stream, err := w.files().WatchDir(live, request)
			require.NoError(t, err)
			require.True(t, stream.Receive(), "%v", stream.Err())
			require.NotNil(t, stream.Msg().GetStart())
			for stream.Receive() && stream.Msg().GetKeepalive() == nil {
			}
			require.NoError(t, stream.Err())
			seen := map[string]bool{}
			await := func(want string) {
				for !seen[want] {
					require.True(t, stream.Receive(), "%s: %v", want, stream.Err())
					if e := stream.Msg().GetFilesystem(); e != nil {
						seen[e.Name+" "+e.Type.String()] = true
						if e.Name == "last" && e.Entry != nil {
							require.Equal(t, w.home+"/watched/last", e.Entry.Path)
						}
					}
				}
			}
			// A folder that is new is watched from when its event is told on; what came and went before is not seen.
			w.run("mkdir -p watched/a/b")
			await("a EVENT_TYPE_CREATE")
			await("a/b EVENT_TYPE_CREATE")
			w.run("echo x > watched/a/b/c")
			await("a/b/c EVENT_TYPE_CREATE")
			await("a/b/c EVENT_TYPE_WRITE")
			w.run("mv watched/a/b/c watched/last")
			await("a/b/c EVENT_TYPE_RENAME")
			await("last EVENT_TYPE_CREATE")
			leave()
			for stream.Receive() {
			}
			for path, code := range map[string]connect.Code{"missing": connect.CodeNotFound, "watched/last": connect.CodeInvalidArgument} {
				stream, err := w.files().WatchDir(ctx, connect.NewRequest(&envdpb.WatchDirRequest{Path: path}))
				require.NoError(t, err)
				require.False(t, stream.Receive())
				codeIs(t, code, stream.Err())
			}
		})
		w.t.Run("polled watches", func(t *testing.T) {
			w := *w
			w.t = t
			w.run("mkdir -p polled")
			files := w.files()
			created, err := files.CreateWatcher(ctx, connect.NewRequest(&envdpb.CreateWatcherRequest{Path: "polled"}))
			require.NoError(t, err)
			id := created.Msg.WatcherId
			poll := func(id string) ([]*envdpb.FilesystemEvent, error) {
				got, err := files.GetWatcherEvents(ctx, connect.NewRequest(&envdpb.GetWatcherEventsRequest{WatcherId: id}))
				if err != nil {
					return nil, err
				}
				return got.Msg.Events, nil
			}
			events, err := poll(id)
			require.NoError(t, err)
			require.Empty(t, events)
			w.put("polled/one", "x")
			require.Eventually(t, func() bool {
				more, err := poll(id)
				require.NoError(t, err)
				events = append(events, more...)
				return slices.ContainsFunc(events, func(e *envdpb.FilesystemEvent) bool {
					return e.Name == "one" && e.Type == envdpb.EventType_EVENT_TYPE_WRITE
				})
			}, 20*time.Second, 20*time.Millisecond)
			require.Equal(t, envdpb.EventType_EVENT_TYPE_CREATE, events[0].Type)
			require.Nil(t, events[0].Entry)
			_, err = poll("w" + id)
			codeIs(t, connect.CodeNotFound, err)
			var ids []string
			for range 64 { // more than a sandbox may have
				created, err := files.CreateWatcher(ctx, connect.NewRequest(&envdpb.CreateWatcherRequest{Path: "polled"}))
				require.NoError(t, err)
				ids = append(ids, created.Msg.WatcherId)
			}
			_, err = poll(id)
			codeIs(t, connect.CodeNotFound, err)
			for _, id := range ids {
				_, err = files.RemoveWatcher(ctx, connect.NewRequest(&envdpb.RemoveWatcherRequest{WatcherId: id}))
				require.NoError(t, err)
			}
			_, err = files.RemoveWatcher(ctx, connect.NewRequest(&envdpb.RemoveWatcherRequest{WatcherId: ids[0]}))
			codeIs(t, connect.CodeNotFound, err)
		})
	})
}
