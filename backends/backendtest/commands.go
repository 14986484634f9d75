package backendtest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// finished runs a command to its end and returns its outputs.
func finished(
	t *testing.T, ctx context.Context, in backends.Instance, cmd backends.Cmd,
) (stdout, stderr string, status backends.ExitStatus) {
	t.Helper()
	c, err := in.StartCommand(ctx, cmd)
	require.NoError(t, err)
	done := make(chan error, 1)
	var errText []byte
	go func() {
		if c.Stderr() == nil {
			done <- nil
			return
		}
		var err error
		errText, err = io.ReadAll(c.Stderr())
		done <- errors.Join(err, c.Stderr().Close())
	}()
	out, err := io.ReadAll(c.Stdout())
	require.NoError(t, errors.Join(err, c.Stdout().Close(), <-done))
	status, err = c.Wait(ctx)
	require.NoError(t, err)
	return string(out), string(errText), status
}

func shell(line string) []string { return []string{"/bin/sh", "-c", line} }

// readUntil reads until the output holds a text.
func readUntil(t *testing.T, r io.Reader, text string) string {
	t.Helper()
	var all strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(all.String(), text) {
		n, err := r.Read(buf)
		all.Write(buf[:n])
		require.NoError(t, err, "want %q, got %q", text, all.String())
	}
	return all.String()
}

func testCommands(t *testing.T, open Open) {
	with(t, open, "OutputsApartFolderAndEnvironment", func(t *testing.T, ctx context.Context, in backends.Instance) {
		require.NoError(t, in.Files().MakeDir(ctx, "sub"))
		out, errText, status := finished(t, ctx, in, backends.Cmd{
			Args: shell(`pwd; echo "$FROM_SPEC $BOTH $OWN" >&2; cat; exit 3`), Dir: "sub", Env: map[string]string{"BOTH": "command", "OWN": "x"},
		})
		require.Equal(t, in.Workspace()+"/sub\n", out)
		require.Equal(t, "spec command x\n", errText)
		require.Equal(t, 3, status.Code)
		require.Empty(t, status.Signal)
	})
	with(t, open, "WhatCanNotStart", func(t *testing.T, ctx context.Context, in backends.Instance) {
		_, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"no-such-program"}})
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = in.StartCommand(ctx, backends.Cmd{Args: shell("true"), Dir: "nowhere"})
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = in.StartCommand(ctx, backends.Cmd{Args: shell("true"), Dir: "../.."})
		require.ErrorIs(t, err, backends.ErrOutside)
		write(t, ctx, in.Files(), "plain", "x")
		_, err = in.StartCommand(ctx, backends.Cmd{Args: shell("true"), Dir: "plain"})
		require.Error(t, err)
		_, err = in.StartCommand(ctx, backends.Cmd{Args: []string{"./plain"}})
		require.ErrorIs(t, err, fs.ErrPermission)
		for _, args := range [][]string{nil, {""}, {"a\x00b"}} {
			_, err = in.StartCommand(ctx, backends.Cmd{Args: args})
			require.Error(t, err)
		}
		_, err = in.StartCommand(ctx, backends.Cmd{Args: shell("true"), PTY: &backends.Size{}})
		require.Error(t, err)
	})
	with(t, open, "StandardInput", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"cat"}, Stdin: true})
		require.NoError(t, err)
		_, err = c.Write(ctx, []byte("to and fro\n"))
		require.NoError(t, err)
		readUntil(t, c.Stdout(), "to and fro\n")
		require.NoError(t, c.CloseStdin())
		require.NoError(t, c.CloseStdin())
		_, err = c.Write(ctx, []byte("x"))
		require.ErrorIs(t, err, backends.ErrNoStdin)
		rest, err := io.ReadAll(c.Stdout())
		require.NoError(t, err)
		require.Empty(t, rest)
		require.ErrorIs(t, c.Resize(ctx, backends.Size{Cols: 1, Rows: 1}), backends.ErrNoTerminal)

		c, err = in.StartCommand(ctx, backends.Cmd{Args: []string{"sleep", "600"}, Stdin: true})
		require.NoError(t, err)
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err = c.Write(short, make([]byte, 1<<20))
		require.ErrorIs(t, err, context.DeadlineExceeded, "nobody reads")
		c, err = in.StartCommand(ctx, backends.Cmd{Args: []string{"sleep", "600"}})
		require.NoError(t, err)
		_, err = c.Write(ctx, []byte("x"))
		require.ErrorIs(t, err, backends.ErrNoStdin)
		require.ErrorIs(t, c.CloseStdin(), backends.ErrNoStdin)
	})
	with(t, open, "SignalsReachTheGroup", func(t *testing.T, ctx context.Context, in backends.Instance) {
		// The child says itself that it is another program, for until then it has the traps of its parent.
		c, err := in.StartCommand(ctx, backends.Cmd{
			Args: shell(`trap 'echo caught; exit 4' TERM; sh -c 'echo up; exec sleep 600' & while :; do wait; done`),
		})
		require.NoError(t, err)
		readUntil(t, c.Stdout(), "up\n")
		require.Positive(t, c.PID())
		require.NoError(t, c.Signal(ctx, backends.Terminate))
		readUntil(t, c.Stdout(), "caught\n")
		status, err := c.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, 4, status.Code)
		_, err = io.ReadAll(c.Stdout())
		require.NoError(t, err, "the child in the background got it too, and holds the pipe no more")
		require.NoError(t, c.Signal(ctx, backends.Kill), "a finished process is no error")

		c, err = in.StartCommand(ctx, backends.Cmd{Args: shell(`(trap '' TERM; echo up; while :; do sleep 0.05; done) & wait`)})
		require.NoError(t, err)
		readUntil(t, c.Stdout(), "up\n")
		require.NoError(t, c.Signal(ctx, backends.Terminate))
		_, err = c.Wait(ctx)
		require.NoError(t, err)
		require.NoError(t, c.Signal(ctx, backends.Kill))
		_, err = io.ReadAll(c.Stdout())
		require.NoError(t, err, "members of the group are reached after its leader's end")
	})
	with(t, open, "OutputEndsWithItsReader", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"yes"}})
		require.NoError(t, err)
		readUntil(t, c.Stdout(), "y\n")
		require.NoError(t, errors.Join(c.Stdout().Close(), c.Stderr().Close(), c.Stdout().Close()))
		status, err := c.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, "SIGPIPE", status.Signal)
	})
	with(t, open, "DestroyEndsCommands", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c, err := in.StartCommand(ctx, backends.Cmd{Args: shell("trap '' TERM HUP; setsid sleep 600 & echo up; sleep 600")})
		require.NoError(t, err)
		readUntil(t, c.Stdout(), "up\n")
		terminal, err := in.StartCommand(ctx, backends.Cmd{Args: []string{"sleep", "600"}, PTY: &backends.Size{Cols: 80, Rows: 24}})
		require.NoError(t, err)
		require.NoError(t, in.Destroy(ctx))
		for _, c := range []backends.Command{c, terminal} {
			_, err = c.Wait(ctx)
			require.NoError(t, err)
			_, err = io.ReadAll(c.Stdout())
			require.NoError(t, err)
		}
		_, err = in.StartCommand(ctx, backends.Cmd{Args: shell("true")})
		require.ErrorIs(t, err, backends.ErrDestroyed)
	})
	with(t, open, "Terminal", func(t *testing.T, ctx context.Context, in backends.Instance) {
		c, err := in.StartCommand(ctx, backends.Cmd{
			Args: shell(`trap 'echo resized $(stty size)' WINCH; stty size; read line; echo "got $line"; while :; do sleep 0.05; done`),
			PTY:  &backends.Size{Cols: 91, Rows: 31},
		})
		require.NoError(t, err)
		require.Nil(t, c.Stderr())
		readUntil(t, c.Stdout(), "31 91\r\n")
		_, err = c.Write(ctx, []byte("typed\n"))
		require.NoError(t, err)
		readUntil(t, c.Stdout(), "got typed\r\n")
		require.NoError(t, c.Resize(ctx, backends.Size{Cols: 92, Rows: 32}))
		readUntil(t, c.Stdout(), "resized 32 92\r\n")
		require.ErrorIs(t, c.CloseStdin(), backends.ErrNoStdin)
		_, err = c.Write(ctx, []byte("\x03"))
		require.NoError(t, err)
		status, err := c.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, "SIGINT", status.Signal, "its terminal is the controlling one")
		_, err = io.ReadAll(c.Stdout())
		require.NoError(t, err)
	})
}
