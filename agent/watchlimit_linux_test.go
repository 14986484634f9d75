package agent

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// The system's limits are those of a user, so this lowers them in a user namespace of its own.
func TestWatchNamesTheSystemsLimitAndTheRemedy(t *testing.T) {
	if limits := os.Getenv("DS_SANDBOX_TEST_LIMITS"); limits != "" {
		watchWithin(t, limits)
		return
	}
	for _, limits := range []string{"max_inotify_watches", "max_inotify_instances"} {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
		cmd.Env = append(os.Environ(), "DS_SANDBOX_TEST_LIMITS="+limits)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if ran := new(exec.ExitError); err != nil && !errors.As(err, &ran) {
			t.Skip("no user namespaces here:", err)
		}
		require.NoError(t, err, string(out))
	}
}

func watchWithin(t *testing.T, limit string) {
	if err := os.WriteFile("/proc/sys/user/"+limit, []byte("3"), 0o644); err != nil {
		t.Skip("limits can't be lowered here:", err)
	}
	files, err := openFiles(t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, files.Close()) }()
	if limit == "max_inotify_instances" {
		for err == nil {
			_, err = files.Watch(t.Context(), "", nil)
		}
		require.ErrorIs(t, err, backends.ErrWatchLimit)
		require.ErrorContains(t, err, "fs.inotify.max_user_instances")
		return
	}
	watch, err := files.Watch(t.Context(), "", recursive)
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, os.Mkdir(filepath.Join(files.dir, strconv.Itoa(i)), 0o755))
	}
	for i := range 3 {
		event, err := watch.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(i), event.Name, "what came before is told")
	}
	_, err = watch.Next(t.Context())
	require.ErrorIs(t, err, backends.ErrWatchLimit)
	require.ErrorContains(t, err, "fs.inotify.max_user_watches")
	_, err = files.Watch(t.Context(), "", recursive)
	require.ErrorIs(t, err, backends.ErrWatchLimit)
}
