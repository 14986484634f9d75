package jupyter_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
	"github.com/ds-sandbox/ds-sandbox/server/jupyter"
)

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	dateForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`) // the only one that jupyter_server's gateway client reads
)

// problem is an error as jupyter_server tells it.
type problem struct {
	Message string  `json:"message"`
	Reason  *string `json:"reason"`
}

func TestKernelLivesFromPostToDelete(t *testing.T) {
	d := serve(t, nil)
	status, body, _ := d.ask("GET", "/api/kernels", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "[]", body)

	// Browsers' clients send JSON as text, and a number as the query so that nothing is cached.
	status, body, header := d.ask("POST", "/api/kernels?1795404811292", `{"name": "python3", "env": {"KERNEL_USERNAME": "ada"}}`, func(r *http.Request) {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	})
	require.Equal(t, http.StatusCreated, status, body)
	k := decode[kernelModel](t, body)
	require.Regexp(t, uuidForm, k.ID)
	require.Equal(t, "/api/kernels/"+k.ID, header.Get("Location"))
	require.Regexp(t, dateForm, k.LastActivity)
	require.Equal(t, "python3", k.Name)
	require.Equal(t, "idle", k.ExecutionState)
	require.Zero(t, k.Connections)

	status, body, _ = d.ask("GET", "/api/kernels/"+strings.ToUpper(k.ID), "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, k.ID, decode[kernelModel](t, body).ID)
	run, err := d.contextOf(k).RunCode(d.context(), "import os; os.environ['KERNEL_USERNAME']", nil)
	require.NoError(t, err)
	require.Equal(t, "'ada'", run.Text())

	status, body, _ = d.ask("POST", "/api/kernels/"+k.ID+"/restart", "", nil)
	require.Equal(t, http.StatusOK, status, body)
	require.Equal(t, k.ID, decode[kernelModel](t, body).ID)
	run, err = d.contextOf(k).RunCode(d.context(), "'os' in globals()", nil)
	require.NoError(t, err)
	require.Equal(t, "False", run.Text())
	status, _, _ = d.ask("POST", "/api/kernels/"+k.ID+"/interrupt", "{}", nil)
	require.Equal(t, http.StatusNoContent, status)

	status, body, _ = d.ask("POST", "/api/kernels", `{"kernel_id": "`+k.ID+`"}`, nil)
	require.Equal(t, http.StatusCreated, status)
	require.Equal(t, k.ID, decode[kernelModel](t, body).ID, "the kernel of that id")
	status, _, _ = d.ask("POST", "/api/kernels", `{"kernel_id": "11111111-2222-3333-4444-555555555555"}`, nil)
	require.Equal(t, http.StatusBadRequest, status)

	status, _, _ = d.ask("DELETE", "/api/kernels/"+k.ID, "", nil)
	require.Equal(t, http.StatusNoContent, status)
	require.Empty(t, d.fleet.Members(d.owner), "the sandbox was made for it")
	for _, call := range []string{"GET ", "DELETE ", "POST /interrupt", "POST /restart", "GET /channels"} {
		method, path, _ := strings.Cut(call, " ")
		status, body, _ = d.ask(method, "/api/kernels/"+k.ID+path, "", nil)
		require.Equal(t, http.StatusNotFound, status, call)
		require.Equal(t, "Kernel does not exist: "+k.ID, decode[problem](t, body).Message)
	}
}

func TestContextsOfSandboxesAreKernels(t *testing.T) {
	d := serve(t, nil)
	m, err := d.fleet.Create(d.context(), d.owner, nil)
	require.NoError(t, err)
	require.NoError(t, m.Sandbox().Files().MakeDir(d.context(), "data"))
	base := "/sandboxes/" + m.ID() + "/jupyter"
	status, body, header := d.ask("POST", base+"/api/kernels", `{"name": "python3", "path": "/data/none/a.ipynb"}`, nil)
	require.Equal(t, http.StatusCreated, status, body)
	k := decode[kernelModel](t, body)
	require.Equal(t, m.ID(), k.SandboxID)
	require.Equal(t, base+"/api/kernels/"+k.ID, header.Get("Location"))
	require.Equal(t, "data", d.contextOf(k).Dir(), "the folder that is nearest")

	d.start()
	_, body, _ = d.ask("GET", "/api/kernels", "", nil)
	require.Len(t, decode[[]kernelModel](t, body), 3)
	_, body, _ = d.ask("GET", base+"/api/kernels", "", nil)
	require.Len(t, decode[[]kernelModel](t, body), 2, "of the sandbox alone")

	for _, k := range decode[[]kernelModel](t, body) {
		status, _, _ = d.ask("DELETE", base+"/api/kernels/"+k.ID, "", nil)
		require.Equal(t, http.StatusNoContent, status)
	}
	require.Len(t, d.fleet.Members(d.owner), 2, "the sandbox lives on")
	status, _, _ = d.ask("GET", "/sandboxes/nothere/jupyter/api/kernels", "", nil)
	require.Equal(t, http.StatusNotFound, status)
}

func TestKernelSpecs(t *testing.T) {
	d := serve(t, nil)
	status, body, _ := d.ask("GET", "/api/kernelspecs", "", nil)
	require.Equal(t, http.StatusOK, status)
	type kernelspec struct {
		Name string `json:"name"`
		Spec struct {
			Argv        []string          `json:"argv"`
			Env         map[string]string `json:"env"`
			DisplayName string            `json:"display_name"`
			Language    string            `json:"language"`
		} `json:"spec"`
		Resources map[string]string `json:"resources"`
	}
	specs := decode[struct {
		Default     string                `json:"default"`
		Kernelspecs map[string]kernelspec `json:"kernelspecs"`
	}](t, body)
	python := specs.Kernelspecs[specs.Default]
	require.Equal(t, "python3", python.Name)
	require.Equal(t, "python", python.Spec.Language)
	require.NotEmpty(t, python.Spec.DisplayName)
	require.NotNil(t, python.Spec.Argv)
	require.NotNil(t, python.Resources)
	status, body, _ = d.ask("GET", "/api/kernelspecs/python3", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, python, decode[kernelspec](t, body))
	status, _, _ = d.ask("GET", "/api/kernelspecs/none", "", nil)
	require.Equal(t, http.StatusNotFound, status)
}

func TestWhoMayAsk(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	with := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del("Authorization")
			if name != "" {
				r.Header.Set(name, value)
			}
		}
	}
	cookie := access.Cookie + "=" + d.key
	for name, c := range map[string]struct {
		path   string
		change func(*http.Request)
		status int
	}{
		"token":            {"/api/kernels", with("Authorization", "token "+d.key), 200},
		"any case":         {"/api/kernels", with("Authorization", "TOKEN "+d.key), 200},
		"bearer":           {"/api/kernels", with("Authorization", "Bearer "+d.key), 200},
		"query":            {"/api/kernels?token=" + d.key, with("", ""), 200},
		"path":             {"/t/" + d.key + "/api/kernels", with("", ""), 200},
		"path and sandbox": {"/t/" + d.key + "/sandboxes/" + k.SandboxID + "/jupyter/api/kernels", with("", ""), 200},
		"cookie":           {"/api/kernels", with("Cookie", cookie), 200},
		"cookie of another site's page": {"/api/kernels", func(r *http.Request) {
			with("Cookie", cookie)(r)
			r.Header.Set("Origin", "https://evil.example")
		}, 403},
		"token of another site's page": {"/api/kernels", func(r *http.Request) { r.Header.Set("Origin", "https://lab.example") }, 200},
		"none":                         {"/api/kernels", with("", ""), 401},
		"empty":                        {"/api/kernels", with("Authorization", "token "), 401},
		"wrong":                        {"/api/kernels", with("Authorization", "token e2b_0"), 401},
		"wrong path":                   {"/t/e2b_0/api/kernels", with("", ""), 401},
		"path without more":            {"/t/" + d.key, with("", ""), 404},
		"version":                      {"/api", with("", ""), 200},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, header := d.ask("GET", c.path, "", c.change)
			require.Equal(t, c.status, status, body)
			require.Equal(t, "*", header.Get("Access-Control-Allow-Origin"))
			require.Empty(t, header.Get("Access-Control-Allow-Credentials"))
			if status >= 400 {
				p := decode[problem](t, body)
				require.NotEmpty(t, p.Message)
				require.NotNil(t, p.Reason)
			}
		})
	}
	status, _, header := d.ask("OPTIONS", "/api/kernels", "", with("Origin", "https://lab.example"))
	require.Equal(t, http.StatusNoContent, status)
	require.Contains(t, header.Get("Access-Control-Allow-Headers"), "authorization")
	require.Contains(t, header.Get("Access-Control-Allow-Methods"), "DELETE")
}

func TestOthersSeeNothing(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	stranger := serve(t, nil) // the same fleet, another owner
	_, body, _ := stranger.ask("GET", "/api/kernels", "", nil)
	require.Equal(t, "[]", body)
	for _, call := range []string{"GET ", "DELETE ", "POST /interrupt", "POST /restart", "GET /channels"} {
		method, path, _ := strings.Cut(call, " ")
		status, _, _ := stranger.ask(method, "/api/kernels/"+k.ID+path, "", nil)
		require.Equal(t, http.StatusNotFound, status, call)
	}
	status, _, _ := stranger.ask("GET", "/sandboxes/"+k.SandboxID+"/jupyter/api/kernels", "", nil)
	require.Equal(t, http.StatusNotFound, status)
}

func TestBadRequestsAreTold(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"no JSON":          {"POST", "/api/kernels", "{", 400, "Invalid JSON in body of request"},
		"JSON of no order": {"POST", "/api/kernels", `{"env": {"A": 1}}`, 400, "Invalid JSON"},
		"large body":       {"POST", "/api/kernels", `{"name": "` + strings.Repeat("x", 2<<20) + `"}`, 413, "too large"},
		"unknown kernel":   {"POST", "/api/kernels", `{"name": "cobol"}`, 404, `"cobol" was not found`},
		"bad variable":     {"POST", "/sandboxes/" + k.SandboxID + "/jupyter/api/kernels", `{"env": {"A=B": "1"}}`, 0, ""},
		"no upgrade":       {"GET", "/api/kernels/" + k.ID + "/channels", "", 400, "WebSocket"},
		"long session":     {"GET", "/api/kernels/" + k.ID + "/channels?session_id=" + strings.Repeat("x", 300), "", 400, ""},
		"sessions":         {"GET", "/api/sessions", "", 501, "not served"},
		"contents":         {"GET", "/api/contents/a/b", "", 501, "E2B"},
		"terminals":        {"POST", "/api/terminals", "{}", 501, "not served"},
		"nothing":          {"GET", "/api/nothing", "", 404, "GET /api/nothing"},
		"long path":        {"GET", "/api/" + strings.Repeat("x", 10_000), "", 404, ""},
		"no id":            {"GET", "/api/kernels/..%2f..%2fetc", "", 404, ""},
		"permissions":      {"GET", "/api/me?permissions=7", "", 400, "permissions"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, _ := d.ask(c.method, c.path, c.body, nil)
			if c.status != 0 {
				require.Equal(t, c.status, status, body)
			}
			require.GreaterOrEqual(t, status, 400)
			require.Less(t, len(body), 1000)
			require.Contains(t, decode[problem](t, body).Message, c.says)
		})
	}
}

func TestLimitsAreTold(t *testing.T) {
	d := serve(t, nil)
	d.owner.Limits = fleet.Limits{Sandboxes: 1}
	d.start()
	status, body, header := d.ask("POST", "/api/kernels", "", nil)
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Contains(t, decode[problem](t, body).Message, "live sandboxes")
	require.NotEmpty(t, header.Get("Retry-After"))
}

func TestStatusAndIdentity(t *testing.T) {
	d := serve(t, nil)
	d.start()
	_, body, _ := d.ask("GET", "/api/status", "", nil)
	s := decode[struct {
		Connections  int    `json:"connections"`
		Kernels      int    `json:"kernels"`
		LastActivity string `json:"last_activity"`
		Started      string `json:"started"`
	}](t, body)
	require.Equal(t, 1, s.Kernels)
	require.Regexp(t, dateForm, s.LastActivity)
	require.Regexp(t, dateForm, s.Started)
	_, body, _ = d.ask("GET", `/api/me?permissions={"kernels":["execute"],"terminals":["write"]}`, "", nil)
	me := decode[struct {
		Identity    map[string]any      `json:"identity"`
		Permissions map[string][]string `json:"permissions"`
	}](t, body)
	require.Equal(t, d.owner.Name, me.Identity["username"])
	require.Equal(t, []string{"execute"}, me.Permissions["kernels"])
	require.Empty(t, me.Permissions["terminals"])
}

func TestUnusedKernelsEndByThemselves(t *testing.T) {
	d := serve(t, &jupyter.Options{KernelTimeout: 1})
	status, body, _ := d.ask("POST", "/api/kernels", "", nil)
	if status == http.StatusCreated { // unless it ended before it was told
		m, err := d.fleet.Get(d.owner, decode[kernelModel](t, body).SandboxID)
		if err == nil {
			<-m.Gone()
		}
	}
	require.Eventually(t, func() bool { return len(d.fleet.Members(d.owner)) == 0 }, patience, 10e6)
}
