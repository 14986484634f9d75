package agent

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// listenInside starts a program in the instance that listens on an address until its input ends, and returns the port.
func listenInside(t *testing.T, in *Instance, host string, port int) (backends.Command, int) {
	t.Helper()
	c, err := in.StartCommand(t.Context(), backends.Cmd{Stdin: true, Args: []string{in.agent.config.Python.Executable, "-c", `
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, reuse_port=True)
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
`, host, fmt.Sprint(port)}})
	require.NoError(t, err)
	line, err := bufio.NewReader(c.Stdout()).ReadString('\n')
	require.NoError(t, err)
	_, err = fmt.Sscan(line, &port)
	require.NoError(t, err)
	return c, port
}

// listenOutside listens on a port of this machine, beside who else has allowed it.
func listenOutside(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}}
	l, err := config.Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func dialPort(in *Instance, port int) (net.Conn, error) {
	return in.DialContext(context.Background(), "tcp", fmt.Sprint(":", port))
}

// TestPortsOfTheMachineAreNeverReached has this machine take a port over from the code, share one with it, and stand before it.
func TestPortsOfTheMachineAreNeverReached(t *testing.T) {
	in := openPlace(t, newAgent(t))
	_, err := dialPort(in, 22)
	require.ErrorIs(t, err, backends.ErrNotListening, "before anything runs")

	inside, port := listenInside(t, in, "127.0.0.1", 0)
	conn, err := dialPort(in, port)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	at := netip.AddrPortFrom(backends.Loopback[0], uint16(port))
	k, err := in.knownKeeper()
	require.NoError(t, err)
	before, err := in.listeners(k, at)
	require.NoError(t, err)

	shared := listenOutside(t, at.String())
	_, err = in.listeners(k, at)
	require.ErrorIs(t, err, backends.ErrNotListening, "half of the connections would be ours")
	require.NoError(t, inside.CloseStdin())
	_, err = inside.Wait(t.Context())
	require.NoError(t, err)
	_, err = dialPort(in, port)
	require.ErrorIs(t, err, backends.ErrNotListening, "the port has changed hands")
	require.NoError(t, shared.SetDeadline(time.Now()))
	_, err = shared.Accept()
	require.Error(t, err, "nobody has even tried")
	require.NoError(t, shared.Close())

	again, _ := listenInside(t, in, "127.0.0.1", port)
	after, err := in.listeners(k, at)
	require.NoError(t, err)
	require.NotEqual(t, before, after, "another socket on the same port is not the same")
	require.NoError(t, again.Signal(t.Context(), backends.Kill))

	_, wild := listenInside(t, in, "0.0.0.0", 0)
	conn, err = dialPort(in, wild)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	listenOutside(t, fmt.Sprint("127.0.0.1:", wild))
	_, err = dialPort(in, wild)
	require.ErrorIs(t, err, backends.ErrNotListening, "the system prefers who listens on the very address")
}

func TestPortsOfIPv6(t *testing.T) {
	probe, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	require.NoError(t, probe.Close())
	in := openPlace(t, newAgent(t))
	for _, host := range []string{"::1", "::"} {
		_, port := listenInside(t, in, host, 0)
		conn, err := dialPort(in, port)
		require.NoError(t, err, host)
		require.NoError(t, conn.Close())
	}
	outside := listenOutside(t, "[::1]:0")
	_, err = dialPort(in, outside.Addr().(*net.TCPAddr).Port)
	require.ErrorIs(t, err, backends.ErrNotListening)
}

func TestTableOfSockets(t *testing.T) {
	one, ok := tableAddress("0100007F:1F90")
	require.True(t, ok)
	require.Equal(t, "127.0.0.1:8080", one.String())
	six, ok := tableAddress("00000000000000000000000001000000:0016")
	require.True(t, ok)
	require.Equal(t, "[::1]:22", six.String())
	for _, bad := range []string{"", ":", "0100007F", "0100007F:", "zz00007F:0016", "010000:0016", "0100007F:10000", strings.Repeat("00", 20) + ":1"} {
		_, ok := tableAddress(bad)
		require.False(t, ok, bad)
	}
}
