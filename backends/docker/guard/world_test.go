package guard

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// The world of these tests is a network namespace behind the host, as the internet is: nothing leaves this machine.
const (
	worldPort  = "7777"
	hostAt     = "203.0.113.1" // the host's own address towards the world
	siteAt     = "203.0.113.10"
	otherAt    = "203.0.113.11"
	privateAt  = "10.77.0.10"
	metadataAt = "169.254.169.254"
	resolverAt = "10.77.0.53"
)

const worldName = "ds-sandbox-test"

// ip runs ip(8); where it can't, the test is skipped, or fails where docker is demanded.
func ip(t *testing.T, args string) {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		demand(t, "ip "+args+": "+string(out)+": the tests' internet is a network namespace; run as root on the engine's machine with iproute2")
	}
}

// world makes the namespace, echo servers at all its addresses and on the host, and an upstream resolver.
func world(t *testing.T) {
	t.Helper()
	// Its names and addresses are the machine's, where another checkout may be tested.
	lock, err := os.Create(filepath.Join(os.TempDir(), worldName+".lock"))
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	t.Cleanup(func() { lock.Close() }) //nolint:errcheck // a test's
	remove := func() {
		exec.Command("ip", "netns", "del", worldName).Run()  //nolint:errcheck // usually there is none
		exec.Command("ip", "link", "del", "dssbtest0").Run() //nolint:errcheck // usually there is none
	}
	remove()
	ip(t, "netns add "+worldName)
	t.Cleanup(remove)
	ip(t, "link add dssbtest0 type veth peer name world netns "+worldName)
	ip(t, "addr add "+hostAt+"/24 dev dssbtest0")
	ip(t, "link set dssbtest0 up")
	in := "-n " + worldName + " "
	ip(t, in+"link set lo up")
	for _, a := range []string{siteAt + "/24", otherAt + "/24", privateAt + "/32", metadataAt + "/32", resolverAt + "/32"} {
		ip(t, in+"addr add "+a+" dev world")
	}
	ip(t, in+"link set world up")
	ip(t, in+"route add default via "+hostAt)
	ip(t, "route add 10.77.0.0/24 dev dssbtest0")
	ip(t, "route add "+metadataAt+"/32 dev dssbtest0")

	inWorld(t, func() { serveEcho(t, "0.0.0.0", siteAt, otherAt, privateAt, metadataAt) })
	serveEcho(t, "::", hostAt) // the host itself, at each of its addresses
	inWorld(t, func() { serveNames(t, resolverAt+":53") })
}

// inWorld runs f on a thread in the namespace. Sockets that f opens stay in it.
func inWorld(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		fd, err := unix.Open("/run/netns/"+worldName, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd) //nolint:errcheck // a test's
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	require.NoError(t, <-done)
}

// serveEcho serves by TCP and UDP at any address, and at more of them by UDP with a socket each: answers of the former come from
// whichever address is first.
func serveEcho(t *testing.T, any string, more ...string) {
	listener, err := net.Listen("tcp", net.JoinHostPort(any, worldPort))
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { listener.Close() }) //nolint:errcheck // a test's
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()                         //nolint:errcheck // a test's
				io.Copy(conn, io.LimitReader(conn, 1<<16)) //nolint:errcheck // a test's
			}()
		}
	}()
	for _, at := range append(more, any) {
		reuse := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) //nolint:errcheck // binding tells
			})
		}}
		packets, err := reuse.ListenPacket(t.Context(), "udp", net.JoinHostPort(at, worldPort))
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { packets.Close() }) //nolint:errcheck // a test's
		go func() {
			b := make([]byte, 2048)
			for {
				n, from, err := packets.ReadFrom(b)
				if err != nil {
					return
				}
				packets.WriteTo(b[:n], from) //nolint:errcheck // a test's
			}
		}()
	}
}

// names are what the world's resolver knows.
var names = map[string]string{
	"site.example.":         siteAt,
	"a.sub.example.":        otherAt,
	"rebind.sub.example.":   privateAt,
	"meta.sub.example.":     metadataAt,
	"host.sub.example.":     hostAt,
	"db.internal.":          otherAt,
	"unlisted.example.net.": otherAt,
}

func serveNames(t *testing.T, address string) {
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { packets.Close() }) //nolint:errcheck // a test's
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			q := m.Questions[0]
			at, known := names[q.Name.String()]
			if !known {
				m.RCode = dnsmessage.RCodeNameError
			} else if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 5},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(at).As4()},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				packets.WriteTo(packed, from) //nolint:errcheck // a test's
			}
		}
	}()
}

func linkLocal(t *testing.T, name string) string {
	t.Helper()
	i, err := net.InterfaceByName(name)
	require.NoError(t, err)
	addresses, err := i.Addrs()
	require.NoError(t, err)
	for _, a := range addresses {
		if at := a.(*net.IPNet).IP; at.To4() == nil && at.IsLinkLocalUnicast() {
			return at.String()
		}
	}
	t.Fatal("the bridge has no link-local address")
	return ""
}
