package server

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestOneSandboxIsTheSameInAllDialects(t *testing.T) {
	d := start(t, Config{Keys: []access.Key{
		{Secret: adas, Owner: &fleet.Owner{Name: "ada", Limits: fleet.Limits{Sandboxes: 1}}}, {Secret: bobs, Owner: &fleet.Owner{Name: "bob"}},
	}}, nil)
	ask := func(method, path, body string, headers ...string) answer {
		return d.ask(t, method, path, strings.NewReader(body), headers...)
	}
	got := ask(http.MethodPost, "//v2//sandboxes", `{"templateID": "code-interpreter-v1"}`, "X-API-KEY", adas)
	require.Equal(t, 201, got.status, got.body)
	var made struct {
		ID     string `json:"sandboxID"`
		Access string `json:"envdAccessToken"`
	}
	require.NoError(t, json.Unmarshal([]byte(got.body), &made))
	got = ask(http.MethodPost, "/v2/sandboxes", `{"templateID": "base"}`, "X-API-KEY", adas)
	require.Equal(t, 429, got.status, got.body)
	require.NotEmpty(t, got.header.Get("Retry-After"))

	// The interpreter runs code, the bridge tells of it, Jupyter has it as a kernel, envd has its files.
	got = ask(http.MethodPost, "//execute", `{"code": "open('a', 'w').write('x'); 41 + 1"}`,
		SandboxHeader, made.ID, PortHeader, "49999", "X-Access-Token", made.Access, "Content-Type", "application/json")
	require.Equal(t, 200, got.status, got.body)
	require.Contains(t, got.body, `"text":"42"`)
	r, err := http.NewRequestWithContext(testContext(t), http.MethodGet, d.URL()+"/sandboxes/"+made.ID+"/events", nil)
	require.NoError(t, err)
	r.Header.Set("X-API-KEY", adas)
	events, err := d.client.Do(r)
	require.NoError(t, err)
	for lines := bufio.NewScanner(events.Body); ; {
		require.True(t, lines.Scan(), "the events end before the result")
		if strings.Contains(lines.Text(), `"text":"42"`) {
			break
		}
	}
	got = ask(http.MethodGet, "/api/kernels", "", "Authorization", "token "+adas)
	require.Equal(t, 200, got.status)
	require.Contains(t, got.body, made.ID)
	require.Equal(t, "x", ask(http.MethodGet, "/files?path=a", "", SandboxHeader, made.ID, "X-Access-Token", made.Access).body)
	require.Equal(t, 200, ask(http.MethodGet, "/", "").status)
	require.Contains(t, ask(http.MethodGet, "/metrics", "", "X-API-KEY", adas).body, `ds_sandbox_run_seconds_count{language="python",outcome="ok"} 1`)

	// Others see nothing of it.
	for path, headers := range map[string][]string{
		"/sandboxes/" + made.ID: {"X-API-KEY", bobs}, "/sandboxes/" + made.ID + "/events": {"X-API-KEY", bobs},
		"/sandboxes/" + made.ID + "/jupyter/api/kernels": {"Authorization", "token " + bobs},
	} {
		require.Equal(t, 404, ask(http.MethodGet, path, "", headers...).status, path)
		require.Equal(t, 401, ask(http.MethodGet, path, "").status, path)
	}
	require.NotContains(t, ask(http.MethodGet, "/api/kernels", "", "Authorization", "token "+bobs).body, made.ID)

	require.Equal(t, 204, ask(http.MethodDelete, "/sandboxes/"+made.ID, "", "X-API-KEY", adas).status)
	_, _ = io.Copy(io.Discard, events.Body) // it ends with the sandbox, one way or the other
	require.NoError(t, events.Body.Close())
	got = ask(http.MethodGet, "/health", "", SandboxHeader, made.ID)
	require.Equal(t, 502, got.status)
	require.Contains(t, got.body, `"message":"The sandbox was not found"`)
}

func TestEndOfTheDaemonEndsWebsockets(t *testing.T) {
	d := start(t, Config{Keys: []access.Key{{Secret: adas, Owner: &fleet.Owner{Name: "ada"}}}}, nil)
	m, err := d.Fleet().Create(testContext(t), &fleet.Owner{Name: "ada"}, nil)
	require.NoError(t, err)
	header := http.Header{"X-Api-Key": {adas}}
	kernel := m.Sandbox().DefaultContext().ID()
	var sockets []*websocket.Conn
	for _, path := range []string{"/sandboxes/" + m.ID() + "/events", "/api/kernels/" + kernel + "/channels"} {
		conn, response, err := websocket.DefaultDialer.DialContext(testContext(t), "ws"+strings.TrimPrefix(d.URL(), "http")+path, header)
		require.NoError(t, err, path)
		require.NoError(t, response.Body.Close())
		sockets = append(sockets, conn)
	}
	d.stop()
	require.NoError(t, <-d.ended, "with nobody to hurry it")
	d.ended <- nil
	for _, conn := range sockets {
		for err = nil; err == nil; {
			_, _, err = conn.ReadMessage()
		}
		require.NoError(t, conn.Close())
	}
}
