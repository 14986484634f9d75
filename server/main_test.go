package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTimeout = 2 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

func openEngine(t *testing.T) *sandbox.Engine {
	t.Helper()
	runtime, err := os.MkdirTemp("", "dsv") // a short path: sockets live there
	require.NoError(t, err)
	engine, err := sandbox.Open(testContext(t), sandbox.Config{
		DefaultBackend: "local", Python: backendtest.Pythons(t)[0], WorkspaceBaseDir: filepath.Join(t.TempDir(), "base"), RuntimeDir: runtime,
		NoForkServer: true, MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, engine.Close(context.Background()))
		require.NoError(t, os.RemoveAll(runtime))
	})
	return engine
}

// daemon is a server that serves.
type daemon struct {
	*Server
	log    *lockedBuffer
	client *http.Client
	stop   context.CancelFunc
	ended  chan error // has what Serve returned
}

// startDaemon starts a daemon with these dialects, and ends it with the test.
func startDaemon(t *testing.T, config Config, d Dialects) *daemon {
	t.Helper()
	return start(t, config, &d)
}

// start is startDaemon; without dialects the daemon has its own.
func start(t *testing.T, config Config, d *Dialects) *daemon {
	t.Helper()
	log := new(lockedBuffer)
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	if config.DataDir == "" {
		config.DataDir = t.TempDir()
	}
	config.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(testContext(t), openEngine(t), config)
	require.NoError(t, err)
	if d != nil {
		d.Close = s.dialects.Close // its own have begun something
		s.Mount(*d)
	}
	ctx, stop := context.WithCancel(context.Background())
	transport := &http.Transport{}
	out := &daemon{Server: s, log: log, client: &http.Client{Transport: transport}, stop: stop, ended: make(chan error, 1)}
	go func() { out.ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		s.Hurry()
		select {
		case err := <-out.ended:
			require.NoError(t, err)
		case <-time.After(testTimeout):
			t.Error("it does not end")
		}
	})
	return out
}

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; headers are pairs.
func (d *daemon) ask(t *testing.T, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(testContext(t), method, d.URL()+path, body)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	response, err := d.client.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{response.StatusCode, response.Header, string(data)}
}

// member makes a sandbox without a kernel.
func (d *daemon) member(t *testing.T, owner *fleet.Owner) *fleet.Member {
	t.Helper()
	m, err := d.Fleet().Create(testContext(t), owner, &fleet.Spec{Lazy: true})
	require.NoError(t, err)
	return m
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
