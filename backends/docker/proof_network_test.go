package docker_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// TestProofNetwork: whatever the mode, the machine's services, other sandboxes, private ranges and the metadata address are out of reach.
// What is reached, and names, are package guard's tests.
func TestProofNetwork(t *testing.T) {
	ctx := testContext(t)
	b := open(t, nil)
	bridge := backends.Network{Mode: backends.NetworkBridge}
	other, err := b.Create(ctx, backends.Spec{ID: "other", Container: backends.Container{Network: bridge}})
	require.NoError(t, err)
	_, err = other.StartCommand(ctx, backends.Cmd{Args: []string{"python3", "-m", "http.server", "8000"}})
	require.NoError(t, err)
	neighbour := strings.TrimSpace(sh(t, other, "hostname -I"))
	listener, err := net.Listen("tcp", ":0") // on every address of this machine
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	reached := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reached <- conn.RemoteAddr().String()
			_ = conn.Close()
		}
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	targets := []string{fmt.Sprintf("%s:8000", neighbour), "169.254.169.254:80", "10.0.0.1:80", "192.168.1.1:80", "172.16.0.1:80", "100.64.0.1:80"}
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		if ip := a.(*net.IPNet).IP; ip.To4() != nil && !ip.IsLoopback() {
			targets = append(targets, fmt.Sprintf("%s:%d", ip, port))
		}
	}
	for name, n := range map[string]backends.Network{
		"none": {}, "bridge": bridge, "allow": {Mode: backends.NetworkAllow, Allow: []string{"203.0.113.7", "example.com"}},
	} {
		for _, profile := range []backends.Profile{backends.ProfileHardened, backends.ProfileCompatible} {
			t.Run(name+" "+string(profile), func(t *testing.T) {
				in, err := b.Create(ctx, backends.Spec{ID: name + string(profile), Container: backends.Container{Network: n, Profile: profile}})
				require.NoError(t, err)
				as := ""
				if profile == backends.ProfileCompatible {
					as = "sudo -n "
					sh(t, in, "sudo sh -c 'nft flush ruleset; iptables -F; ip route add 10.0.0.0/8 dev eth0; ip link set eth0 promisc on' 2>/dev/null")
				}
				out := sh(t, in, as+`python3 -c '
import socket, sys, threading
def reach(target):
    host, port = target.rsplit(":", 1)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            s = socket.socket(socket.AF_INET, kind); s.settimeout(3); s.connect((host, int(port)))
            if kind == socket.SOCK_DGRAM: s.send(b"x"); s.recv(10)
            print(target, kind)
        except OSError: pass
all = [threading.Thread(target=reach, args=(t,)) for t in sys.argv[1:]]
[t.start() for t in all]; [t.join() for t in all]
' `+strings.Join(targets, " "))
				require.Empty(t, out)
				require.NoError(t, in.Destroy(ctx))
			})
		}
	}
	require.Empty(t, reached)
}
