package kerneltest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// greeting is ZMTP 3.0's, NULL mechanism, as server.
func greeting() []byte {
	b := make([]byte, 64)
	b[0], b[8], b[9], b[10] = 0xff, 1, 0x7f, 3
	copy(b[12:], "NULL")
	b[32] = 1
	return b
}

// property is one of a READY command.
func property(name string, announced uint32, value string) []byte {
	b := append([]byte{byte(len(name))}, name...)
	b = binary.BigEndian.AppendUint32(b, announced)
	return append(b, value...)
}

// command is a short command frame.
func command(body string) []byte { return append([]byte{0x04, byte(len(body))}, body...) }

// longHeader begins a frame of a size that need not be true.
func longHeader(flags byte, size uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{flags | 0x02}, size)
}

// closeWith closes conn when life ends, and by the function it returns.
func closeWith(life context.Context, conn net.Conn) func() {
	stop := context.AfterFunc(life, func() { _ = conn.Close() })
	return func() {
		stop()
		_ = conn.Close()
	}
}

// says is a handshake of these bytes and then the end, or with wait silence.
func says(wait bool, parts ...[]byte) func(*Kernel, messaging.Channel, net.Conn) {
	return func(_ *Kernel, _ messaging.Channel, conn net.Conn) {
		for _, p := range parts {
			if _, err := conn.Write(p); err != nil {
				return
			}
		}
		if wait {
			_, _ = io.Copy(io.Discard, conn) // until the client goes
		}
	}
}

// trickle is one byte of b after the other, and the last one for ever.
func trickle(k *Kernel, b []byte, every time.Duration, write func([]byte) error) {
	for i := 0; ; i = min(i+1, len(b)-1) {
		if write(b[i:i+1]) != nil || pause(k.life, nil, every) != nil {
			return
		}
	}
}

func hostileGreetings() []HostileCase {
	ready := "\x05READY"
	cases := []HostileCase{
		{Name: "dies before its greeting", greet: says(false)},
		{Name: "dies in its greeting", greet: says(false, greeting()[:5])},
		{Name: "dies after its greeting", greet: says(false, greeting())},
		{Name: "dies in its ready command", greet: says(false, greeting(), command(ready)[:4])},
		{Name: "never greets", Patience: true, greet: says(true)},
		{Name: "never is ready", Patience: true, greet: says(true, greeting())},
		{Name: "speaks another protocol", greet: says(true, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))},
		{Name: "refuses in its handshake", greet: says(true, greeting(), command("\x05ERROR\x04evil"))},
		{Name: "begins with a message", greet: says(true, greeting(), []byte{0, 4}, []byte("evil"))},
		{Name: "ready command without a name", greet: says(true, greeting(), command(""))},
		{Name: "ready command of 2^47 bytes", greet: says(true, greeting(), longHeader(0x04, 1<<47), []byte(ready))},
		{Name: "ready command of 2^63 bytes", greet: says(true, greeting(), longHeader(0x04, 1<<63), []byte(ready))},
		{Name: "ready property of 2^32-1 bytes", greet: says(true, greeting(),
			command(ready+string(property("Socket-Type", 1<<32-1, "ROUTER"))))},
		{Name: "greeting without end", greet: func(_ *Kernel, _ messaging.Channel, conn net.Conn) {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 0xff
			}
			for {
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
		}},
		{Name: "greeting that trickles", Patience: true, greet: func(k *Kernel, _ messaging.Channel, conn net.Conn) {
			trickle(k, greeting(), 200*time.Millisecond, func(b []byte) error { _, err := conn.Write(b); return err })
		}},
		{Name: "dies after the handshake", info: func(c *Call) { c.Die() }},
	}
	for i := range cases {
		cases[i].Outcome = EndsBadly
	}
	return cases
}

func hostileDeaths() []HostileCase {
	hangUp := func(ch messaging.Channel) func(*Call) {
		return func(c *Call) {
			start(c)
			for _, w := range c.kernel.attached() {
				if s, ok := w.(*server); ok {
					s.hangUp(ch)
				}
			}
		}
	}
	return []HostileCase{
		{Name: "dies before busy", Outcome: EndsBadly, Connects: true, run: func(c *Call) { c.Die() }},
		{Name: "dies after busy", Outcome: EndsBadly, Connects: true, run: func(c *Call) { c.Busy(); c.Die() }},
		{Name: "dies in a message", Outcome: EndsBadly, Connects: true, run: func(c *Call) {
			start(c)
			c.Bytes(messaging.IOPub, append(longHeader(0x01, 1<<20), "evil"...))
			c.Die()
		}},
		{Name: "dies between reply and idle", Outcome: EndsEither, Connects: true, run: func(c *Call) {
			start(c)
			c.Reply(nil)
			c.Die()
		}},
		{Name: "dies between idle and reply", Outcome: EndsBadly, Connects: true, run: func(c *Call) {
			start(c)
			c.Idle()
			c.Die()
		}},
		{Name: "iopub dies alone", Outcome: EndsBadly, Connects: true, run: hangUp(messaging.IOPub)},
		{Name: "shell dies alone", Outcome: EndsBadly, Connects: true, run: hangUp(messaging.Shell)},
	}
}
