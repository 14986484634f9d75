package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// Options of Open. Nil and zero fields are the defaults.
type Options struct {
	Logger *slog.Logger // nil discards
	// Trace sees each message sent ("->") and received ("<-") on kernels' channels. It must not block.
	Trace func(direction string, m *messaging.Message)
	// MaxFrame is the largest message accepted from a kernel whose KernelConfig says nothing, bytes; 256 MiB.
	MaxFrame int64
	// Heartbeat is how often the agent is told that we live; 5 s. One that does not answer a call within Patience is
	// dialled again.
	Heartbeat time.Duration
	// Patience is how long calls wait for a broken connection to be made again; 15 s.
	Patience time.Duration
	// Dropped hears of messages of a kernel that the agent left out because nobody fetched them. It must not block.
	Dropped func(kernel string, messages, bytes int64)
	Build   string // version of this program, for messages
}

const (
	defaultHeartbeat = 5 * time.Second
	defaultPatience  = 15 * time.Second
)

// Client is a host's hold on one agent. The caller ends it with Close.
type Client struct {
	opts Options
	dial func(ctx context.Context) (net.Conn, error)

	host    agentpb.HostClient
	kernel  agentpb.KernelClient
	process map[string]agentpb.ProcessClient // by user; "" says nothing of one
	files   map[string]agentpb.FilesystemClient

	life context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex // guards what follows
	session  *session   // nil while there is none
	attempt  *attempt   // to make one; nil when none is under way
	boot     string     // of the agent that we know
	fatal    error      // nothing will do any more
	frozen   bool
	instance *Instance // once configured
}

// Open dials the agent and checks that it speaks our protocol. Errors: *VersionError, those of dial.
func Open(ctx context.Context, dial func(ctx context.Context) (net.Conn, error), opts *Options) (*Client, error) {
	c := &Client{dial: dial}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Logger == nil {
		c.opts.Logger = slog.New(slog.DiscardHandler)
	}
	c.opts.MaxFrame = cmp.Or(c.opts.MaxFrame, int64(zmtp.DefaultMaxFrame))
	c.opts.Heartbeat = cmp.Or(c.opts.Heartbeat, defaultHeartbeat)
	c.opts.Patience = cmp.Or(c.opts.Patience, defaultPatience)
	c.life, c.stop = context.WithCancel(context.Background())
	c.host = agentpb.NewHostClient(c, address, clientOptions...)
	c.kernel = agentpb.NewKernelClient(c, address, clientOptions...)
	c.process, c.files = make(map[string]agentpb.ProcessClient), make(map[string]agentpb.FilesystemClient)
	for _, user := range []string{"", backends.OrdinaryUser, backends.RootUser} {
		c.process[user] = agentpb.NewProcessClient(c, addressOf(user), clientOptions...)
		c.files[user] = agentpb.NewFilesystemClient(c, addressOf(user), clientOptions...)
	}
	s, err := c.connect(ctx)
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("remote: open agent: %w", err)
	}
	c.session = s
	c.work.Go(c.beat)
	return c, nil
}

// address is what requests name; there is one agent at the other end, whatever they say.
const address = "http://agent"

// addressOf is where requests go that a user does.
func addressOf(user string) string {
	if user == "" {
		return address
	}
	return address + agentpb.AsPath + user
}

var clientOptions = []connect.ClientOption{
	connect.WithReadMaxBytes(agentpb.MaxMessage), connect.WithAcceptCompression("gzip", nil, nil),
}

type sessionKey struct{}

// Do sends a request on the session that its context names. It makes the client an HTTP client for Connect.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	s, ok := r.Context().Value(sessionKey{}).(*session)
	if !ok {
		return nil, errors.New("no session")
	}
	return s.Do(r)
}

// current waits for a session.
func (c *Client) current(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		if c.fatal != nil {
			defer c.mu.Unlock()
			return nil, c.fatal
		}
		if c.session != nil && !c.session.over() {
			defer c.mu.Unlock()
			return c.session, nil
		}
		a := c.attempt
		if a == nil {
			a = &attempt{done: make(chan struct{})}
			c.attempt = a
			c.work.Go(func() { c.redial(a) })
		}
		c.mu.Unlock()
		select {
		case <-a.done:
			if a.err != nil {
				return nil, a.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// attempt is a redial under way.
type attempt struct {
	done chan struct{} // closed when err is set
	err  error
}

// How long is waited between two dials.
const (
	firstBackoff = 10 * time.Millisecond
	lastBackoff  = time.Second
)

// redial makes a new session, or gives up after Patience.
func (c *Client) redial(a *attempt) {
	defer close(a.done)
	ctx, cancel := context.WithTimeout(c.life, c.opts.Patience)
	defer cancel()
	var err error
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		var s *session
		if s, err = c.connect(ctx); err == nil {
			c.mu.Lock()
			if c.fatal == nil {
				c.session, c.attempt = s, nil
				c.mu.Unlock()
				return
			}
			err = c.fatal
			c.mu.Unlock()
			s.end(err)
		}
		if fatal := new(VersionError); errors.As(err, &fatal) || errors.Is(err, errOther) {
			break
		}
		select {
		case <-time.After(backoff):
			continue
		case <-ctx.Done():
		}
		break
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempt = nil
	a.err = fmt.Errorf("%w: %w", ErrLost, err)
	if fatal := new(VersionError); errors.As(err, &fatal) || errors.Is(err, errOther) {
		c.fatal = a.err
	}
	if c.fatal != nil {
		a.err = c.fatal
	}
	c.opts.Logger.Warn("agent is lost", "error", err)
}

// errOther says that an agent was reached that is not the one we knew: it was started again, and all that ran is gone.
var errOther = errors.New("the agent was started again, and what ran in the sandbox is gone")

// helloPatience bounds dialling and greeting.
const helloPatience = 10 * time.Second

// connect dials and greets.
func (c *Client) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, helloPatience, fmt.Errorf("%w: no greeting within %v", ErrNoAnswer, helloPatience))
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	s, err := newSession(ctx, conn)
	if err != nil {
		return nil, err
	}
	if err := c.hello(ctx, s); err != nil {
		s.end(err)
		return nil, err
	}
	return s, nil
}

func (c *Client) hello(ctx context.Context, s *session) error {
	host := agentpb.NewHostClient(s, address, clientOptions...)
	hello, err := host.Hello(ctx, connect.NewRequest(&agentpb.HelloRequest{Protocol: agentpb.Protocol, Build: c.opts.Build}))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("greet: %w", plainError(err))
	case hello.Msg.Protocol != agentpb.Protocol:
		return &VersionError{
			Host: agentpb.Protocol, Agent: int(hello.Msg.Protocol), HostBuild: c.opts.Build, AgentBuild: short(hello.Msg.Build),
		}
	case len(hello.Msg.Boot) == 0 || len(hello.Msg.Boot) > 64:
		return fmt.Errorf("%w: greeting without a name", ErrProtocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.boot != "" && c.boot != hello.Msg.Boot {
		return errOther
	}
	c.boot = hello.Msg.Boot
	return nil
}

// beat keeps the agent alive, finds out that it is gone, and tries to get it back before somebody needs it.
func (c *Client) beat() {
	ticker := time.NewTicker(c.opts.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case <-ticker.C:
		}
		if c.isFrozen() {
			continue
		}
		s, err := c.current(c.life)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithValue(c.life, sessionKey{}, s), c.opts.Patience)
		_, err = c.host.Heartbeat(ctx, connect.NewRequest(&agentpb.HeartbeatRequest{}))
		cancel()
		if err != nil && !c.isFrozen() && c.life.Err() == nil {
			c.opts.Logger.Warn("agent does not answer, dialling again", "error", err)
			s.end(fmt.Errorf("no heartbeat: %w", short2(err)))
		}
	}
}

// Freeze says that the agent is stopped together with its sandbox, by a container's freezer: until Thaw it is not expected to
// answer, and calls fail with backends.ErrPaused at once.
func (c *Client) Freeze() { c.setFrozen(true) }

// Thaw says that the agent goes on.
func (c *Client) Thaw() { c.setFrozen(false) }

func (c *Client) setFrozen(frozen bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = frozen
}

func (c *Client) isFrozen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frozen
}

// Close closes the connection, and that only: what runs in the sandbox runs on, until the agent misses its host. Calls under way fail with
// ErrClosed. It is idempotent.
func (c *Client) Close() error {
	c.mu.Lock()
	s := c.session
	c.session = nil
	if c.fatal == nil {
		c.fatal = ErrClosed
	}
	c.mu.Unlock()
	c.stop()
	if s != nil {
		s.end(ErrClosed)
	}
	c.work.Wait()
	return nil
}
