package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// server is a program that answers each connection on a port with what it was told, in capitals, until it is told "close"; "flood"
// begins an answer without end, and "deaf" has it read no more.
const server = `
import socket, sys, threading
def serve(conn):
    with conn:
        while data := conn.recv(65536):
            if data == b"close": return
            while data == b"flood": conn.sendall(b"x" * 65536)
            if data == b"deaf": threading.Event().wait()
            conn.sendall(data.upper())
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family, reuse_port="shared" in sys.argv)
print(listener.getsockname()[1], flush=True)
while True: threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
`

// Serve starts a program in an instance that listens on an address of it, and returns its port; 0 asks for a free one.
func Serve(t *testing.T, ctx context.Context, in backends.Instance, host string, port int, args ...string) (backends.Command, int) {
	t.Helper()
	c, err := in.StartCommand(ctx, backends.Cmd{Args: slices.Concat([]string{"python3", "-c", server, host, fmt.Sprint(port)}, args)})
	require.NoError(t, err)
	line := readUntil(t, c.Stdout(), "\n")
	_, err = fmt.Sscan(line, &port)
	require.NoError(t, err, line)
	return c, port
}

// dial connects to a port of an instance.
func dial(ctx context.Context, in backends.Instance, port int) (net.Conn, error) {
	dialer, ok := in.(backends.Dialer)
	if !ok {
		return nil, errors.New("it is no Dialer")
	}
	return dialer.DialContext(ctx, "tcp", fmt.Sprint("localhost:", port))
}

// converse says something to a server and wants it back.
func converse(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	answer := make([]byte, len(text))
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	require.Equal(t, strings.ToUpper(text), string(answer))
}

func testPorts(t *testing.T, open Open, lacks []Lack) {
	with(t, open, "OwnServersAreReached", func(t *testing.T, ctx context.Context, in backends.Instance) {
		for _, host := range []string{"127.0.0.1", "0.0.0.0"} {
			command, port := Serve(t, ctx, in, host, 0)
			one, err := dial(ctx, in, port)
			require.NoError(t, err, host)
			two, err := dial(ctx, in, port)
			require.NoError(t, err, host)
			converse(t, one, "first")
			converse(t, two, "second")
			converse(t, one, "first again")
			require.NoError(t, two.SetReadDeadline(time.Now().Add(-time.Second)))
			_, err = two.Read(make([]byte, 1))
			var late net.Error
			require.ErrorAs(t, err, &late)
			require.True(t, late.Timeout())
			require.NoError(t, two.Close())
			converse(t, one, "and the other is closed")
			_, err = io.WriteString(one, "close")
			require.NoError(t, err)
			_, err = one.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			require.NoError(t, one.Close())

			require.NoError(t, command.Signal(ctx, backends.Kill))
			_, err = command.Wait(ctx)
			require.NoError(t, err)
			_, err = dial(ctx, in, port)
			require.ErrorIs(t, err, backends.ErrNotListening)
		}
	})
	with(t, open, "MuchAtOnceBothWays", func(t *testing.T, ctx context.Context, in backends.Instance) {
		_, port := Serve(t, ctx, in, "127.0.0.1", 0)
		conn, err := dial(ctx, in, port)
		require.NoError(t, err)
		sent := bytes.Repeat([]byte("abcdefgh"), 1<<20)
		done := make(chan error, 1)
		go func() {
			_, err := conn.Write(sent)
			done <- err
		}()
		got := make([]byte, len(sent))
		_, err = io.ReadFull(conn, got)
		require.NoError(t, errors.Join(err, <-done))
		require.True(t, bytes.Equal(bytes.ToUpper(sent), got))
		require.NoError(t, conn.Close())
	})
	with(t, open, "ReadersAndServersThatStandStillHoldUpNobody", func(t *testing.T, ctx context.Context, in backends.Instance) {
		_, port := Serve(t, ctx, in, "127.0.0.1", 0)
		for range 24 {
			flood, err := dial(ctx, in, port)
			require.NoError(t, err)
			_, err = io.WriteString(flood, "flood")
			require.NoError(t, err)
			deaf, err := dial(ctx, in, port)
			require.NoError(t, err)
			_, err = io.WriteString(deaf, "deaf")
			require.NoError(t, err)
			require.NoError(t, deaf.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
			for err == nil { // as much as fits
				_, err = deaf.Write(make([]byte, 256<<10))
			}
			defer func() { _, _ = flood.Close(), deaf.Close() }()
		}
		conn, err := dial(ctx, in, port)
		require.NoError(t, err)
		converse(t, conn, "still here")
		require.NoError(t, conn.Close())
		out, _, _ := finished(t, ctx, in, backends.Cmd{Args: shell("echo and here")})
		require.Equal(t, "and here\n", out)
	})
	with(t, open, "OnlyPortsOfItsOwn", func(t *testing.T, ctx context.Context, in backends.Instance) {
		outside, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { require.NoError(t, outside.Close()) }()
		port := outside.Addr().(*net.TCPAddr).Port
		_, err = in.StartCommand(ctx, backends.Cmd{Args: []string{"sleep", "600"}}) // so that something runs
		require.NoError(t, err)
		if !slices.Contains(lacks, LacksOwnNetwork) {
			_, err = dial(ctx, in, port)
			require.ErrorIs(t, err, backends.ErrNotListening)
			require.NoError(t, outside.(*net.TCPListener).SetDeadline(time.Now()))
			_, err = outside.Accept()
			require.Error(t, err, "nobody has even tried")
		}
		dialer := in.(backends.Dialer)
		for _, address := range []string{
			"example.org:80", "8.8.8.8:53", "169.254.169.254:80", "localhost:0", "localhost:99999", "localhost", "",
		} {
			_, err = dialer.DialContext(ctx, "tcp", address)
			require.Error(t, err, address)
		}
		_, err = dialer.DialContext(ctx, "unix", "/run/docker.sock")
		require.ErrorIs(t, err, backends.ErrUnsupported)
	})
	with(t, open, "PausedAndDestroyed", func(t *testing.T, ctx context.Context, in backends.Instance) {
		_, port := Serve(t, ctx, in, "127.0.0.1", 0)
		conn, err := dial(ctx, in, port)
		require.NoError(t, err)
		converse(t, conn, "before")
		pauser := in.(backends.Pauser)
		require.NoError(t, pauser.Pause(ctx))
		_, err = dial(ctx, in, port)
		require.ErrorIs(t, err, backends.ErrPaused)
		require.NoError(t, pauser.Resume(ctx))
		converse(t, conn, "after")
		require.NoError(t, in.Destroy(ctx))
		_, err = conn.Read(make([]byte, 1))
		require.Error(t, err)
		require.NoError(t, conn.Close())
		_, err = dial(ctx, in, port)
		require.ErrorIs(t, err, backends.ErrDestroyed)
	})
}
