package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Options of New. Nil and zero fields are the defaults.
type Options struct {
	Key      string // of the signatures; a fresh one
	Unsigned bool   // an empty key, which signs and verifies nothing
	Welcome  bool   // answer subscriptions with iopub_welcome (JEP 65), as ipykernel 7 does
	// HighWater is how many iopub messages may wait for a slow client before further ones are dropped, as PUB sockets do.
	// 0 drops none: past 64 MiB the script waits instead.
	HighWater int
	// OnError hears of messages that either side had to skip because they can't be read. It must not block.
	OnError func(error)

	wrap func(*Kernel, messaging.Channel, net.Conn) net.Conn // of a connection before its handshake
}

// What scripts learn from waiting.
var (
	ErrInterrupted = errors.New("kerneltest: interrupted")
	ErrEnded       = errors.New("kerneltest: kernel has ended")
	ErrNoStdin     = errors.New("kerneltest: the request does not allow stdin")
)

// script is what answers a request; raw ones send busy, reply and idle themselves.
type script struct {
	run func(*Call)
	raw bool
}

// request is a message on its way to the goroutine that answers it.
type request struct {
	message *messaging.Message
	from    peer
}

// wire is one way in which clients reach the kernel. Its methods neither fail nor, but for publish, wait.
type wire interface {
	publish(i item, limit int64) // to all who subscribed
	end(err error)               // the kernel is gone: what was sent before still arrives
	cut(err error)               // nothing arrives any more
}

// peer is one client, to whom replies go.
type peer interface {
	send(i item, limit int64)
}

// Kernel is a fake kernel. The caller ends it with Close.
type Kernel struct {
	opts    Options
	key     string
	signer  *messaging.Signer
	session *messaging.Session

	shell, control chan request
	quit           chan struct{} // closed by shutdown: the shell's goroutine ends the kernel when it is free

	life context.Context // ends with Die
	die  context.CancelFunc
	hard context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex // guards what follows
	dead     bool
	quitting bool
	wires    map[wire]struct{}
	cleanups []func()
	codes    map[string]script
	kinds    map[string]script
	delays   map[messaging.Channel]time.Duration
	running  *Call       // the execution that an interrupt hits
	asking   chan string // takes the answer to an input request
	aborting int         // of the queued shell messages, how many came before an error
	counter  int         // IPython's execution_count
	history  []messaging.HistoryEntry
	comms    map[string]messaging.CommInfo
	journal  journal
}

// queued bounds the requests that wait for each of the kernel's goroutines.
const queued = 1024

// New starts a fake kernel. In a bubble of testing/synctest it must be made inside. A nil opts is the default.
func New(opts *Options) *Kernel {
	k := &Kernel{
		session: messaging.NewSession("kernel"),
		shell:   make(chan request, queued), control: make(chan request, queued), quit: make(chan struct{}),
		wires: make(map[wire]struct{}), delays: make(map[messaging.Channel]time.Duration),
		codes: make(map[string]script), kinds: make(map[string]script),
		comms: make(map[string]messaging.CommInfo), counter: 1,
	}
	if opts != nil {
		k.opts = *opts
	}
	if k.opts.OnError == nil {
		k.opts.OnError = func(error) {}
	}
	k.key = k.opts.Key
	if k.key == "" {
		k.key = uuid.NewString()
	}
	if k.opts.Unsigned {
		k.key = ""
	}
	k.signer = k.newSigner()
	k.life, k.die = context.WithCancel(context.Background())
	k.hard, k.stop = context.WithCancel(context.Background())
	k.work.Go(func() { k.loop(k.shell, k.quit) })
	k.work.Go(func() { k.loop(k.control, nil) })
	return k
}

func (k *Kernel) newSigner() *messaging.Signer {
	s, err := messaging.NewSigner("hmac-sha256", []byte(k.key))
	if err != nil {
		panic(err) // only an unknown scheme is an error
	}
	return s
}

// On lets f answer executions of exactly this code. Busy and execute_input are sent before f, reply and idle after it
// unless f has. f runs on the goroutine of the shell channel; when it waits, it must heed Call.Done or Call.Interrupted,
// or Close waits for it.
func (k *Kernel) On(code string, f func(*Call)) { k.register(k.codes, code, script{run: f}) }

// OnRaw is On for an f that sends everything itself: busy, execute_input, reply, idle.
func (k *Kernel) OnRaw(code string, f func(*Call)) {
	k.register(k.codes, code, script{run: f, raw: true})
}

// Handle lets f answer all requests of a message type, such as "kernel_info_request" or, for code without a script of its
// own, "execute_request". Busy is sent before f and idle after it unless f has; except for executions, only f sends a reply.
// A shutdown_request that f answers ends the kernel only if f does.
func (k *Kernel) Handle(msgType string, f func(*Call)) {
	k.register(k.kinds, msgType, script{run: f})
}

// HandleRaw is Handle for an f that sends everything itself.
func (k *Kernel) HandleRaw(msgType string, f func(*Call)) {
	k.register(k.kinds, msgType, script{run: f, raw: true})
}

func (k *Kernel) register(where map[string]script, name string, s script) {
	k.mu.Lock()
	defer k.mu.Unlock()
	where[name] = s
}

// Unasked returns a Call that answers nobody, for what a kernel says on iopub by itself. Its messages have no parent
// unless Under gives them one.
func (k *Kernel) Unasked() *Call {
	return &Call{kernel: k, session: k.session.ID, sent: new(sent), interrupts: make(chan struct{}, 1)}
}

// Interrupt is SIGINT: it reaches the execution under way and is ignored when there is none.
func (k *Kernel) Interrupt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running == nil || k.dead {
		return
	}
	select {
	case k.running.interrupts <- struct{}{}:
	default:
	}
}

// Delay makes what is sent on a channel from now on arrive d later. The channel keeps its order.
func (k *Kernel) Delay(ch messaging.Channel, d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.delays[ch] = d
}

// Break breaks every connection; what was under way is lost. A pipe's Send and Recv return err from then on, sockets are
// closed. The kernel lives on and may be connected to anew.
func (k *Kernel) Break(err error) {
	for _, w := range k.attached() {
		w.cut(err)
	}
}

// Die ends the kernel as a kill does: nothing more is sent, and clients see the end of the connection after what was
// sent before. It does not wait for scripts.
func (k *Kernel) Die() {
	k.mu.Lock()
	first := !k.dead
	k.dead = true
	if first && k.running != nil {
		close(k.running.interrupts)
	}
	k.mu.Unlock()
	if !first {
		return
	}
	k.die()
	for _, w := range k.attached() {
		w.end(errGone)
	}
}

// errGone is what a client reads after the kernel's death.
var errGone = fmt.Errorf("kerneltest: connection closed by the kernel: %w", io.EOF)

// Done is closed when the kernel has died, been shut down or closed.
func (k *Kernel) Done() <-chan struct{} { return k.life.Done() }

// Close ends the kernel and its connections and waits for its goroutines, scripts included, so a script must not call it.
// What clients have not read yet may be lost. It is idempotent.
func (k *Kernel) Close() {
	k.Die()
	k.stop()
	k.work.Wait()
	k.mu.Lock()
	cleanups := k.cleanups
	k.cleanups = nil
	k.mu.Unlock()
	for _, f := range cleanups {
		f()
	}
}

// spawn runs f on a goroutine that Close waits for; it reports false when the kernel has ended.
func (k *Kernel) spawn(f func()) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return false
	}
	k.work.Go(f)
	return true
}

// attach adds a way in; it reports false when the kernel has ended.
func (k *Kernel) attach(w wire) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return false
	}
	k.wires[w] = struct{}{}
	return true
}

func (k *Kernel) detach(w wire) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.wires, w)
}

func (k *Kernel) attached() []wire {
	k.mu.Lock()
	defer k.mu.Unlock()
	wires := make([]wire, 0, len(k.wires))
	for w := range k.wires {
		wires = append(wires, w)
	}
	return wires
}

// put sends an item: on iopub to all, on other channels to one client, if there is one.
func (k *Kernel) put(i item, to peer, limit int64) {
	k.mu.Lock()
	delay := k.delays[i.channel]
	dead := k.dead
	k.mu.Unlock()
	if dead {
		return
	}
	if delay > 0 {
		i.due = time.Now().Add(delay)
	}
	if i.channel != messaging.IOPub {
		if to != nil {
			to.send(i, limit)
		}
		return
	}
	for _, w := range k.attached() {
		w.publish(i, limit)
	}
}
