package firewall

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

// inNamespace runs the test in a network namespace of its own, with one interface that leads nowhere.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("network namespaces can't be made here (%v): run as root", err)
	}
	for _, args := range []string{
		"link set lo up", "link add out type veth peer name far", "link set out up", "link set far up",
		"addr add 198.51.100.2/24 dev out", "-6 addr add 2001:db8:5::2/64 dev out nodad", "route add default via 198.51.100.1",
		"neigh add 198.51.100.1 lladdr 02:00:00:00:00:01 dev out", "-6 route add default via 2001:db8:5::1 dev out",
	} {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip("no ip here: install iproute2")
		}
		require.NoError(t, err, "ip %s: %s", args, out)
	}
}

func rulesOf(t *testing.T, text string) netrules.Rules {
	t.Helper()
	r := netrules.Rules{Version: netrules.Version}
	require.NoError(t, json.Unmarshal([]byte(text), &r))
	return r
}

func send(network, to string) error {
	conn, err := net.Dial(network, to)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // a test's
	_, err = conn.Write([]byte("x"))
	return err
}

func TestOnlyAdmittedDestinationsLeave(t *testing.T) {
	inNamespace(t)
	f, err := Open()
	require.NoError(t, err)
	require.Error(t, send("udp", "203.0.113.5:9"), "before there are rules")
	_, err = f.Apply(rulesOf(t, `{"admitted": ["198.51.0.0-198.51.255.255", "203.0.113.0-203.0.113.9", "2001:db8::-2001:db8:ffff::"]}`))
	require.NoError(t, err)
	require.NoError(t, send("udp", "203.0.113.5:9"))
	require.Error(t, send("udp", "203.0.113.10:9"))
	require.Error(t, send("udp", "198.51.100.1:9"), "the gateway, whatever the rules say")
	require.Error(t, send("udp", "[2001:db8:5::1]:9"), "the gateway, whatever the rules say")
	require.NoError(t, send("udp", "198.51.100.2:9"), "itself")
	begun := time.Now()
	require.ErrorIs(t, send("tcp", "203.0.113.10:9"), unix.ECONNREFUSED)
	require.Less(t, time.Since(begun), time.Second, "refused at once")

	// A helper that comes after one that died leaves things as they are.
	_, err = Open()
	require.NoError(t, err)
	require.NoError(t, send("udp", "203.0.113.5:9"))
	_, err = f.Apply(netrules.Rules{Version: netrules.Version})
	require.NoError(t, err)
	require.Error(t, send("udp", "203.0.113.5:9"))
}

func TestLargestListsFit(t *testing.T) {
	inNamespace(t)
	f, err := Open()
	require.NoError(t, err)
	var ranges []netrules.Range
	for i := range netrules.MaxRanges / 2 {
		four := netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 1})
		six := netip.AddrFrom16([16]byte{0: 0x26, 2: byte(i >> 8), 3: byte(i), 15: 1})
		ranges = append(ranges, netrules.Single(four), netrules.Single(six))
	}
	begun := time.Now()
	_, err = f.Apply(netrules.Rules{Version: netrules.Version, Admitted: netrules.NewSet(ranges...)})
	require.NoError(t, err)
	t.Logf("%d ranges in %v", len(ranges), time.Since(begun))
	require.NoError(t, send("udp", "20.15.255.1:9"))
	require.Error(t, send("udp", "20.15.255.2:9"))
}

func TestNamesAdmitWhatTheyLedToUntilTheyAreNoLongerListed(t *testing.T) {
	inNamespace(t)
	f, err := Open()
	require.NoError(t, err)
	both := `{"names": {"domains": ["a.example", "*.b.example"]}, "resolvable": ["200.0.0.0-209.0.0.0", "2600::-2700::"]}`
	_, err = f.Apply(rulesOf(t, both))
	require.NoError(t, err)
	one, two, six := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("2600::1")
	require.Error(t, send("udp", "203.0.113.1:9"))
	may, err := f.Admit("a.example", []netip.Addr{one, six, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("198.51.100.1")})
	require.NoError(t, err)
	require.Equal(t, []netip.Addr{one, six}, may, "neither private addresses nor the gateway")
	require.NoError(t, send("udp", "203.0.113.1:9"))
	_, err = f.Admit("x.b.example", []netip.Addr{one, two})
	require.NoError(t, err)
	may, err = f.Admit("c.example", []netip.Addr{one})
	require.NoError(t, err)
	require.Empty(t, may)

	_, err = f.Apply(rulesOf(t, strings.Replace(both, `"a.example", `, "", 1)))
	require.NoError(t, err)
	require.NoError(t, send("udp", "203.0.113.1:9"), "b led there too")
	require.NoError(t, send("udp", "203.0.113.2:9"))
	_, err = f.Apply(rulesOf(t, strings.Replace(both, `, "*.b.example"`, "", 1)))
	require.NoError(t, err)
	require.Error(t, send("udp", "203.0.113.1:9"))
	require.Error(t, send("udp", "203.0.113.2:9"))
}

func TestLifetimesAreRenewed(t *testing.T) {
	inNamespace(t)
	f, err := Open()
	require.NoError(t, err)
	_, err = f.Apply(rulesOf(t, `{"names": {"domains": ["a.example"]}, "resolvable": ["200.0.0.0-209.0.0.0"]}`))
	require.NoError(t, err)
	at := netip.MustParseAddr("203.0.113.1")
	age := func() {
		conn, err := connect()
		require.NoError(t, err)
		old := []nftables.SetElement{{Key: at.AsSlice(), Timeout: time.Minute}}
		require.NoError(t, conn.SetDeleteElements(inKernel(false), singles([]netip.Addr{at})))
		require.NoError(t, conn.SetAddElements(inKernel(false), old))
		require.NoError(t, conn.Flush())
	}
	left := func() time.Duration {
		conn, err := connect()
		require.NoError(t, err)
		elements, err := conn.GetSetElements(inKernel(false))
		require.NoError(t, err)
		require.Len(t, elements, 1)
		return elements[0].Expires
	}
	_, err = f.Admit("a.example", []netip.Addr{at})
	require.NoError(t, err)
	require.Greater(t, left(), Lifetime/2)
	age()
	require.Less(t, left(), Lifetime/2)
	f.resolved[at].refreshed = time.Now().Add(-Lifetime)
	_, err = f.Admit("a.example", []netip.Addr{at})
	require.NoError(t, err)
	require.Greater(t, left(), Lifetime/2, "by an answer")
	age()
	require.NoError(t, send("udp", "203.0.113.1:9"))
	require.Greater(t, left(), Lifetime/2, "by a packet")
}

func TestAddressesByNameAreBounded(t *testing.T) {
	inNamespace(t)
	f, err := Open()
	require.NoError(t, err)
	_, err = f.Apply(rulesOf(t, `{"names": {"domains": ["a.example"]}, "resolvable": ["200.0.0.0-209.0.0.0"]}`))
	require.NoError(t, err)
	for i := 0; ; i++ {
		var some []netip.Addr
		for j := range 32 {
			some = append(some, netip.AddrFrom4([4]byte{201, byte(i >> 8), byte(i), byte(j)}))
		}
		if _, err = f.Admit("a.example", some); err != nil {
			require.ErrorIs(t, err, ErrFull)
			require.Equal(t, maxResolved/32, i)
			break
		}
	}
}

func TestDockersResolverIsOurs(t *testing.T) {
	inNamespace(t)
	f, err := Open()
	require.NoError(t, err)
	ours, err := net.ListenPacket("udp", "127.0.0.1:53")
	require.NoError(t, err)
	defer ours.Close() //nolint:errcheck // a test's
	theirs, err := net.ListenPacket("udp", "127.0.0.11:4053")
	require.NoError(t, err)
	defer theirs.Close() //nolint:errcheck // a test's
	_, err = f.Apply(rulesOf(t, `{}`))
	require.NoError(t, err)
	conn, err := net.Dial("udp", "127.0.0.11:53")
	require.NoError(t, err)
	defer conn.Close() //nolint:errcheck // a test's
	_, err = conn.Write([]byte("question"))
	require.NoError(t, err)
	require.NoError(t, ours.SetDeadline(time.Now().Add(2*time.Second)))
	b := make([]byte, 64)
	n, from, err := ours.ReadFrom(b)
	require.NoError(t, err)
	_, err = ours.WriteTo(b[:n], from)
	require.NoError(t, err)
	n, err = conn.Read(b)
	require.NoError(t, err)
	require.Equal(t, "question", string(b[:n]))
	require.Error(t, send("udp", "127.0.0.11:4053"), "not by its own port either")
}

func TestSourcesAreOnesOwn(t *testing.T) {
	inNamespace(t)
	f, err := Open()
	require.NoError(t, err)
	_, err = f.Apply(rulesOf(t, `{"admitted": ["2600::-2700::"], "upstreams": ["[2600::53]:53"]}`))
	require.NoError(t, err)
	listener, err := net.ListenPacket("udp6", "[::1]:0")
	require.NoError(t, err)
	defer listener.Close() //nolint:errcheck // a test's
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer unix.Close(fd) //nolint:errcheck // a test's
	require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1))
	upstream := &unix.SockaddrInet6{Port: 53, Addr: netip.MustParseAddr("2600::53").As16()}
	require.NoError(t, unix.Bind(fd, upstream))
	port := listener.LocalAddr().(*net.UDPAddr).Port
	to := &unix.SockaddrInet6{Port: port, Addr: netip.MustParseAddr("::1").As16()}
	require.Error(t, unix.Sendto(fd, []byte("forged"), 0, to), "to the resolver, in the name of its upstream")
	to.Addr = netip.MustParseAddr("2600::9").As16()
	require.Error(t, unix.Sendto(fd, []byte("forged"), 0, to), "to the world")
}

func TestNoPacketNamesFurtherStations(t *testing.T) {
	inNamespace(t)
	f, err := Open()
	require.NoError(t, err)
	_, err = f.Apply(rulesOf(t, `{"admitted": ["203.0.113.0-203.0.113.9", "2600::-2700::"]}`))
	require.NoError(t, err)
	v4, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer unix.Close(v4) //nolint:errcheck // a test's
	to := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{203, 0, 113, 5}}
	require.NoError(t, unix.Sendto(v4, []byte("x"), 0, to))
	route := []byte{131, 7, 4, 203, 0, 113, 6, 0} // loose source route
	require.NoError(t, unix.SetsockoptString(v4, unix.SOL_IP, unix.IP_OPTIONS, string(route)))
	require.Error(t, unix.Sendto(v4, []byte("x"), 0, to))
	v6, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer unix.Close(v6) //nolint:errcheck // a test's
	to6 := &unix.SockaddrInet6{Port: 9, Addr: netip.MustParseAddr("2600::9").As16()}
	require.NoError(t, unix.Sendto(v6, []byte("x"), 0, to6))
	padding := []byte{0, 0, 1, 4, 0, 0, 0, 0}
	require.NoError(t, unix.SetsockoptString(v6, unix.SOL_IPV6, unix.IPV6_DSTOPTS, string(padding)))
	require.Error(t, unix.Sendto(v6, []byte("x"), 0, to6))
}

func TestOnlyTheResolverReachesUpstreams(t *testing.T) {
	inNamespace(t)
	f, err := Open()
	require.NoError(t, err)
	_, err = f.Apply(rulesOf(t, `{"upstreams": ["10.9.9.9:53"]}`))
	require.NoError(t, err)
	require.Error(t, send("udp", "10.9.9.9:53"))
	marked := net.Dialer{Control: Mark}
	conn, err := marked.Dial("udp", "10.9.9.9:53")
	require.NoError(t, err)
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	conn, err = marked.Dial("udp", "10.9.9.9:54")
	require.NoError(t, err)
	_, err = conn.Write([]byte("x"))
	require.Error(t, err)
	require.NoError(t, conn.Close())
}

func TestRulesOfAnotherFormAreRefused(t *testing.T) {
	_, err := new(Firewall).Apply(netrules.Rules{Version: 2})
	require.ErrorContains(t, err, "form 2")
}
