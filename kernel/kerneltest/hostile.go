package kerneltest

import (
	"net"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Outcome is how a run on a hostile kernel must end.
type Outcome int

// The outcomes. Whichever it is, it must come in time, in bounded memory, and leave no goroutine behind.
const (
	EndsWell   Outcome = iota // with HostileOutput and an ok reply
	EndsBadly                 // in an error, or with an error reply
	EndsEither                // well or badly
)

// HostileOutput is what a run on a hostile kernel prints on stdout if it is understood rightly. Text that says "evil"
// must never be taken for the run's.
const HostileOutput = "ok\n"

// HostileCase is a kernel that means harm. It does it again in each run that it lives to see.
type HostileCase struct {
	Name    string
	Outcome Outcome // of a run, connecting included
	// Connects says that it can be connected to and answers kernel_info: its harm comes with a run, whatever the code.
	Connects bool
	// Patience says that a run on it ends only by the client's own timeouts: of the handshake, of the run's context
	// and an interrupt that has no effect, or of silence after the reply. It is good for one run only.
	Patience bool

	run   func(*Call)                                // answers executions
	greet func(*Kernel, messaging.Channel, net.Conn) // instead of a handshake; closes nothing
	info  func(*Call)                                // answers kernel_info
}

// Start starts the kernel on sockets of network "unix" or "tcp". The caller closes it.
func (h HostileCase) Start(network string) (*Kernel, *messaging.ConnectionInfo, error) {
	opts := new(Options)
	if h.greet != nil {
		opts.wrap = func(k *Kernel, ch messaging.Channel, conn net.Conn) net.Conn { return h.meet(k, ch, conn) }
	}
	k := New(opts)
	if h.run != nil {
		k.HandleRaw("execute_request", h.run)
	}
	if h.info != nil {
		k.HandleRaw("kernel_info_request", h.info)
	}
	info, err := Listen(k, network)
	if err != nil {
		k.Close()
		return nil, nil, err
	}
	return k, info, nil
}

// meet gives a connection to greet and an ended one to the kernel.
func (h HostileCase) meet(k *Kernel, ch messaging.Channel, conn net.Conn) net.Conn {
	gone, other := net.Pipe()
	_ = other.Close()
	_ = gone.Close()
	if !k.spawn(func() {
		defer closeWith(k.life, conn)()
		h.greet(k, ch, conn)
	}) {
		_ = conn.Close()
	}
	return gone
}

// Hostile returns the kernels that a client must survive.
func Hostile() []HostileCase {
	var all []HostileCase
	all = append(all, hostileGreetings()...)
	all = append(all, hostileDeaths()...)
	all = append(all, hostileFrames()...)
	all = append(all, hostileMessages()...)
	return append(all, hostileFloods()...)
}

// start is the beginning of a run as it should be.
func start(c *Call) {
	c.Busy()
	c.ExecuteInput()
	c.Stream(messaging.Stdout, HostileOutput)
}

// finish is its end.
func finish(c *Call) {
	c.Reply(nil)
	c.Idle()
}

// amid is a run that is right but for what f does before its end.
func amid(f func(*Call)) func(*Call) {
	return func(c *Call) {
		start(c)
		f(c)
		finish(c)
	}
}
