package dockertest

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Between stands between a program and the engine, so that something can be done at each step of what the program does there. It ends
// with the test.
type Between struct {
	Host   string // for DOCKER_HOST
	Engine string // where the engine itself is

	work sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	left  int // writes of the program to come before do
	do    func()
}

const unix = "unix://"

// NewBetween listens. The engine is the one that tests use; where that is on no unix socket the test is skipped.
func NewBetween(t testing.TB) *Between {
	t.Helper()
	api := reach(t)
	defer func() { _ = api.Close() }()
	if !strings.HasPrefix(api.DaemonHost(), unix) {
		t.Skip("the engine is not on a unix socket:", api.DaemonHost())
	}
	socket := filepath.Join(t.TempDir(), "engine")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	b := &Between{Host: unix + socket, Engine: api.DaemonHost(), conns: make(map[net.Conn]bool)}
	b.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.work.Go(func() { b.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		b.Cut()
		b.work.Wait()
	})
	return b
}

// Before calls do, once, before the n-th write of the program from now on goes on to the engine. The function it returns calls that
// off or, when it is too late for that, waits until do has returned and reports true.
func (b *Between) Before(n int, do func()) (cancel func() (done bool)) {
	ended := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.do = n, func() {
		defer close(ended)
		do()
	}
	return func() bool {
		b.mu.Lock()
		calledOff := b.do != nil
		b.do = nil
		b.mu.Unlock()
		if calledOff {
			return false
		}
		<-ended
		return true
	}
}

// step counts a write.
func (b *Between) step() {
	if do := b.due(); do != nil {
		do()
	}
}

// due is what is to be done before the next write; nil for nothing.
func (b *Between) due() (do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.do == nil {
		return nil
	}
	if b.left--; b.left > 0 {
		return nil
	}
	do, b.do = b.do, nil
	return do
}

// Cut breaks all connections of the program to the engine.
func (b *Between) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.conns {
		_ = conn.Close()
	}
}

func (b *Between) serve(program net.Conn) {
	engine, err := net.Dial("unix", strings.TrimPrefix(b.Engine, unix))
	if err != nil {
		_ = program.Close()
		return
	}
	b.hold(program, engine)
	var ways sync.WaitGroup
	ways.Go(func() {
		_, _ = io.Copy(&stepWriter{b, engine}, program)
		_ = engine.(*net.UnixConn).CloseWrite()
	})
	ways.Go(func() {
		_, _ = io.Copy(program, engine)
		_ = program.Close()
	})
	ways.Wait()
	b.release(program, engine)
}

func (b *Between) hold(conns ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		b.conns[c] = true
	}
}

func (b *Between) release(conns ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(b.conns, c)
	}
}

// stepWriter counts what it writes.
type stepWriter struct {
	between *Between
	w       io.Writer
}

func (s *stepWriter) Write(p []byte) (int, error) {
	s.between.step()
	return s.w.Write(p)
}
