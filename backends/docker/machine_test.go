package docker_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// shAs is sh as a user.
func shAs(t *testing.T, in backends.Instance, user, line string) string {
	t.Helper()
	c, err := in.StartCommand(testContext(t), backends.Cmd{Args: []string{"/bin/bash", "-c", "exec 2>&1; " + line}, User: user})
	require.NoError(t, err)
	out, err := io.ReadAll(c.Stdout())
	require.NoError(t, errors.Join(err, c.Stdout().Close(), c.Stderr().Close()))
	_, err = c.Wait(testContext(t))
	require.NoError(t, err)
	return string(out)
}

func TestUsersOfACompatibleContainer(t *testing.T) {
	in := create(t, backends.Spec{
		Env: map[string]string{"OWN": "x"}, Container: backends.Container{Profile: backends.ProfileCompatible},
	})
	ctx := testContext(t)
	machine := in.(backends.Machine)
	user, err := machine.FilesOf(backends.OrdinaryUser)
	require.NoError(t, err)
	root, err := machine.FilesOf(backends.RootUser)
	require.NoError(t, err)

	t.Run("commands", func(t *testing.T) {
		require.Equal(t, "root root /root /root root 0 x\n",
			shAs(t, in, backends.RootUser, `echo $(id -un) $(id -Gn) $PWD $HOME $USER $(id -u) $OWN`))
		require.Equal(t, "user user /home/user /home/user user x\n",
			shAs(t, in, backends.OrdinaryUser, `echo $(id -un) $(id -Gn) $PWD $HOME $USER $OWN`))
		require.Equal(t, "Uid:\t0\t0\t0\t0\n", shAs(t, in, backends.RootUser, "grep ^Uid: /proc/self/status"))
		require.Equal(t, "Uid:\t1000\t1000\t1000\t1000\n", shAs(t, in, backends.OrdinaryUser, "grep ^Uid: /proc/self/status"))
		require.Equal(t, "CapEff:\t0000000000000000\n", shAs(t, in, backends.OrdinaryUser, "grep ^CapEff: /proc/self/status"))
		require.Equal(t, "pandas\n", shAs(t, in, backends.RootUser, "python -c 'import pandas; print(pandas.__name__)'"), "it has the sandbox's Python")
		_, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"true"}, User: "nobody"})
		require.ErrorIs(t, err, backends.ErrNoUser)
	})
	t.Run("terminal and signals", func(t *testing.T) {
		c, err := in.StartCommand(ctx, backends.Cmd{
			Args: []string{"/bin/bash", "-c", "stty size; id -un; sleep 600"}, User: backends.RootUser, PTY: &backends.Size{Cols: 81, Rows: 21},
		})
		require.NoError(t, err)
		buf, seen := make([]byte, 256), ""
		for !strings.Contains(seen, "root\r\n") {
			n, err := c.Stdout().Read(buf)
			require.NoError(t, err)
			seen += string(buf[:n])
		}
		require.Equal(t, "21 81\r\nroot\r\n", seen)
		require.NotContains(t, shAs(t, in, backends.RootUser, "kill -0 "+c.ID()+" && echo lives"), "No such")
		require.NoError(t, c.Signal(ctx, backends.Kill))
		status, err := c.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, "SIGKILL", status.Signal)
		require.NoError(t, c.Stdout().Close())
		require.Contains(t, shAs(t, in, backends.RootUser, "kill -0 "+c.ID()), "No such process")
	})
	t.Run("files", func(t *testing.T) {
		for name, files := range map[string]backends.FileSystem{"user": user, "root": root} {
			for _, dir := range []string{"/srv/of-" + name, "/home/user/of-" + name} {
				_, err := files.Write(ctx, dir+"/sub/a", strings.NewReader("x"), &backends.WriteOptions{Metadata: map[string]string{"k": "v"}})
				require.NoError(t, err)
				require.NoError(t, files.MakeDir(ctx, dir+"/made"))
				info, err := files.Stat(ctx, dir+"/sub/a")
				require.NoError(t, err)
				require.Equal(t, name, info.Owner)
				require.Equal(t, name, info.Group)
				require.Equal(t, map[string]string{"k": "v"}, info.Metadata)
				require.Equal(t, strings.Repeat(name+" "+name+" 755\n", 3)+name+" "+name+" 644\n",
					sh(t, in, "stat -c '%U %G %a' "+dir+" "+dir+"/sub "+dir+"/made "+dir+"/sub/a"))
			}
		}
		// What root has the user reaches here, as its code does by sudo.
		r, err := user.Open(ctx, "/etc/shadow", nil)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		_, err = root.Write(ctx, "/root/secret/s", strings.NewReader("x"), &backends.WriteOptions{Mode: 0o600})
		require.NoError(t, err)
		require.NoError(t, root.SetMetadata(ctx, "/root/secret/s", map[string]string{"a": "b"}))
		require.NoError(t, user.Rename(ctx, "/root/secret/s", "/root/secret/t"))
		infos, err := user.List(ctx, "/root/secret", 1)
		require.NoError(t, err)
		require.Len(t, infos, 1)
		require.Equal(t, "root", infos[0].Owner)
		// Files of the workspace stay the user's own.
		_, err = in.Files().Open(ctx, "../../etc/shadow", nil)
		require.ErrorIs(t, err, backends.ErrOutside)
		require.Contains(t, sh(t, in, "cat /root/secret/t"), "denied")
		require.NoError(t, user.Remove(ctx, "/root/secret"))
	})
	t.Run("watch", func(t *testing.T) {
		require.NoError(t, root.MakeDir(ctx, "/root/closed"))
		watch, err := root.Watch(ctx, "/root/closed", &backends.WatchOptions{Recursive: true, Entry: true})
		require.NoError(t, err)
		shAs(t, in, backends.RootUser, "umask 077; mkdir -p /root/closed/a/b; echo x > /root/closed/a/b/c; touch /root/closed/last")
		seen := map[string]bool{}
		for !seen["last"] {
			event, err := watch.Next(ctx)
			require.NoError(t, err)
			seen[event.Name] = true
			if event.Op == backends.WatchCreate {
				require.NotNil(t, event.Entry, event.Name)
				require.Equal(t, "root", event.Entry.Owner)
			}
		}
		require.True(t, seen["a/b/c"], "folders made later that only root may enter")
		require.NoError(t, watch.Close())
	})
	t.Run("pause", func(t *testing.T) {
		c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"sleep", "600"}, User: backends.RootUser})
		require.NoError(t, err)
		pauser := in.(backends.Pauser)
		require.NoError(t, pauser.Pause(ctx))
		state := engine(t, "exec", containerOfInstance(t, in), "cut", "-d", " ", "-f3", "/proc/"+c.ID()+"/stat")
		require.Contains(t, "TD", state)
		_, err = in.StartCommand(ctx, backends.Cmd{Args: []string{"true"}, User: backends.RootUser})
		require.ErrorIs(t, err, backends.ErrPaused)
		require.NoError(t, pauser.Resume(ctx))
		require.Equal(t, "S\n", shAs(t, in, backends.RootUser, "cut -d ' ' -f3 /proc/"+c.ID()+"/stat"))
		stats, err := in.Stats(ctx)
		require.NoError(t, err)
		require.Positive(t, stats.Processes)
		require.NoError(t, in.Destroy(ctx))
		_, err = c.Wait(ctx)
		require.NoError(t, err)
	})
}

// containerOfInstance is the id of the container whose sandbox prints its name.
func containerOfInstance(t *testing.T, in backends.Instance) string {
	t.Helper()
	return engine(t, "ps", "-q", "--no-trunc", "--filter", "label=org.ds-sandbox.id="+in.ID())
}
