package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/agent/daemon"
	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socketPair is a connection between a host and an agent.
func socketPair() (host, agent net.Conn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	conns := make([]net.Conn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if conns[i], err = net.FileConn(f); err != nil {
			return nil, nil, err
		}
		_ = f.Close()
	}
	return conns[0], conns[1], nil
}

// far is a daemon in this process, and the ways to it.
type far struct {
	*daemon.Daemon
	dir, runtime string
	serving      sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // hosts' ends
	down  error      // why it can't be reached
	other *far       // is reached instead
	wrap  func(net.Conn) net.Conn
}

// newFar starts a daemon in a folder of its own.
func newFar(t *testing.T, python string) *far {
	t.Helper()
	f, err := openFar(python)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.end()) })
	return f
}

func openFar(python string) (*far, error) {
	dir, err := os.MkdirTemp("", "far")
	if err != nil {
		return nil, err
	}
	runtime, err := os.MkdirTemp("", "frt") // a short path, for sockets
	if err != nil {
		return nil, err
	}
	ws := filepath.Join(dir, "ws")
	if err := os.Mkdir(ws, 0o755); err != nil {
		return nil, err
	}
	d := daemon.New(daemon.Options{
		Workspace: ws, Private: filepath.Join(dir, "private"), Runtime: runtime, Pythons: []string{python}, Build: "test",
	})
	return &far{Daemon: d, dir: dir, runtime: runtime}, nil
}

func (f *far) dial(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return nil, f.down
	}
	if f.other != nil {
		return f.other.dial(ctx)
	}
	host, agent, err := socketPair()
	if err != nil {
		return nil, err
	}
	if f.wrap != nil {
		host = f.wrap(host)
	}
	f.conns = append(f.conns, host)
	f.serving.Go(func() { _ = f.ServeConn(agent) })
	return host, nil
}

// cut breaks all connections.
func (f *far) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.conns {
		_ = conn.Close()
	}
	f.conns = nil
}

func (f *far) setDown(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *far) setOther(other *far) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.other = other
}

func (f *far) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(f.dir, name))
	return err == nil
}

func (f *far) end() error {
	err := f.Close()
	f.serving.Wait()
	ctx := context.Background()
	for _, dir := range []string{f.dir, f.runtime} {
		root, rootErr := os.OpenRoot(filepath.Dir(dir))
		if rootErr != nil {
			return rootErr
		}
		err = errors.Join(err, agent.RemoveAll(ctx, root, filepath.Base(dir)), root.Close())
	}
	return err
}

// backend has a daemon for each instance.
type backend struct {
	python string

	mu     sync.Mutex
	live   map[string]*instance
	closed bool
}

// instance is what the docker backend does with a remote one: what its agent ran in goes with it.
type instance struct {
	*remote.Instance
	backend *backend
	far     *far
	client  *remote.Client

	mu   sync.Mutex
	done bool
}

var validID = regexp.MustCompile(`^[a-z0-9]{1,40}$`)

func (b *backend) Create(ctx context.Context, spec backends.Spec) (_ backends.Instance, err error) {
	switch {
	case !validID.MatchString(spec.ID):
		return nil, fmt.Errorf("id %q", spec.ID)
	case spec.WorkspacePath != "" || len(spec.AllowedRoots) > 0:
		return nil, fmt.Errorf("folders of the user's own: %w", backends.ErrUnsupported)
	case spec.Isolation != "" && spec.Isolation != backends.IsolationNone:
		return nil, fmt.Errorf("isolation %q: %w", spec.Isolation, backends.ErrUnsupported)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.live[spec.ID] != nil {
		return nil, errors.New("id is taken, or the backend closed")
	}
	f, err := openFar(b.python)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.end())
		}
	}()
	client, err := remote.Open(ctx, f.dial, nil)
	if err != nil {
		return nil, err
	}
	err = client.Configure(ctx, remote.Setup{
		ID: spec.ID, Env: spec.Env, Limits: spec.Limits, Isolation: backends.IsolationNone, NoForkServer: true,
	})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	in := &instance{Instance: client.Instance(), backend: b, far: f, client: client}
	b.live[spec.ID] = in
	return in, nil
}

func (in *instance) Destroy(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done {
		return nil
	}
	if err := errors.Join(in.Instance.Destroy(ctx), in.client.Close(), in.far.end()); err != nil {
		return err
	}
	in.done = true
	in.backend.mu.Lock()
	defer in.backend.mu.Unlock()
	delete(in.backend.live, in.ID())
	return nil
}

func (b *backend) KernelSpecs(context.Context) ([]messaging.KernelSpec, error) { return nil, nil }

func (b *backend) Isolation() (backends.Isolation, string) {
	return backends.IsolationNone, "it is this very machine"
}

func (b *backend) Close() error {
	b.mu.Lock()
	b.closed = true
	var left []*instance
	for _, in := range b.live {
		left = append(left, in)
	}
	b.mu.Unlock()
	var errs []error
	for _, in := range left {
		errs = append(errs, in.Destroy(context.Background()))
	}
	return errors.Join(errs...)
}

// TestRemotePassesTheSuite runs the suite where no engine is asked for: where one is, the docker backend's runs all of this, in containers.
func TestRemotePassesTheSuite(t *testing.T) {
	if strings.Contains(os.Getenv("DS_SANDBOX_REQUIRE"), "docker") && !backendtest.All() {
		t.Skip("the docker backend's suite covers it; `make test-all` runs both")
	}
	python := backendtest.Pythons(t)[0]
	backendtest.Run(t, func(*testing.T) backends.Backend {
		return &backend{python: python, live: make(map[string]*instance)}
	}, backendtest.LacksUserFolders, backendtest.LacksOwnNetwork)
}
