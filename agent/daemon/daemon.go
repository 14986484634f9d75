package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/net/http2"
	"golang.org/x/sync/semaphore"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Options of a Daemon. Zero fields are the defaults.
type Options struct {
	Workspace string   // /home/user
	Private   string   // of environments, caches and temporary files; /var/lib/ds-sandbox
	Runtime   string   // of kernels' sockets, a short path; /run/ds-sandbox
	Socket    string   // in a folder of its own; /run/ds-sandbox-agent/sock
	UID, GID  int      // of the code, when started as root; 1000
	Pythons   []string // candidates; DS_SANDBOX_PYTHON, /opt/ds-sandbox/python/bin/python, python3 on PATH
	// Launcher is put before commands that are to run as the code's user.
	Launcher []string
	Measured []string      // folders besides the workspace that the code can fill; those of a Debian system, when started as root
	Silence  time.Duration // without a host until the agent ends; 60 s
	Budget   int64         // bytes kept for the host, of each kernel; 64 MiB
	Build    string        // version of the program
	Logger   *slog.Logger

	accounts bool     // we are root by our real id, and may act as the code's user and as what root may be here
	rootable []string // put before commands that are to run as root; nil where code may not become root
}

// The defaults of Options.
const (
	DefaultWorkspace = "/home/user"
	DefaultPrivate   = "/var/lib/ds-sandbox"
	DefaultRuntime   = "/run/ds-sandbox"
	DefaultSocket    = "/run/ds-sandbox-agent/sock"
	defaultUID       = 1000
	defaultSilence   = 60 * time.Second
	defaultBudget    = 64 << 20
)

func (o *Options) complete() {
	o.Workspace = cmp.Or(o.Workspace, DefaultWorkspace)
	o.Private = cmp.Or(o.Private, DefaultPrivate)
	o.Runtime = cmp.Or(o.Runtime, DefaultRuntime)
	o.Socket = cmp.Or(o.Socket, DefaultSocket)
	o.UID, o.GID = cmp.Or(o.UID, defaultUID), cmp.Or(o.GID, defaultUID)
	o.Silence = cmp.Or(o.Silence, defaultSilence)
	o.Budget = cmp.Or(o.Budget, int64(defaultBudget))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// cgroupRoot is where the system shows a container its control groups.
const cgroupRoot = "/sys/fs/cgroup"

// Daemon serves one sandbox. The caller ends it with Close.
type Daemon struct {
	opts    Options
	boot    string // of this start
	http2   *http2.Server
	base    *http.Server
	silence *silence
	calls   *calls
	state   state
	found   chan struct{} // closed when python or noPython is set
	python  *agent.Python
	lacking error
	dialled *semaphore.Weighted

	life context.Context // of everything that runs
	stop context.CancelFunc
	work sync.WaitGroup

	configuring sync.Mutex // held while the sandbox is made

	mu       sync.Mutex // guards what follows
	sandbox  *sandbox   // nil until Configure
	conns    map[net.Conn]bool
	closed   bool
	closeErr error
}

// New starts looking for a Python. Nothing else runs before a host asks for it.
func New(opts Options) *Daemon {
	opts.complete()
	d := &Daemon{
		opts: opts, boot: rand.Text(), calls: newCalls(), found: make(chan struct{}), conns: make(map[net.Conn]bool),
		silence: newSilence(opts.Silence), dialled: semaphore.NewWeighted(maxDialled),
	}
	d.life, d.stop = context.WithCancel(context.Background())
	d.http2 = newHTTP2()
	d.base = &http.Server{
		Handler: d.handler(), MaxHeaderBytes: agentpb.MaxHeaders, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
	}
	d.work.Go(func() {
		defer close(d.found)
		d.python, d.lacking = findPython(d.life, opts)
	})
	return d
}

// newHTTP2 bounds what is kept of what hosts send. A program that does not read what is sent to it makes a stream stand still and its
// window full; there are fewer such streams at a time than windows in that of the connection, so the others go on.
func newHTTP2() *http2.Server {
	return &http2.Server{
		MaxConcurrentStreams: maxStreams, MaxReadFrameSize: 1 << 20,
		MaxUploadBufferPerStream: streamWindow, MaxUploadBufferPerConnection: (maxDialled + 16) * streamWindow,
	}
}

// streamWindow is how much of a stream may be on its way, bytes.
const streamWindow = 1 << 20

// What peers may have at once.
const (
	maxStreams = 4096 // on a connection; a command under way has three
	maxConns   = 16
)

// handler serves everything.
func (d *Daemon) handler() http.Handler {
	mux := http.NewServeMux()
	options := []connect.HandlerOption{
		connect.WithReadMaxBytes(agentpb.MaxMessage), connect.WithCompression("gzip", nil, nil),
		connect.WithInterceptors(&interceptor{d}),
	}
	mux.Handle(agentpb.NewHostHandler(&hostService{d: d}, options...))
	mux.Handle(agentpb.NewKernelHandler(&kernelService{d: d}, options...))
	mux.Handle(agentpb.NewProcessHandler(&processService{d: d}, options...))
	mux.Handle(agentpb.NewFilesystemHandler(&filesService{d: d}, options...))
	mux.HandleFunc("GET "+agentpb.ContentPath, d.plain(d.readContent))
	mux.HandleFunc("PUT "+agentpb.ContentPath, d.plain(d.writeContent))
	mux.HandleFunc("GET "+agentpb.TreePath, d.plain(d.exportTree))
	mux.HandleFunc("GET "+agentpb.EntriesPath, d.plain(d.listTree))
	mux.HandleFunc("PUT "+agentpb.TreePath, d.plain(d.importTree))
	mux.HandleFunc("POST "+agentpb.PortPath, d.plain(d.dialPort))
	mux.Handle(agentpb.AsPath, asUser(mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.silence.heard()
		mux.ServeHTTP(w, r)
		d.silence.heard() // a long one is a host, too, until it is over
	})
}

// ServeConn serves a host's connection until it ends, or Close. It closes it.
func (d *Daemon) ServeConn(conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	d.mu.Lock()
	switch {
	case d.closed:
		d.mu.Unlock()
		return net.ErrClosed
	case len(d.conns) >= maxConns:
		d.mu.Unlock()
		return errors.New("daemon: too many connections")
	}
	d.conns[conn] = true
	d.work.Add(1)
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.conns, conn)
		d.mu.Unlock()
		d.work.Done()
	}()
	d.silence.heard()
	d.http2.ServeConn(conn, &http2.ServeConnOpts{Context: d.life, BaseConfig: d.base})
	return nil
}

// current is the sandbox, once it is there.
func (d *Daemon) current() (*sandbox, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sandbox == nil {
		return nil, agentpb.ErrUnconfigured
	}
	return d.sandbox, nil
}

// Close ends all processes, all connections and everything else, and waits for it. It is idempotent.
func (d *Daemon) Close() error {
	d.configuring.Lock()
	defer d.configuring.Unlock()
	d.mu.Lock()
	if d.closed {
		defer d.mu.Unlock()
		return d.closeErr
	}
	d.closed = true
	s := d.sandbox
	d.mu.Unlock()
	var err error
	if s != nil {
		err = s.close()
	}
	d.stop()
	d.mu.Lock()
	for conn := range d.conns {
		_ = conn.Close()
	}
	d.mu.Unlock()
	d.work.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closeErr = err
	return err
}

// sandbox is what the daemon serves.
type sandbox struct {
	d        *Daemon
	id       string
	agent    *agent.Agent
	instance *agent.Instance
	kernels  *kernels
	commands *commands
	watchers *watchers
	answer   *agentpb.ConfigureResponse
	users    users
	setting  sync.RWMutex // held alone while the environment is changed, shared while something is started

	ending sync.Once
	endErr error
}

// configure makes the sandbox, once.
func (d *Daemon) configure(ctx context.Context, r *agentpb.ConfigureRequest) (*sandbox, error) {
	d.configuring.Lock()
	defer d.configuring.Unlock()
	d.mu.Lock()
	s, closed := d.sandbox, d.closed
	d.mu.Unlock()
	switch {
	case closed:
		return nil, backends.ErrDestroyed
	case s != nil && s.id == r.Id:
		return s, nil
	case s != nil:
		return nil, errors.New("the agent is another sandbox's, " + s.id + "'s, and stays that")
	case !validID.MatchString(r.Id):
		return nil, errors.New("id: use 1 to 40 of a-z and 0-9")
	}
	select {
	case <-d.found:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if d.lacking != nil {
		return nil, d.lacking
	}
	s, err := d.open(r)
	if err != nil {
		return nil, err
	}
	if r.Silence > 0 {
		d.silence.set(time.Duration(r.Silence))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sandbox = s
	return s, nil
}

func (d *Daemon) open(r *agentpb.ConfigureRequest) (_ *sandbox, err error) {
	private, runtime, err := d.opts.folders()
	if err != nil {
		return nil, err
	}
	a, err := agent.New(agent.Config{
		Python: d.python, RuntimeDir: runtime, Logger: d.opts.Logger, NoCgroup: true, Launcher: d.opts.Launcher,
		NoForkServer: r.NoForkServer, Preload: r.Preload, Alone: true, Enclosure: cgroupRoot,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	place := agent.Place{
		ID: r.Id, Mark: rand.Text(), Env: r.Env, Limits: r.Limits.Value(), Roots: r.Roots, Isolation: backends.IsolationNone,
		OwnNetwork: true, Workspace: d.opts.Workspace, Private: private, Runtime: filepath.Join(runtime, "k"), Measured: d.opts.measured(),
	}
	if d.opts.accounts {
		place.User = backends.OrdinaryUser
	}
	if err := makeFolder(place.Runtime); err != nil {
		return nil, err
	}
	in, err := a.Open(place)
	if err != nil {
		return nil, err
	}
	budget := d.opts.Budget
	if r.RelayBudget > 0 {
		budget = r.RelayBudget
	}
	s := &sandbox{d: d, id: r.Id, agent: a, instance: in, commands: newCommands(), watchers: newWatchers()}
	s.users = users{opts: d.opts, place: place, main: in, python: d.python, runtime: runtime}
	s.kernels = newKernels(d.life, in, budget)
	s.answer = &agentpb.ConfigureResponse{
		Workspace: in.Workspace(), Branches: canBranch, Python: d.python.Version, PythonExecutable: d.python.Executable,
		Enforcement: make(map[string]string),
	}
	for name, by := range in.Enforcement() {
		s.answer.Enforcement[string(name)] = string(by)
	}
	return s, nil
}

// destroy ends the sandbox's processes. What is told of their ends stays.
func (s *sandbox) destroy() error {
	s.ending.Do(func() {
		s.watchers.close()
		s.endErr = errors.Join(s.users.close(), s.instance.Close(context.Background()))
		s.commands.close()
	})
	return s.endErr
}

func (s *sandbox) close() error {
	err := s.destroy()
	s.kernels.close()
	return errors.Join(err, s.agent.Close())
}
