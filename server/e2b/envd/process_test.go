package envd_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
)

func byPID(pid uint32) *envdpb.ProcessSelector {
	return &envdpb.ProcessSelector{Selector: &envdpb.ProcessSelector_Pid{Pid: pid}}
}

func byTag(tag string) *envdpb.ProcessSelector {
	return &envdpb.ProcessSelector{Selector: &envdpb.ProcessSelector_Tag{Tag: tag}}
}

// lives reports whether there is a process of an id. On the local backend a command may not signal another, but sees it.
func (w *world) lives(pid uint32) bool {
	return !strings.Contains(w.run(fmt.Sprintf("LC_ALL=C kill -0 %d", pid)).stderr, "No such process")
}

func TestProcesses(t *testing.T) {
	onBoth(t, func(w *world) {
		outer := testContext(w.t)
		w.t.Run("output and end", func(t *testing.T) {
			for _, binary := range []bool{false, true} {
				w := *w
				w.t, w.binary = t, binary
				got := w.run(`echo out; echo err >&2; echo "$E2B_SANDBOX $E2B_SANDBOX_ID $OWN"; cat; exit 3`)
				require.Equal(t, "out\ntrue "+w.member.ID()+" x\n", got.stdout)
				require.Equal(t, "err\n", got.stderr)
				require.EqualValues(t, 3, got.end.ExitCode)
				require.True(t, got.end.Exited)
				require.Equal(t, "exit status 3", got.end.Status)
				require.Equal(t, "exit status 3", got.end.GetError())
				got = w.run("pwd; python3 -c 'import ipykernel; print(1)'")
				require.Equal(t, w.home+"\n1\n", got.stdout, "a login shell finds the sandbox's Python: %s", got.stderr)
				require.Zero(t, got.end.ExitCode)
				require.Nil(t, got.end.Error)
			}
		})
		w.t.Run("environment and folder", func(t *testing.T) {
			w := *w
			w.t = t
			ctx, cancel := context.WithTimeout(outer, 40*time.Second)
			defer cancel()
			w.put("some/dir/a", "x")
			dir := "some/dir"
			request := line(`pwd; echo "$OWN$MINE"`)
			request.Process.Cwd, request.Process.Envs = &dir, map[string]string{"OWN": "o", "MINE": "m"}
			s := w.start(ctx, request)
			s.all()
			require.Equal(t, w.home+"/some/dir\nom\n", s.stdout)
			nowhere := "nowhere"
			request.Process.Cwd = &nowhere
			s = w.start(ctx, request)
			require.False(t, s.next())
			codeIs(t, connect.CodeInvalidArgument, s.stream.Err())
			for _, bad := range []*envdpb.StartRequest{
				{},
				{Process: &envdpb.ProcessConfig{Cmd: "no-such-program"}},
				{Process: &envdpb.ProcessConfig{Cmd: "true", Envs: map[string]string{"A=B": "c"}}},
				{Process: &envdpb.ProcessConfig{Cmd: "true"}, Pty: &envdpb.PTY{}},
				{Process: &envdpb.ProcessConfig{Cmd: "true", Args: []string{"a\x00b"}}},
			} {
				s = w.start(ctx, bad)
				require.False(t, s.next())
				codeIs(t, connect.CodeInvalidArgument, s.stream.Err())
			}
		})
		w.t.Run("input", func(t *testing.T) {
			w := *w
			w.t = t
			ctx, cancel := context.WithTimeout(outer, 40*time.Second)
			defer cancel()
			p := w.processes()
			s := w.start(ctx, &envdpb.StartRequest{Process: &envdpb.ProcessConfig{Cmd: "cat"}})
			s.until(func() bool { return s.pid != 0 })
			send := func(text string) error {
				_, err := p.SendInput(ctx, connect.NewRequest(&envdpb.SendInputRequest{
					Process: byPID(s.pid), Input: &envdpb.ProcessInput{Input: &envdpb.ProcessInput_Stdin{Stdin: []byte(text)}},
				}))
				return err
			}
			require.NoError(t, send("öne "))
			require.NoError(t, send(""))
			in := p.StreamInput(ctx)
			require.NoError(t, in.Send(&envdpb.StreamInputRequest{Event: &envdpb.StreamInputRequest_Start{
				Start: &envdpb.StreamInputRequest_StartEvent{Process: byPID(s.pid)},
			}}))
			require.NoError(t, in.Send(&envdpb.StreamInputRequest{Event: &envdpb.StreamInputRequest_Data{
				Data: &envdpb.StreamInputRequest_DataEvent{Input: &envdpb.ProcessInput{Input: &envdpb.ProcessInput_Stdin{Stdin: []byte("two")}}},
			}}))
			_, err := in.CloseAndReceive()
			require.NoError(t, err)
			_, err = p.CloseStdin(ctx, connect.NewRequest(&envdpb.CloseStdinRequest{Process: byPID(s.pid)}))
			require.NoError(t, err)
			s.all()
			require.Equal(t, "öne two", s.stdout)
			codeIs(t, connect.CodeNotFound, send("x"))

			s = w.start(ctx, line("sleep 600"))
			s.until(func() bool { return s.pid != 0 })
			codeIs(t, connect.CodeFailedPrecondition, send("x"))
			_, err = p.CloseStdin(ctx, connect.NewRequest(&envdpb.CloseStdinRequest{Process: byPID(s.pid)}))
			codeIs(t, connect.CodeFailedPrecondition, err)
			_, err = p.SendSignal(ctx, connect.NewRequest(&envdpb.SendSignalRequest{Process: byPID(s.pid), Signal: 15}))
			require.NoError(t, err)
			s.all()
			require.False(t, s.end.Exited)
			require.EqualValues(t, -1, s.end.ExitCode)
			require.Equal(t, "signal: terminated", s.end.Status)
		})
		w.t.Run("kill and list", func(t *testing.T) {
			w := *w
			w.t = t
			ctx, cancel := context.WithTimeout(outer, 40*time.Second)
			defer cancel()
			p := w.processes()
			tag, request := "mine", line("sleep 600 & wait")
			request.Tag, request.Process.Envs = &tag, map[string]string{"A": "b"}
			s := w.start(ctx, request)
			s.until(func() bool { return s.pid != 0 })
			list, err := p.List(ctx, connect.NewRequest(&envdpb.ListRequest{}))
			require.NoError(t, err)
			require.Len(t, list.Msg.Processes, 1)
			require.Equal(t, s.pid, list.Msg.Processes[0].Pid)
			require.Equal(t, "mine", list.Msg.Processes[0].GetTag())
			require.Equal(t, []string{"-l", "-c", "sleep 600 & wait"}, list.Msg.Processes[0].Config.Args, "as it was asked for")
			require.True(t, w.lives(s.pid), "the process id is the program's own")
			_, err = p.SendSignal(ctx, connect.NewRequest(&envdpb.SendSignalRequest{Process: byTag("mine"), Signal: 1}))
			codeIs(t, connect.CodeInvalidArgument, err)
			kill := func() error {
				_, err := p.SendSignal(ctx, connect.NewRequest(&envdpb.SendSignalRequest{Process: byTag("mine"), Signal: 9}))
				return err
			}
			require.NoError(t, kill())
			codeIs(t, connect.CodeNotFound, kill())
			require.False(t, w.lives(s.pid), "it is gone, and no zombie")
			s.all()
			require.Equal(t, "signal: killed", s.end.GetError())
			list, err = p.List(ctx, connect.NewRequest(&envdpb.ListRequest{}))
			require.NoError(t, err)
			require.Empty(t, list.Msg.Processes)
			codeIs(t, connect.CodeNotFound, func() error {
				_, err := p.Update(ctx, connect.NewRequest(&envdpb.UpdateRequest{Process: byPID(4_000_000_000)}))
				return err
			}())
		})
		w.t.Run("connect", func(t *testing.T) {
			w := *w
			w.t = t
			ctx, cancel := context.WithTimeout(outer, 40*time.Second)
			defer cancel()
			s := w.start(ctx, &envdpb.StartRequest{Process: &envdpb.ProcessConfig{Cmd: "/bin/sh", Args: []string{"-c", "echo first; read x; echo second; exit 4"}}})
			s.until(func() bool { return s.stdout == "first\n" })
			other, err := w.processes().Connect(ctx, connect.NewRequest(&envdpb.ConnectRequest{Process: byPID(s.pid)}))
			require.NoError(t, err)
			var seen pieces
			require.True(t, other.Receive())
			seen.add(t, other.Msg().Event)
			_, err = w.processes().SendInput(ctx, connect.NewRequest(&envdpb.SendInputRequest{
				Process: byPID(s.pid), Input: &envdpb.ProcessInput{Input: &envdpb.ProcessInput_Stdin{Stdin: []byte("\n")}},
			}))
			require.NoError(t, err)
			for other.Receive() {
				seen.add(t, other.Msg().Event)
			}
			require.NoError(t, other.Err())
			require.Equal(t, "second\n", seen.stdout, "what comes from then on")
			require.Equal(t, s.pid, seen.pid)
			require.EqualValues(t, 4, seen.end.ExitCode)
			s.all()
			late, err := w.processes().Connect(ctx, connect.NewRequest(&envdpb.ConnectRequest{Process: byPID(s.pid)}))
			require.NoError(t, err)
			seen = pieces{}
			for late.Receive() {
				seen.add(t, late.Msg().Event)
			}
			require.EqualValues(t, 4, seen.end.GetExitCode(), "the end is remembered")
			lost, err := w.processes().Connect(ctx, connect.NewRequest(&envdpb.ConnectRequest{Process: byTag("nobody's")}))
			require.NoError(t, err)
			require.False(t, lost.Receive())
			codeIs(t, connect.CodeNotFound, lost.Err())
		})
		w.t.Run("terminal", func(t *testing.T) {
			w := *w
			w.t = t
			ctx, cancel := context.WithTimeout(outer, 40*time.Second)
			defer cancel()
			var s *started
			open := func(cmd string, args ...string) {
				s = w.start(ctx, &envdpb.StartRequest{
					Process: &envdpb.ProcessConfig{Cmd: cmd, Args: args, Envs: map[string]string{"TERM": "xterm-256color"}},
					Pty:     &envdpb.PTY{Size: &envdpb.PTY_Size{Cols: 90, Rows: 20}},
				})
				s.until(func() bool { return s.pid != 0 })
			}
			typed := func(text string) {
				_, err := w.processes().SendInput(ctx, connect.NewRequest(&envdpb.SendInputRequest{
					Process: byPID(s.pid), Input: &envdpb.ProcessInput{Input: &envdpb.ProcessInput_Pty{Pty: []byte(text)}},
				}))
				require.NoError(t, err)
			}
			// A shell at its prompt may set the size back that it has just read, so this one has none.
			open("/bin/sh", "-c", "stty size; while read line; do stty size; done")
			s.until(func() bool { return strings.Contains(s.pty, "20 90\r\n") })
			_, err := w.processes().Update(ctx, connect.NewRequest(&envdpb.UpdateRequest{
				Process: byPID(s.pid), Pty: &envdpb.PTY{Size: &envdpb.PTY_Size{Cols: 100, Rows: 30}},
			}))
			require.NoError(t, err)
			typed("\n")
			s.until(func() bool { return strings.Contains(s.pty, "30 100\r\n") })
			_, err = w.processes().SendInput(ctx, connect.NewRequest(&envdpb.SendInputRequest{
				Process: byPID(s.pid), Input: &envdpb.ProcessInput{Input: &envdpb.ProcessInput_Stdin{Stdin: []byte("x")}},
			}))
			codeIs(t, connect.CodeFailedPrecondition, err)
			typed("\x04")
			s.all()
			require.Zero(t, s.end.ExitCode)
			require.Empty(t, s.stdout+s.stderr)

			open("/bin/bash", "-i", "-l")
			typed("python3 -c 'import ipykernel; print(41+1)'; exit 5\n")
			s.all()
			require.Contains(t, s.pty, "42\r\n", "a login shell finds the sandbox's Python")
			require.EqualValues(t, 5, s.end.ExitCode)
		})
		w.t.Run("deadline", func(t *testing.T) {
			w := *w
			w.t = t
			ctx, cancel := context.WithTimeout(outer, 40*time.Second)
			defer cancel()
			short, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
			defer cancel()
			s := w.start(short, line("echo $$; trap '' TERM; sleep 600 & wait; sleep 600"))
			for s.next() {
			}
			codeIs(t, connect.CodeDeadlineExceeded, s.stream.Err())
			require.Eventually(t, func() bool { return !w.lives(s.pid) }, 20*time.Second, 50*time.Millisecond)
		})
		w.t.Run("leaving", func(t *testing.T) {
			w := *w
			w.t = t
			ctx, cancel := context.WithTimeout(outer, 40*time.Second)
			defer cancel()
			gone, leave := context.WithCancel(ctx)
			s := w.start(gone, line("echo up; while :; do echo more; sleep 0.05; done"))
			s.until(func() bool { return s.stdout != "" })
			leave()
			for s.next() {
			}
			again, err := w.processes().Connect(ctx, connect.NewRequest(&envdpb.ConnectRequest{Process: byPID(s.pid)}))
			require.NoError(t, err, "it runs on")
			var seen pieces
			for seen.stdout == "" {
				require.True(t, again.Receive())
				seen.add(t, again.Msg().Event)
			}
			_, err = w.processes().SendSignal(ctx, connect.NewRequest(&envdpb.SendSignalRequest{Process: byPID(s.pid), Signal: 9}))
			require.NoError(t, err)
			for again.Receive() {
				seen.add(t, again.Msg().Event)
			}
			require.NotNil(t, seen.end)
		})
		w.t.Run("keepalive", func(t *testing.T) {
			w := *w
			w.t = t
			ctx, cancel := context.WithTimeout(outer, 40*time.Second)
			defer cancel()
			request := connect.NewRequest(line("sleep 2.5"))
			request.Header().Set("Keepalive-Ping-Interval", "1")
			stream, err := w.processes().Start(ctx, request)
			require.NoError(t, err)
			s := &started{t: t, stream: stream}
			s.all()
			require.Positive(t, s.keepalives)
		})
		w.t.Run("much output", func(t *testing.T) {
			w := *w
			w.t = t
			got := w.run("head -c 5000000 /dev/zero | tr '\\0' y; head -c 300000 /dev/zero | tr '\\0' z >&2")
			require.Equal(t, strings.Repeat("y", 5_000_000), got.stdout)
			require.Len(t, got.stderr, 300_000)
		})
	})
}

func TestAKilledSandboxEndsItsStreamsUnproperly(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx := testContext(w.t)
		s := w.start(ctx, line("sleep 600"))
		s.until(func() bool { return s.pid != 0 })
		watch, err := w.files().WatchDir(ctx, connect.NewRequest(&envdpb.WatchDirRequest{}))
		require.NoError(w.t, err)
		require.True(w.t, watch.Receive())
		require.NoError(w.t, w.member.Kill(ctx))
		require.False(w.t, s.next())
		require.Nil(w.t, s.end)
		require.False(w.t, watch.Receive())
		for _, err := range []error{s.stream.Err(), watch.Err()} {
			require.Error(w.t, err)
			require.False(w.t, connect.IsWireError(err), "the connection breaks, no end is told: %v", err)
		}
	})
}

func TestUsersOfAContainer(t *testing.T) {
	onDocker(t, func(w *world) {
		ctx := testContext(t)
		who := "id -un; id -gn; echo $HOME $USER $LOGNAME; pwd; umask"
		require.Equal(t, "root\nroot\n/root root root\n/root\n0022\n", w.as("root").run(who).stdout)
		require.Equal(t, "user\nuser\n/home/user user user\n/home/user\n0022\n", w.as("user").run(who).stdout)
		require.Equal(t, "user\n", w.run("id -un").stdout)
		require.Equal(t, "root\n", w.run("sudo id -un").stdout)
		w.as("root").put("secret", "s")
		require.Equal(t, "s", w.as("root").run("cat /root/secret").stdout)
		require.Equal(t, "root root 644\n", w.as("root").run("stat -c '%U %G %a' secret").stdout)
		w.put("/opt/new/file", "x")
		require.Equal(t, "user user 644\nuser user 755\n", w.run("stat -c '%U %G %a' /opt/new/file /opt/new").stdout)
		s := w.as("nobody").start(ctx, line("true"))
		require.False(t, s.next())
		codeIs(t, connect.CodeUnauthenticated, s.stream.Err())
		require.Equal(t, 401, w.get("/files?path=x&username=nobody").StatusCode)
		_, err := w.as("nobody").files().Stat(ctx, connect.NewRequest(&envdpb.StatRequest{Path: "."}))
		codeIs(t, connect.CodeUnauthenticated, err)

		pty := w.as("root").start(ctx, &envdpb.StartRequest{
			Process: &envdpb.ProcessConfig{Cmd: "/bin/bash", Args: []string{"-i", "-l"}}, Pty: &envdpb.PTY{Size: &envdpb.PTY_Size{Cols: 90, Rows: 20}},
		})
		pty.until(func() bool { return pty.pid != 0 })
		_, err = w.as("user").processes().SendInput(ctx, connect.NewRequest(&envdpb.SendInputRequest{
			Process: byPID(pty.pid), Input: &envdpb.ProcessInput{Input: &envdpb.ProcessInput_Pty{Pty: []byte("id -un | tr a-z A-Z; exit\n")}},
		}))
		require.NoError(t, err)
		pty.all()
		require.Contains(t, pty.pty, "ROOT\r\n")
	})
}

func TestAHardenedContainerHasNoRoot(t *testing.T) {
	onProfile(t, "hardened", func(w *world) {
		s := w.as("root").start(testContext(t), line("true"))
		require.False(t, s.next())
		codeIs(t, connect.CodeUnimplemented, s.stream.Err())
		require.Contains(t, s.stream.Err().Error(), "profile compatible")
		require.Equal(t, 501, w.get("/files?path=/etc/passwd&username=root").StatusCode)
		require.Contains(t, w.get("/files?path=/etc/passwd").body, "root:")
		require.Equal(t, 403, w.get("/files?path=/etc/shadow").StatusCode)
		got := w.do("POST", "/files?path=/etc/x", strings.NewReader("x"), "Content-Type", "application/octet-stream")
		require.Equal(t, 403, got.StatusCode, got.body)
		require.Equal(t, "user\n", w.run("id -un").stdout)
	})
}

func TestALocalSandboxHasOneUserAndItsWorkspace(t *testing.T) {
	onLocal(t, func(w *world) {
		ctx := testContext(t)
		s := w.as("root").start(ctx, line("true"))
		require.False(t, s.next())
		codeIs(t, connect.CodeUnimplemented, s.stream.Err())
		require.Equal(t, 501, w.get("/files?path=x&username=root").StatusCode)
		require.Equal(t, 401, w.get("/files?path=x&username=nobody").StatusCode)
		w.put("/home/user/a", "x")
		require.Equal(t, "x", w.get("/files?path=a").body)
		require.Equal(t, "x", w.get("/files?path=~/a").body)
		require.Equal(t, "x", w.get("/files?path="+w.home+"/a").body)
		for _, path := range []string{"/etc/passwd", "/", "/home/user/../x", "../x", "/home/user2/a", "/tmp/../etc/passwd"} {
			got := w.get("/files?path=" + path)
			require.Equal(t, 400, got.StatusCode, path)
			require.Contains(t, got.body, "leads out of the workspace")
			_, err := w.files().Remove(ctx, connect.NewRequest(&envdpb.RemoveRequest{Path: path}))
			codeIs(t, connect.CodeInvalidArgument, err)
		}
		require.Equal(t, "", w.run("ln -s /etc/passwd link").stderr)
		require.Equal(t, 404, w.get("/files?path=link").StatusCode)
		for asked, path := range map[string]string{"a": w.home + "/a", "/home/user/a": "/home/user/a", w.home + "/a": w.home + "/a"} {
			got, err := w.files().Stat(ctx, connect.NewRequest(&envdpb.StatRequest{Path: asked}))
			require.NoError(t, err)
			require.Equal(t, path, got.Msg.Entry.Path)
		}
	})
}
