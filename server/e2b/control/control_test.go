package control_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/control"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The keys of the tests' daemon, and what their owners may have.
const (
	adaKey = "e2b_ada0ada0ada0ada0"
	bobKey = "e2b_b0bb0bb0bb0bb0bb"
)

// plane is a control plane with its clients.
type plane struct {
	t     *testing.T
	url   string
	fleet *fleet.Fleet
}

// openPlane serves a control plane whose sandboxes are local; everything ends with the test.
func openPlane(t *testing.T) *plane {
	t.Helper()
	runtime, err := os.MkdirTemp("", "dsc") // a short path: sockets live there
	require.NoError(t, err)
	dir := t.TempDir()
	engine, err := sandbox.Open(t.Context(), sandbox.Config{
		DefaultBackend: "local", Python: backendtest.Pythons(t)[0], WorkspaceBaseDir: filepath.Join(dir, "base"), RuntimeDir: runtime,
		MaxSpares: sandbox.NoSpares, Preload: "none",
	})
	require.NoError(t, err)
	f, err := fleet.New(engine, &fleet.Options{SnapshotDir: filepath.Join(dir, "snapshots"), MaxTimeout: time.Hour})
	require.NoError(t, err)
	keys, err := access.New(access.Key{Secret: adaKey, Owner: &fleet.Owner{Name: "ada"}},
		access.Key{Secret: bobKey, Owner: &fleet.Owner{Name: "bob", Limits: fleet.Limits{Sandboxes: 1}}})
	require.NoError(t, err)
	server := httptest.NewServer(control.New(f, keys, &control.Options{Domain: "sandboxes.example:8443"}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		require.NoError(t, f.Close(context.Background()))
		require.NoError(t, engine.Close(context.Background()))
		require.NoError(t, os.RemoveAll(runtime))
	})
	return &plane{t: t, url: server.URL, fleet: f}
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// as makes a call with a key. body is sent as it is; none is sent when it is "".
func (p *plane) as(key, method, path, body string) reply {
	p.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = io.MultiReader(strings.NewReader(body)) // of no known length, as JavaScript sends it
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, reader)
	require.NoError(p.t, err)
	if key != "" {
		r.Header.Set("X-API-KEY", key)
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(p.t, err)
	data, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	require.NoError(p.t, response.Body.Close())
	return reply{response.StatusCode, response.Header, strings.TrimSpace(string(data))}
}

func (p *plane) ada(method, path, body string) reply {
	p.t.Helper()
	return p.as(adaKey, method, path, body)
}

// wants checks a status, and that an error says it again in its body.
func (r reply) wants(t *testing.T, status int) reply {
	t.Helper()
	require.Equal(t, status, r.status, r.body)
	if status >= 400 {
		var body struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		require.Equal(t, "application/json", r.header.Get("Content-Type"), r.body)
		require.NoError(t, json.Unmarshal([]byte(r.body), &body), r.body)
		require.Equal(t, status, body.Code)
		require.NotEmpty(t, body.Message)
	}
	return r
}

func (r reply) decode(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.body), v), r.body)
}

// entry is what the tests look at of a sandbox.
type entry struct {
	TemplateID, Alias, SandboxID, ClientID, EnvdVersion, EnvdAccessToken, TrafficAccessToken, Domain, State string
	StartedAt, EndAt                                                                                        time.Time
	CPUCount, MemoryMB, DiskSizeMB                                                                          int
	Metadata                                                                                                map[string]string
	AllowInternetAccess                                                                                     *bool
	Lifecycle                                                                                               struct {
		OnTimeout  string
		AutoResume bool
	}
	Network *struct {
		AllowPublicTraffic *bool
		MaskRequestHost    string
	}
}

func (p *plane) create(body string) entry {
	p.t.Helper()
	var e entry
	p.ada("POST", "/v2/sandboxes", body).wants(p.t, 201).decode(p.t, &e)
	return e
}

func (p *plane) get(id string) entry {
	p.t.Helper()
	var e entry
	p.ada("GET", "/sandboxes/"+id, "").wants(p.t, 200).decode(p.t, &e)
	return e
}

func (p *plane) kill(ids ...string) {
	p.t.Helper()
	for _, id := range ids {
		p.ada("DELETE", "/sandboxes/"+id, "").wants(p.t, 204)
	}
}

// TestControlPlane shares a daemon between its parts, each of which ends its own sandboxes.
func TestControlPlane(t *testing.T) {
	p := openPlane(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *plane)
	}{
		{"Create", testCreate},
		{"MistakesOfCreate", testMistakesOfCreate},
		{"Owners", testOwners},
		{"Life", testLife},
		{"Pause", testPause},
		{"List", testList},
		{"Pages", testPages},
		{"Snapshots", testSnapshots},
		{"Fork", testFork},
		{"Metrics", testMetrics},
		{"Logs", testLogs},
		{"Network", testNetwork},
		{"Templates", testTemplates},
		{"Unsupported", testUnsupported},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.test(t, &plane{t: t, url: p.url, fleet: p.fleet})
			require.Empty(t, p.fleet.Members(nil))
		})
	}
}

func testCreate(t *testing.T, p *plane) {
	e := p.create(`{"templateID":"code-interpreter-v1","unknown":{"a":[1]},"metadata":{"who":"me"},"autoResume":{"enabled":true},"autoPause":true,
		"network":{"allowPublicTraffic":false,"maskRequestHost":"localhost:${PORT}"},"volumeMounts":[],"mcp":null}`)
	require.Regexp(t, "^[a-z0-9]+$", e.SandboxID)
	require.Equal(t, "code-interpreter-v1", e.TemplateID)
	require.Equal(t, control.EnvdVersion, e.EnvdVersion)
	require.Equal(t, "sandboxes.example:8443", e.Domain)
	require.NotEmpty(t, e.ClientID)
	require.NotEmpty(t, e.EnvdAccessToken)
	require.NotEmpty(t, e.TrafficAccessToken)
	detail := p.get(e.SandboxID)
	require.Equal(t, 300*time.Second, detail.EndAt.Sub(detail.StartedAt))
	require.Equal(t, "running", detail.State)
	require.Equal(t, map[string]string{"who": "me"}, detail.Metadata)
	require.Equal(t, "pause", detail.Lifecycle.OnTimeout)
	require.True(t, detail.Lifecycle.AutoResume)
	require.False(t, *detail.Network.AllowPublicTraffic)
	require.Equal(t, "localhost:${PORT}", detail.Network.MaskRequestHost)
	require.Positive(t, detail.CPUCount)
	require.Positive(t, detail.MemoryMB)
	require.Positive(t, detail.DiskSizeMB)
	require.Nil(t, detail.AllowInternetAccess)
	require.Equal(t, e.SandboxID, p.get(e.SandboxID+"-"+e.ClientID).SandboxID, "as old clients name it")
	p.kill(e.SandboxID)

	first := p.ada("POST", "/sandboxes", `{"templateID":"base","secure":false,"envVars":{"A":"1"},"metadata":{},"allow_internet_access":true}`).wants(t, 201)
	first.decode(t, &e)
	require.NotEmpty(t, e.EnvdAccessToken, "all are secured")
	require.Contains(t, first.body, `"trafficAccessToken":null`)
	detail = p.get(e.SandboxID)
	require.Equal(t, 15*time.Second, detail.EndAt.Sub(detail.StartedAt))
	require.Equal(t, "kill", detail.Lifecycle.OnTimeout)
	require.Nil(t, detail.Network)
	p.kill(e.SandboxID)
}

func testMistakesOfCreate(t *testing.T, p *plane) {
	for body, want := range map[string]struct {
		status  int
		message string
	}{
		"":                                      {400, "templateID"},
		`{`:                                     {400, "JSON"},
		`[]`:                                    {400, "JSON"},
		`{"templateID":"base"} {}`:              {400, "JSON"},
		`{"templateID":7}`:                      {400, "templateID: it is a number, and is to be a string"},
		`{"templateID":"base","timeout":"9"}`:   {400, "timeout: it is a string, and is to be a whole number"},
		`{"templateID":"base","timeout":0}`:     {400, "positive"},
		`{"templateID":"base","timeout":-1}`:    {400, "positive"},
		`{"templateID":"base","timeout":3601}`:  {400, "1h0m0s"},
		`{"templateID":"base","timeout":1e300}`: {400, "timeout"},
		`{"templateID":"base","timeout":9223372036854775807}`:                                          {400, "1h0m0s"},
		`{"templateID":"no-such-template"}`:                                                            {404, "no-such-template"},
		`{"templateID":"mcp-gateway","mcp":{"x":{}}}`:                                                  {501, "MCP"},
		`{"templateID":"base","volumeMounts":[{"name":"v","path":"/v"}]}`:                              {501, "volumes"},
		`{"templateID":"base","iam":{"tokens":{"a":{}}}}`:                                              {501, "identity"},
		`{"templateID":"base","network":{"rules":{"a.b":[]}}}`:                                         {501, "rules"},
		`{"templateID":"base","network":{"egressProxy":{"address":"a:1"}}}`:                            {501, "proxy"},
		`{"templateID":"base","network":{"httpsPorts":[1]}}`:                                           {501, "HTTP"},
		`{"templateID":"base","autoPauseMemory":false}`:                                                {400, "autoPause"},
		`{"templateID":"base","autoPauseMemory":false,"autoPause":true,"autoResume":{"enabled":true}}`: {400, "autoResume"},
		`{"templateID":"base","autoPauseMemory":false,"autoPause":true}`:                               {501, "memory"},
		`{"templateID":"base","allow_internet_access":false}`:                                          {501, "docker"},
		`{"templateID":"base","network":{"denyOut":["8.8.8.8"]}}`:                                      {501, "docker"},
		`{"templateID":"base","metadata":{"a":"` + strings.Repeat("x", 300<<10) + `"}}`:                {400, "metadata"},
		`{"templateID":"base","metadata":{"a":"` + strings.Repeat("x", 2<<20) + `"}}`:                  {413, "too large"},
		`{"templateID":"base","envVars":{"A=B":"1"}}`:                                                  {400, "A=B"},
	} {
		name := body[:min(len(body), 60)]
		require.Contains(t, p.ada("POST", "/v2/sandboxes", body).wants(t, want.status).body, want.message, name)
	}
	p.ada("POST", "/sandboxes", `{"templateID":"base","secure":false,"network":{"allowPublicTraffic":false}}`).wants(t, 400)
}

func testOwners(t *testing.T, p *plane) {
	e := p.create(`{"templateID":"base"}`)
	for _, path := range []string{"/sandboxes", "/v2/sandboxes", "/sandboxes/" + e.SandboxID, "/snapshots", "/no/such/path", "/volumes"} {
		p.as("", "GET", path, "").wants(t, 401)
		p.as("e2b_0000000000000000", "GET", path, "").wants(t, 401)
	}
	for _, call := range []string{
		"GET ", "DELETE ", "POST /timeout", "POST /refreshes", "POST /connect", "POST /resume", "POST /pause", "POST /snapshots", "POST /fork",
		"GET /metrics", "GET /logs", "PUT /network",
	} {
		method, path, _ := strings.Cut(call, " ")
		p.as(bobKey, method, "/sandboxes/"+e.SandboxID+path, `{"timeout":60}`).wants(t, 404)
	}
	require.Equal(t, "[]", p.as(bobKey, "GET", "/v2/sandboxes", "").wants(t, 200).body)
	require.Equal(t, `{"sandboxes":{}}`, p.as(bobKey, "GET", "/sandboxes/metrics?sandbox_ids="+e.SandboxID, "").wants(t, 200).body)
	p.get(e.SandboxID)

	p.as(bobKey, "POST", "/v2/sandboxes", `{"templateID":"base"}`).wants(t, 201).decode(t, &e)
	refused := p.as(bobKey, "POST", "/v2/sandboxes", `{"templateID":"base"}`).wants(t, 429)
	require.Regexp(t, "^[1-9][0-9]*$", refused.header.Get("Retry-After"))
	p.as(bobKey, "DELETE", "/sandboxes/"+e.SandboxID, "").wants(t, 204)
	for _, m := range p.fleet.Members(nil) {
		p.kill(m.ID())
	}
}
