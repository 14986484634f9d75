package agent

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// listeners names the sockets that a connection to an address may come to, if all of them are held by processes of the instance.
// Error: ErrNotListening.
func (in *Instance) listeners(k *keeper, to netip.AddrPort) (string, error) {
	found, err := listening(to)
	if err != nil {
		return "", fmt.Errorf("agent: look for port %d: %w", to.Port(), err)
	}
	if len(found) == 0 {
		return "", backends.ErrNotListening
	}
	c := in.limiter.census(k)
	if !c.hold(found) {
		return "", backends.ErrNotListening
	}
	slices.Sort(found)
	return strings.Join(found, " "), nil
}

// listening lists the sockets, as links of /proc name them, that a connection to a loopback address may come to. Those that
// listen on this very address come before those that listen on all. Whether one on all of IPv6's takes IPv4's too can't be seen, so it is
// taken to.
func listening(to netip.AddrPort) ([]string, error) {
	var exact, onAll []string
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		err := eachListener(table, func(at netip.AddrPort, inode string) {
			ip := at.Addr().Unmap()
			switch {
			case at.Port() != to.Port():
			case ip == to.Addr():
				exact = append(exact, "socket:["+inode+"]")
			case ip.IsUnspecified() && (ip.Is6() || to.Addr().Is4()):
				onAll = append(onAll, "socket:["+inode+"]")
			}
		})
		if err != nil && !os.IsNotExist(err) { // there is no IPv6
			return nil, err
		}
	}
	if len(exact) > 0 {
		return exact, nil
	}
	return onAll, nil
}

// stateListen is how the tables of sockets name the state.
const stateListen = "0A"

// eachListener reads one of the system's tables of sockets.
func eachListener(table string, each func(at netip.AddrPort, inode string)) error {
	file, err := os.Open(table)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != stateListen {
			continue
		}
		if at, ok := tableAddress(fields[1]); ok {
			each(at, fields[9])
		}
	}
	return lines.Err()
}

// tableAddress reads an address of such a table: words of four bytes in the machine's order, and the port.
func tableAddress(text string) (netip.AddrPort, bool) {
	address, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	ip, ok := netip.AddrFromSlice(raw)
	number, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(ip, uint16(number)), ok && err == nil
}

// maxHandles bounds how many open files of an instance's processes are looked at for a socket.
const maxHandles = 1 << 16

// hold reports whether each of the sockets is held by a member.
func (c *census) hold(sockets []string) bool {
	missing, looked := slices.Clone(sockets), 0
	buf, link := make([]byte, 8<<10), make([]byte, 64)
	for _, pid := range c.members {
		eachHandle(pid, buf, func(fd int, name string) bool {
			looked++
			if n, err := unix.Readlinkat(fd, name, link); err == nil {
				missing = slices.DeleteFunc(missing, func(socket string) bool { return socket == string(link[:n]) })
			}
			return looked < maxHandles && len(missing) > 0
		})
	}
	return len(missing) == 0
}

// eachHandle visits the open files of a process, as links in a folder, until visit returns false.
func eachHandle(pid int, buf []byte, visit func(dir int, name string) bool) {
	dir, err := unix.Open(procFile(pid, "fd"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(dir) }()
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil || n <= 0 {
			return
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if !visit(dir, name) {
				return
			}
		}
	}
}
