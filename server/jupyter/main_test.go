package jupyter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
	"github.com/ds-sandbox/ds-sandbox/server/jupyter"
)

// patience bounds every wait of these tests; nothing here comes near it.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	if err := closeFleets(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// The tests of a Python share a fleet, each with an owner of its own: what takes time is the start of an engine.
var (
	fleetsMu sync.Mutex
	fleets   = make(map[string]*fleet.Fleet)
	folders  []string
	owners   atomic.Int64
)

func fleetOf(t *testing.T, python string) *fleet.Fleet {
	t.Helper()
	fleetsMu.Lock()
	defer fleetsMu.Unlock()
	if f := fleets[python]; f != nil {
		return f
	}
	folder, err := os.MkdirTemp("", "dsj") // a short path: sockets live there
	require.NoError(t, err)
	folders = append(folders, folder)
	engine, err := sandbox.Open(context.Background(), sandbox.Config{
		DefaultBackend: "local", Python: python, WorkspaceBaseDir: filepath.Join(folder, "base"), RuntimeDir: filepath.Join(folder, "run"),
		MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	f, err := fleet.New(engine, nil)
	require.NoError(t, err)
	fleets[python] = f
	return f
}

func closeFleets() error {
	fleetsMu.Lock()
	defer fleetsMu.Unlock()
	for _, f := range fleets {
		if err := f.Close(context.Background()); err != nil {
			return err
		}
		if err := f.Engine().Close(context.Background()); err != nil {
			return err
		}
	}
	for _, folder := range folders {
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	}
	return nil
}

// daemon is a server with an owner's key.
type daemon struct {
	t       *testing.T
	fleet   *fleet.Fleet
	owner   *fleet.Owner
	key     string
	url     string
	handler *jupyter.Handler
}

func serveOn(t *testing.T, python string, opts *jupyter.Options) *daemon {
	t.Helper()
	n := owners.Add(1)
	d := &daemon{
		t: t, fleet: fleetOf(t, python), owner: &fleet.Owner{Name: fmt.Sprintf("owner%d", n)}, key: fmt.Sprintf("e2b_%040x", n),
	}
	other := access.Key{Secret: fmt.Sprintf("e2b_%040x", n+1<<40), Owner: &fleet.Owner{Name: fmt.Sprintf("other%d", n)}}
	keys, err := access.New(access.Key{Secret: d.key, Owner: d.owner}, other)
	require.NoError(t, err)
	d.handler = jupyter.New(d.fleet, keys, opts)
	server := httptest.NewServer(d.handler)
	d.url = server.URL
	t.Cleanup(func() {
		d.handler.Close()
		server.Close()
		for _, m := range d.fleet.Members(d.owner) {
			_ = m.Kill(context.Background()) // a test may have killed it
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return d
}

// serve is serveOn with the first Python.
func serve(t *testing.T, opts *jupyter.Options) *daemon {
	t.Helper()
	return serveOn(t, backendtest.Pythons(t)[0], opts)
}

// eachPython runs a test on a server of each Python.
func eachPython(t *testing.T, test func(t *testing.T, d *daemon)) {
	t.Helper()
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) { test(t, serveOn(t, python.Executable, nil)) })
}

func (d *daemon) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	d.t.Cleanup(cancel)
	return ctx
}

// ask sends a request as a client does and gives the answer's status and body.
func (d *daemon) ask(method, path, body string, change func(*http.Request)) (int, string, http.Header) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.context(), method, d.url+path, strings.NewReader(body))
	require.NoError(d.t, err)
	req.Header.Set("Authorization", "token "+d.key)
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	return resp.StatusCode, string(bytes.TrimSpace(text)), resp.Header
}

// kernelModel is what the interface tells of a kernel.
type kernelModel struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	LastActivity   string `json:"last_activity"`
	ExecutionState string `json:"execution_state"`
	Connections    int    `json:"connections"`
	SandboxID      string `json:"sandbox_id"`
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

// start makes a kernel.
func (d *daemon) start() kernelModel {
	d.t.Helper()
	status, body, _ := d.ask("POST", "/api/kernels", `{"name": "python3", "path": null}`, nil)
	require.Equal(d.t, http.StatusCreated, status, body)
	return decode[kernelModel](d.t, body)
}

// contextOf is the context that a kernel is.
func (d *daemon) contextOf(k kernelModel) *sandbox.Context {
	d.t.Helper()
	m, err := d.fleet.Get(d.owner, k.SandboxID)
	require.NoError(d.t, err)
	c, err := m.Sandbox().Context(strings.ReplaceAll(k.ID, "-", ""))
	require.NoError(d.t, err)
	return c
}
