package sandbox_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// lazySandbox is a sandbox without a kernel.
func lazySandbox(t *testing.T) (context.Context, *sandbox.Sandbox) {
	t.Helper()
	ctx := testContext(t)
	python, err := agent.Probe(ctx, backendtest.Pythons(t)[0])
	require.NoError(t, err)
	sbx, err := engineFor(t, python).Create(ctx, &sandbox.Options{Lazy: true, Env: map[string]string{"FROM": "sandbox"}})
	require.NoError(t, err)
	return ctx, sbx
}

// until reads a command's output until it holds a text.
func until(t *testing.T, ctx context.Context, out *sandbox.CommandOutput, text string) string {
	t.Helper()
	var all strings.Builder
	for !strings.Contains(all.String(), text) {
		m, err := out.Next(ctx)
		require.NoError(t, err, "want %q, got %q", text, all.String())
		all.Write(m.Data)
	}
	return all.String()
}

func TestCommandsRunInTheWorkspace(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	commands := sbx.Commands()
	require.NoError(t, sbx.Files().WriteString(ctx, "sub/data.txt", "one\ntwo\n"))
	var live, liveErr strings.Builder
	result, err := commands.Run(ctx, `pwd; cat data.txt; echo "$FROM $OWN" >&2; which python`, &sandbox.CommandOptions{
		Dir: "sub", Env: map[string]string{"OWN": "mine"},
		OnStdout: func(data []byte) { live.Write(data) },
		OnStderr: func(data []byte) { liveErr.Write(data) },
	})
	require.NoError(t, err)
	workspace := sbx.Info().Workspace
	require.True(t, strings.HasPrefix(result.Stdout, workspace+"/sub\none\ntwo\n"), result.Stdout)
	require.Contains(t, result.Stdout, "env-"+sbx.ID(), "the sandbox's own Python")
	require.Equal(t, "sandbox mine\n", result.Stderr)
	require.Equal(t, result.Stdout, live.String())
	require.Equal(t, result.Stderr, liveErr.String())
	require.Zero(t, result.ExitCode)
	require.Positive(t, result.Wall)
	require.Empty(t, sbx.Contexts(), "no kernel was needed")

	run, err := sbx.RunCode(ctx, "1+1", nil)
	require.NoError(t, err)
	require.Equal(t, "2", run.Text(), "it starts at its first use")
}

func TestCommandsThatFailSayHow(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	commands := sbx.Commands()
	var exit *sandbox.CommandExitError
	result, err := commands.Run(ctx, "echo no such luck >&2; exit 7", nil)
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 7, result.ExitCode)
	require.Same(t, result, exit.Result)
	require.ErrorContains(t, err, "code 7: no such luck")
	result, err = commands.Run(ctx, "kill -9 $$", nil)
	require.ErrorAs(t, err, &exit)
	require.Equal(t, "SIGKILL", result.Signal)
	require.Equal(t, -1, result.ExitCode)

	_, err = commands.Run(ctx, "true", &sandbox.CommandOptions{Dir: "nowhere"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "nowhere")
	_, err = commands.StartProgram(ctx, []string{"no-such-program"}, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, `"no-such-program"`)
	_, err = commands.StartProgram(ctx, nil, nil)
	require.ErrorContains(t, err, "no program")
	_, err = commands.Run(ctx, "true", &sandbox.CommandOptions{Timeout: -1})
	require.ErrorContains(t, err, "timeout")
	_, err = commands.Run(ctx, "true", &sandbox.CommandOptions{Env: map[string]string{"A=B": "x"}})
	require.Error(t, err)
	_, err = commands.Connect(1)
	require.ErrorIs(t, err, sandbox.ErrNotFound)
	_, err = commands.ConnectTag("none")
	require.ErrorIs(t, err, sandbox.ErrNotFound)
	found, err := commands.Kill(ctx, 1)
	require.NoError(t, err)
	require.False(t, found)
}

func TestCommandTimeoutEndsTheWholeGroup(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	// The shell's child ignores SIGTERM, so that only a group that is ended to the last has done.
	start := time.Now()
	result, err := sbx.Commands().Run(ctx, `trap '' TERM; echo $$; (sleep 600; true) & wait; sleep 600`, &sandbox.CommandOptions{Timeout: 300 * time.Millisecond})
	require.ErrorIs(t, err, sandbox.ErrTimeout)
	var timeout *sandbox.CommandTimeoutError
	require.ErrorAs(t, err, &timeout)
	require.Same(t, result, timeout.Result)
	require.Less(t, time.Since(start), 10*time.Second)
	pid, convErr := strconv.Atoi(strings.TrimSpace(result.Stdout))
	require.NoError(t, convErr)
	require.Equal(t, "SIGKILL", result.Signal)
	require.False(t, alive(pid))

	// A leader that goes at once, and a child that does not.
	result, err = sbx.Commands().Run(ctx, `(trap '' TERM; echo $BASHPID; exec >/dev/null 2>&1; while :; do sleep 0.1; done) & wait`, &sandbox.CommandOptions{Timeout: 300 * time.Millisecond})
	require.ErrorIs(t, err, sandbox.ErrTimeout)
	child, convErr := strconv.Atoi(strings.TrimSpace(result.Stdout))
	require.NoError(t, convErr)
	require.Eventually(t, func() bool { return !alive(child) }, 5*time.Second, time.Millisecond)
}

func TestCancelledCommandIsKilled(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	reason := errors.New("changed my mind")
	cancelled, cancel := context.WithCancelCause(ctx)
	result, err := sbx.Commands().Run(cancelled, "echo started; exec sleep 600", &sandbox.CommandOptions{
		OnStdout: func([]byte) { cancel(reason) },
	})
	require.ErrorIs(t, err, reason)
	require.Equal(t, "started\n", result.Stdout)
	require.False(t, alive(result.PID))
}

func TestEndOfACommandIsKeptForAWhile(t *testing.T) {
	t.Cleanup(sandbox.SetKeepEnded(time.Second))
	ctx, sbx := lazySandbox(t)
	command, err := sbx.Commands().Start(ctx, "echo out; exit 3", &sandbox.CommandOptions{Tag: "mine"})
	require.NoError(t, err)
	<-command.Done()
	found, err := sbx.Commands().ConnectTag("mine")
	require.NoError(t, err)
	result, err := found.Wait(ctx)
	require.Error(t, err)
	require.Equal(t, 3, result.ExitCode)
	require.Equal(t, "out\n", result.Stdout)
	require.Eventually(t, func() bool {
		_, byPID := sbx.Commands().Connect(command.PID())
		_, byTag := sbx.Commands().ConnectTag("mine")
		return errors.Is(byPID, sandbox.ErrNotFound) && errors.Is(byTag, sandbox.ErrNotFound)
	}, 10*time.Second, 10*time.Millisecond)
	result, err = command.Wait(ctx) // who holds it still may ask
	require.Error(t, err)
	require.Equal(t, 3, result.ExitCode)
}

func TestBackgroundChildrenThatHoldThePipeDoNotHangWait(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	start := time.Now()
	result, err := sbx.Commands().Run(ctx, `setsid sh -c 'echo $$; sleep 600' & sleep 0.2; echo done`, nil)
	require.NoError(t, err)
	require.Less(t, time.Since(start), 20*time.Second)
	require.Contains(t, result.Stdout, "done\n")
	daemon, err := strconv.Atoi(strings.Fields(strings.ReplaceAll(result.Stdout, "done", ""))[0])
	require.NoError(t, err)
	require.True(t, alive(daemon), "it may live on")

	chatty, err := sbx.Commands().Run(ctx, `(while echo still; do sleep 0.01; done) & echo $!`, nil)
	require.NoError(t, err, "one that never stops writing is listened to for a while only")
	writer, err := strconv.Atoi(strings.Fields(strings.ReplaceAll(chatty.Stdout, "still", ""))[0])
	require.NoError(t, err)
	require.True(t, alive(writer), "and not ended by a closed pipe")
	require.NoError(t, sbx.Kill(ctx))
	require.False(t, alive(daemon))
	require.False(t, alive(writer))
}

func TestCommandsInTheBackground(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	commands := sbx.Commands()
	cmd, err := commands.Start(ctx, "echo ready; cat; echo end", &sandbox.CommandOptions{Stdin: true, Tag: "cat"})
	require.NoError(t, err)
	require.True(t, alive(cmd.PID()))
	same, err := commands.Connect(cmd.PID())
	require.NoError(t, err)
	require.Same(t, cmd, same)
	same, err = commands.ConnectTag("cat")
	require.NoError(t, err)
	require.Same(t, cmd, same)
	infos := commands.List()
	require.Len(t, infos, 1)
	require.Equal(t, "cat", infos[0].Tag)
	require.Equal(t, cmd.PID(), infos[0].PID)
	require.Equal(t, "echo ready; cat; echo end", infos[0].Args[2])

	early := cmd.Output(true)
	until(t, ctx, early, "ready\n")
	late := cmd.Output(false)
	require.NoError(t, cmd.Write(ctx, []byte("hello\n")))
	require.Equal(t, "hello\n", until(t, ctx, early, "hello\n"))
	require.Equal(t, "hello\n", until(t, ctx, late, "hello\n"), "each reader gets all that is new")
	require.NoError(t, late.Close())
	_, err = late.Next(ctx)
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, cmd.CloseStdin())
	require.NoError(t, cmd.CloseStdin())
	require.ErrorIs(t, cmd.Write(ctx, []byte("x")), sandbox.ErrNoStdin)
	until(t, ctx, early, "end\n")
	_, err = early.Next(ctx)
	require.ErrorIs(t, err, io.EOF)
	result, err := cmd.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, "ready\nhello\nend\n", result.Stdout)

	require.Empty(t, commands.List())
	same, err = commands.ConnectTag("cat")
	require.NoError(t, err, "its end can be asked for, for a while")
	again, err := same.Wait(ctx)
	require.NoError(t, err)
	require.Same(t, result, again)
	require.Equal(t, "ready\nhello\nend\n", until(t, ctx, same.Output(true), "end\n"))
	require.NoError(t, same.Signal(ctx, "SIGTERM"), "a finished process is no error")
	require.ErrorIs(t, cmd.Resize(ctx, sandbox.TerminalSize{Cols: 80, Rows: 24}), sandbox.ErrNoTerminal)

	deaf, err := commands.Start(ctx, "sleep 600", nil)
	require.NoError(t, err)
	require.ErrorIs(t, deaf.Write(ctx, []byte("x")), sandbox.ErrNoStdin)
	require.Error(t, deaf.Signal(ctx, "NONSENSE"))
	require.Error(t, deaf.Signal(ctx, "SIGNONSENSE"))
	require.NoError(t, deaf.Kill(ctx))
	result, err = deaf.Wait(ctx)
	require.Error(t, err)
	require.Equal(t, "SIGKILL", result.Signal)
}

func TestInputThatNobodyReadsBlocksOnlyItsWriter(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	cmd, err := sbx.Commands().Start(ctx, "exec sleep 600", &sandbox.CommandOptions{Stdin: true})
	require.NoError(t, err)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, cmd.Write(short, make([]byte, 1<<20)), context.DeadlineExceeded)
	require.NoError(t, cmd.Kill(ctx))
}

func TestFloodOfACommandIsBounded(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var seen int64
	result, err := sbx.Commands().Run(ctx, "yes 0123456789012345678901234567890123456789 | head -c 500000000; echo; echo last", &sandbox.CommandOptions{
		OnStdout: func(data []byte) { seen += int64(len(data)) },
	})
	require.NoError(t, err)
	require.Equal(t, int64(500_000_006), seen, "a callback gets all of it")
	require.True(t, strings.HasSuffix(result.Stdout, "\nlast\n"))
	require.Equal(t, int64(500_000_006-1<<20), result.Truncated)
	require.Contains(t, result.Stdout, "bytes left out")
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(32<<20))

	// A reader that does not read misses output, is told so, and holds up nobody.
	cmd, err := sbx.Commands().Start(ctx, "head -c 50000000 /dev/zero", nil)
	require.NoError(t, err)
	lazy := cmd.Output(true)
	_, err = cmd.Wait(ctx)
	require.NoError(t, err)
	var got, dropped int64
	for {
		m, err := lazy.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		got, dropped = got+int64(len(m.Data)), dropped+m.Dropped
	}
	require.LessOrEqual(t, got, int64(3<<20))
	require.Positive(t, dropped)
}

func TestFollowingReadersMissNothing(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		cmd, err := sbx.Commands().StartProgram(ctx, []string{"sh", "-c", "read x; head -c 8000000 /dev/zero; exit 3"}, &sandbox.CommandOptions{Stdin: true})
		require.NoError(t, err)
		reader := cmd.Follow()
		defer func() { require.NoError(t, reader.Close()) }()
		require.NoError(t, cmd.Write(ctx, []byte("\n")))
		select { // it can't end before it is read
		case <-cmd.Exited():
			t.Fatal("it ended although nobody read")
		case <-time.After(50 * time.Millisecond):
		}
		total := 0
		for {
			m, err := reader.Next(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.Zero(t, m.Dropped)
			total += len(m.Data)
		}
		require.Equal(t, 8_000_000, total)
		<-cmd.Exited()
		_, err = cmd.Follow().Next(ctx)
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestManyCommandsAtOnce(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			result, err := sbx.Commands().Run(ctx, "echo "+strconv.Itoa(i)+"; exit "+strconv.Itoa(i%3), nil)
			if result.Stdout != strconv.Itoa(i)+"\n" || result.ExitCode != i%3 {
				t.Errorf("command %d: %+v: %v", i, result, err)
			}
		})
	}
	wg.Wait()
}

func TestKillEndsCommands(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	cmd, err := sbx.Commands().Start(ctx, "trap '' TERM HUP; echo up; while :; do sleep 1; done", nil)
	require.NoError(t, err)
	until(t, ctx, cmd.Output(true), "up\n")
	stuck, err := sbx.Commands().Start(ctx, "yes", &sandbox.CommandOptions{OnStdout: func([]byte) { <-cmd.Done() }})
	require.NoError(t, err)
	require.NoError(t, sbx.Kill(ctx))
	_, err = cmd.Wait(ctx)
	require.ErrorIs(t, err, sandbox.ErrKilled)
	_, err = stuck.Wait(ctx)
	require.ErrorIs(t, err, sandbox.ErrKilled)
	_, err = sbx.Commands().Run(ctx, "true", nil)
	require.ErrorIs(t, err, sandbox.ErrKilled)
	require.False(t, alive(cmd.PID()))
}

func TestTerminal(t *testing.T) {
	ctx, sbx := lazySandbox(t)
	cmd, err := sbx.Commands().StartTerminal(ctx, sandbox.TerminalSize{Cols: 90, Rows: 30}, nil, nil)
	require.NoError(t, err)
	out := cmd.Output(true)
	type_ := func(text string) { require.NoError(t, cmd.Write(ctx, []byte(text))) }
	type_("tput cols; tty; echo $((6*7))\n")
	screen := until(t, ctx, out, "42\r\n")
	require.Contains(t, screen, "90\r\n")
	require.Contains(t, screen, "/dev/pts/")
	require.NoError(t, cmd.Resize(ctx, sandbox.TerminalSize{Cols: 123, Rows: 40}))
	type_("stty size\n")
	until(t, ctx, out, "40 123\r\n")
	require.Error(t, cmd.Resize(ctx, sandbox.TerminalSize{}))
	// Job control: Ctrl-C ends the foreground job and not the shell.
	type_("PS1='rea''dy:'; sh -c 'echo up; exec sleep 600'\n")
	until(t, ctx, out, "up\r\n")
	type_("\x03")
	until(t, ctx, out, "ready:") // a shell loses keys that come while it returns to its prompt
	type_("echo $((40+4))\n")
	until(t, ctx, out, "44\r\n")
	require.ErrorIs(t, cmd.CloseStdin(), sandbox.ErrNoStdin)
	type_("exit 5\n")
	result, err := cmd.Wait(ctx)
	var exit *sandbox.CommandExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 5, result.ExitCode)
	infos, err := sbx.Files().List(ctx, "")
	require.NoError(t, err)
	require.Empty(t, infos, "a shell's history is not the user's data")

	again, err := sbx.Commands().StartTerminal(ctx, sandbox.TerminalSize{Cols: 80, Rows: 24}, []string{"sleep", "600"}, nil)
	require.NoError(t, err)
	require.NoError(t, again.Kill(ctx))
	require.False(t, alive(again.PID()))
}

func TestCommandsUseTheSandboxesPython(t *testing.T) {
	withSandbox(t, func(t *testing.T, ctx context.Context, sbx *sandbox.Sandbox) {
		mustRun(t, ctx, sbx, "open('made.txt', 'w').write('by the kernel')")
		result, err := sbx.Commands().Run(ctx, `python -c "print(open('made.txt').read()); import numpy"`, nil)
		require.NoError(t, err)
		require.Equal(t, "by the kernel\n", result.Stdout)
		_, err = os.Stat(sbx.Info().Workspace + "/made.txt")
		require.NoError(t, err)
	})
}
