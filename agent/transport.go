package agent

import (
	"errors"
	"net"
	"path/filepath"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Kernels listen on unix sockets where they can: these have no ports to race for, and their folder is the user's alone. Some
// can't: Deno's knows TCP alone, and IRkernel names its sockets as nobody else does. These get ports of the loopback.

// needsTCP reports whether a kernel can't be reached over unix sockets.
func needsTCP(spec *messaging.KernelSpec) bool {
	return filepath.Base(spec.Argv[0]) == "deno" || strings.EqualFold(spec.Language, "r")
}

// loopback is where kernels listen that can't on unix sockets.
const loopback = "127.0.0.1"

// freePorts are ports of the loopback that nobody has at this moment. Somebody may take one before the kernel does, which then fails to
// start; nobody else can speak for it, for messages are signed.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, listenErr := net.Listen("tcp4", net.JoinHostPort(loopback, "0"))
		if listenErr != nil {
			return nil, errors.Join(err, listenErr)
		}
		defer func() { err = errors.Join(err, l.Close()) }() // only when all are known, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
