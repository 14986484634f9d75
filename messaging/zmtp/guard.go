package zmtp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

const (
	greetingSize = 64
	// maxHandshake bounds a command of the handshake. A READY of ours has 60 bytes.
	maxHandshake = 8 << 10
)

// Flags of a frame.
const (
	flagMore    = 0x01
	flagLong    = 0x02
	flagCommand = 0x04
)

// ErrHandshake says that a peer does not greet as ZMTP 3 demands.
var ErrHandshake = errors.New("zmtp: bad handshake")

// guard is the connection that the handshake library sees. It reads the greeting and each command whole, checks them and
// only then hands them on, because the library allocates what the peer announces and trusts the
// lengths inside.
type guard struct {
	net.Conn
	r       *bufio.Reader
	checked []byte // may be handed on
	greeted bool
}

func (g *guard) Read(p []byte) (int, error) {
	if len(g.checked) == 0 {
		var err error
		if !g.greeted {
			g.checked, err = g.readGreeting()
		} else {
			g.checked, err = g.readCommand()
		}
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, g.checked)
	g.checked = g.checked[n:]
	return n, nil
}

func (g *guard) readGreeting() ([]byte, error) {
	b := make([]byte, greetingSize)
	// The signature first: a peer that speaks something else is told apart by it, and may never send 64 bytes.
	if _, err := io.ReadFull(g.r, b[:10]); err != nil {
		return nil, err
	}
	if b[0] != 0xff || b[9]&1 != 1 {
		return nil, fmt.Errorf("%w: no ZMTP signature", ErrHandshake)
	}
	if _, err := io.ReadFull(g.r, b[10:]); err != nil {
		return nil, err
	}
	if b[10] < 3 {
		return nil, fmt.Errorf("%w: version %d.%d, want 3.0 or later", ErrHandshake, b[10], b[11])
	}
	g.greeted = true
	return b, nil
}

func (g *guard) readCommand() ([]byte, error) {
	var head [9]byte
	if _, err := io.ReadFull(g.r, head[:2]); err != nil {
		return nil, err
	}
	n, size := 2, uint64(head[1])
	if head[0]&flagLong != 0 {
		if _, err := io.ReadFull(g.r, head[2:]); err != nil {
			return nil, err
		}
		n, size = 9, binary.BigEndian.Uint64(head[1:])
	}
	if head[0]&flagCommand == 0 || head[0]&flagMore != 0 {
		return nil, fmt.Errorf("%w: a message before READY", ErrHandshake)
	}
	if size > maxHandshake {
		return nil, fmt.Errorf("%w: command of %d bytes, the limit is %d", ErrHandshake, size, maxHandshake)
	}
	b := make([]byte, n+int(size))
	copy(b, head[:n])
	if _, err := io.ReadFull(g.r, b[n:]); err != nil {
		return nil, err
	}
	return b, checkCommand(b[n:])
}

// checkCommand checks the lengths inside a command: of its name and, for READY, of each property.
func checkCommand(b []byte) error {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return fmt.Errorf("%w: command without a name", ErrHandshake)
	}
	name, body := string(b[1:1+b[0]]), b[1+b[0]:]
	if name != "READY" {
		return fmt.Errorf("%w: command %q, want READY", ErrHandshake, name)
	}
	for len(body) > 0 {
		nameLen := int(body[0])
		if nameLen == 0 || len(body) < 1+nameLen+4 {
			return fmt.Errorf("%w: property without a name or value", ErrHandshake)
		}
		valueLen := binary.BigEndian.Uint32(body[1+nameLen:])
		rest := body[1+nameLen+4:]
		if uint64(valueLen) > uint64(len(rest)) {
			return fmt.Errorf("%w: property of %d bytes in %d", ErrHandshake, valueLen, len(rest))
		}
		body = rest[valueLen:]
	}
	return nil
}
