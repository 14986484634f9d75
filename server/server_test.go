package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

const (
	adas = "e2b_0123456789abcdef0123456789abcdef01234567"
	bobs = "e2b_ffffffffffffffffffffffffffffffffffffffff"
)

// say is a dialect that says its name and what it was told.
func say(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, _ := fleet.TargetOf(r.Context())
		known := "nobody's"
		if m := fleet.From(r.Context()); m != nil {
			known = m.Owner().Name + "'s"
		}
		_, _ = fmt.Fprintf(w, "%s %s %s:%d %s", name, r.URL.EscapedPath(), target.ID, target.Port, known)
	})
}

func TestRequestsReachTheirDialects(t *testing.T) {
	var signedFor *fleet.Member
	d := startDaemon(t, Config{Keys: []access.Key{{Secret: adas, Owner: &fleet.Owner{Name: "ada"}}}}, Dialects{
		Traffic: say("traffic"), Control: say("control"), Bridge: say("bridge"), Jupyter: say("jupyter"), Page: say("page"),
		Signed: func(r *http.Request) (*fleet.Member, error) {
			if r.URL.Query().Get("signature") != "good" {
				return nil, errors.New("invalid signature")
			}
			return signedFor, nil
		},
	})
	m := d.member(t, &fleet.Owner{Name: "ada"})
	signedFor, id := m, m.ID()
	_ = signedFor
	for _, test := range []struct {
		path    string
		headers []string
		want    string
	}{
		{"/health", nil, "ok\n"},
		{"/health", []string{SandboxHeader, id}, "traffic /health " + id + ":49983 ada's"},
		{"//execute", []string{SandboxHeader, id, PortHeader, "49999"}, "traffic /execute " + id + ":49999 ada's"},
		{"//a//b", []string{SandboxHeader, id, PortHeader, "8000"}, "traffic //a//b " + id + ":8000 ada's"},
		{"/x", []string{"Host", "8000-" + id + ".example.com"}, "traffic /x " + id + ":8000 ada's"},
		{"/x", []string{SandboxHeader, "unknown1"}, "traffic /x unknown1:49983 nobody's"},
		{"/files?path=a&signature=good", nil, "traffic /files " + id + ":49983 ada's"},
		{"//v2//sandboxes", nil, "control /v2/sandboxes :0 nobody's"},
		{"/templates/ns%2Fsnap%3Adefault", nil, "control /templates/ns%2Fsnap%3Adefault :0 nobody's"},
		{"/sandboxes/" + id + "/events", nil, "bridge /sandboxes/" + id + "/events :0 nobody's"},
		{"/api/kernels", nil, "jupyter /api/kernels :0 nobody's"},
		{"/", nil, "page / :0 nobody's"},
	} {
		got := d.ask(t, http.MethodGet, test.path, nil, test.headers...)
		require.Equal(t, 200, got.status, test.path)
		require.Equal(t, test.want, got.body, "%s %v", test.path, test.headers)
	}
	got := d.ask(t, http.MethodGet, "/files?path=a&signature=bad", nil)
	require.Equal(t, 401, got.status)
	require.JSONEq(t, `{"code": 401, "message": "invalid signature"}`, got.body)
	got = d.ask(t, http.MethodGet, "/x", nil, SandboxHeader, "../..")
	require.Equal(t, 400, got.status)
	require.Contains(t, got.body, "is no id of a sandbox")

	bare := startDaemon(t, Config{}, Dialects{})
	for _, path := range []string{"/", "/v2/sandboxes", "/api", "/sandboxes/a/events"} {
		got := bare.ask(t, http.MethodGet, path, nil)
		require.Equal(t, 501, got.status, path)
	}
	require.Equal(t, 401, bare.ask(t, http.MethodGet, "/files", nil).status)
}

func TestFirstStartMakesAKeyAndSaysWhatToPaste(t *testing.T) {
	data := t.TempDir()
	d := startDaemon(t, Config{DataDir: data}, Dialects{})
	var first, second bytes.Buffer
	require.NoError(t, d.Banner(&first))
	key, err := os.ReadFile(data + "/key")
	require.NoError(t, err)
	secret := strings.TrimSpace(string(key))
	for _, line := range []string{
		"export E2B_API_URL=" + d.URL() + "\n", "export E2B_SANDBOX_URL=" + d.URL() + "\n", "export E2B_API_KEY=" + secret + "\n",
		"page: " + d.URL() + "/?token=" + secret + "\n", "kept in " + data + "/key",
	} {
		require.Contains(t, first.String(), line)
	}
	d.stop()
	require.NoError(t, <-d.ended)
	d.ended <- nil
	again := startDaemon(t, Config{DataDir: data}, Dialects{})
	require.NoError(t, again.Banner(&second))
	require.Contains(t, second.String(), "export E2B_API_KEY="+secret+"\n")
	require.NotContains(t, second.String(), "kept in")
}

func TestPanicsHarmNobodyElse(t *testing.T) {
	d := startDaemon(t, Config{}, Dialects{Control: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			panic("boom")
		case "/late":
			_, _ = io.WriteString(w, "half")
			panic("boom")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})})
	got := d.ask(t, http.MethodGet, "/early", nil)
	require.Equal(t, 500, got.status)
	require.NotContains(t, got.body, "boom")
	require.Contains(t, d.log.String(), "boom")
	for _, path := range []string{"/late", "/abort"} {
		response, err := d.client.Get(d.URL() + path) //nolint:noctx // the test's own daemon answers
		if err == nil {
			_, err = io.ReadAll(response.Body)
			_ = response.Body.Close()
		}
		require.Error(t, err, path)
	}
	require.Equal(t, 200, d.ask(t, http.MethodGet, "/fine", nil).status)
}

func TestRequestsAreBounded(t *testing.T) {
	owner := &fleet.Owner{Name: "ada", Limits: fleet.Limits{Streams: 1}}
	busy, free := make(chan struct{}), make(chan struct{})
	d := startDaemon(t, Config{MaxUpload: 1000, Keys: []access.Key{{Secret: adas, Owner: owner}, {Secret: bobs, Owner: &fleet.Owner{Name: "bob"}}}}, Dialects{
		Control: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				close(busy)
				<-free
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			}
		}),
		Traffic: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			}
		}),
	})
	waiting := make(chan answer)
	go func() { waiting <- d.ask(t, http.MethodGet, "/wait", nil, "X-API-KEY", adas) }()
	<-busy
	got := d.ask(t, http.MethodGet, "/other", nil, "X-API-KEY", adas)
	require.Equal(t, 429, got.status)
	require.Equal(t, "1", got.header.Get("Retry-After"))
	require.Equal(t, 200, d.ask(t, http.MethodGet, "/other", nil, "X-API-KEY", bobs).status)
	close(free)
	require.Equal(t, 200, (<-waiting).status)
	require.Equal(t, 200, d.ask(t, http.MethodGet, "/other", nil, "X-API-KEY", adas).status)

	require.Equal(t, 200, d.ask(t, http.MethodPost, "/x", bytes.NewReader(make([]byte, smallBody))).status)
	require.Equal(t, 413, d.ask(t, http.MethodPost, "/x", io.MultiReader(bytes.NewReader(make([]byte, smallBody)), strings.NewReader("x"))).status)
	require.Equal(t, 200, d.ask(t, http.MethodPost, "/x", strings.NewReader(strings.Repeat("x", 1000)), SandboxHeader, "a").status)
	require.Equal(t, 413, d.ask(t, http.MethodPost, "/x", strings.NewReader(strings.Repeat("x", 1001)), SandboxHeader, "a").status)

	// A flood of headers.
	conn, err := net.Dial("tcp", d.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	go func() {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("X-A: "+strings.Repeat("b", 1000)+"\r\n", 200)+"\r\n")
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 431, response.StatusCode)
	require.NoError(t, response.Body.Close())
}

func TestLogHasIdsAndNoSecrets(t *testing.T) {
	d := startDaemon(t, Config{Keys: []access.Key{{Secret: adas, Owner: &fleet.Owner{Name: "ada"}}}}, Dialects{Control: say("control"), Traffic: say("traffic")})
	m := d.member(t, &fleet.Owner{Name: "ada"})
	got := d.ask(t, http.MethodGet, "/v2/sandboxes?token="+adas, nil, requestHeader, "mine.1")
	require.Equal(t, "mine.1", got.header.Get(requestHeader))
	got = d.ask(t, http.MethodGet, "/x", nil, "X-API-KEY", adas, requestHeader, "bad id", SandboxHeader, m.ID(), "X-Access-Token", m.AccessToken())
	require.Regexp(t, `^[0-9a-f]{16}$`, got.header.Get(requestHeader))
	made, err := d.Fleet().Create(fleet.WithRequest(testContext(t), "mine.2"), &fleet.Owner{Name: "ada"}, &fleet.Spec{Lazy: true})
	require.NoError(t, err)
	got = d.ask(t, http.MethodGet, "/v2/sandboxes/"+made.ID()+"/logs", nil, "X-API-KEY", adas)
	require.NoError(t, made.Kill(testContext(t)))
	require.Eventually(t, func() bool { return strings.Contains(d.log.String(), got.header.Get(requestHeader)) }, testTimeout, time.Millisecond)
	log := d.log.String()
	require.Contains(t, log, "request=mine.1")
	require.Regexp(t, `"sandbox started" request=mine.2 sandbox=`+made.ID()+" owner=ada template=base", log)
	require.Regexp(t, `request=`+got.header.Get(requestHeader)+`.* sandbox=`+made.ID(), log)
	require.Regexp(t, `"sandbox ended" sandbox=`+made.ID()+` owner=ada reason="it was killed"`, log)
	require.Contains(t, log, "owner=ada")
	require.Contains(t, log, "sandbox="+m.ID())
	require.NotContains(t, log, adas)
	require.NotContains(t, log, m.AccessToken())
}

func TestFiguresWantAKeyAndTellWhatHappened(t *testing.T) {
	d := startDaemon(t, Config{Sandboxes: 2, Keys: []access.Key{{Secret: adas, Owner: &fleet.Owner{Name: "ada"}}}}, Dialects{})
	require.Equal(t, 401, d.ask(t, http.MethodGet, "/metrics", nil).status)
	m := d.member(t, &fleet.Owner{Name: "ada"})
	m.NoteRun(fleet.Run{Language: "python", Took: time.Second, Err: errors.New("x")})
	for i := range 100 {
		m.NoteRun(fleet.Run{Language: fmt.Sprint("made up ", i)})
	}
	require.NoError(t, d.member(t, &fleet.Owner{Name: "ada"}).Kill(testContext(t)))
	paused := d.member(t, &fleet.Owner{Name: "ada"})
	require.NoError(t, paused.Pause(testContext(t)))
	_, err := d.Fleet().Create(testContext(t), &fleet.Owner{Name: "ada"}, &fleet.Spec{Lazy: true})
	require.Error(t, err)
	got := d.ask(t, http.MethodGet, "/metrics", nil, "Authorization", "Bearer "+adas)
	require.Equal(t, 200, got.status)
	for _, line := range []string{
		`ds_sandbox_create_seconds_count{start="none"} 3`, `ds_sandbox_live{state="running"} 1`, `ds_sandbox_live{state="paused"} 1`,
		`ds_sandbox_run_seconds_count{language="python",outcome="failed"} 1`, `ds_sandbox_errors_total{kind="run_failed"} 1`,
		`ds_sandbox_errors_total{kind="create_rate_limited"} 1`, `ds_sandbox_ends_total{reason="kill"} 1`, `ds_sandbox_spares 0`,
		`ds_sandbox_run_seconds_count{language="other",outcome="ok"} 69`, `ds_sandbox_request_seconds_count{class="daemon",status="4xx"} 1`,
	} {
		require.Contains(t, got.body, line+"\n")
	}
}

func TestDrainLetsRequestsEndAndCutsOffTheRest(t *testing.T) {
	begun, release, cut := make(chan string, 2), make(chan struct{}), make(chan error, 1)
	d := startDaemon(t, Config{}, Dialects{Control: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- r.URL.Path
		if r.URL.Path == "/short" {
			<-release
			_, _ = io.WriteString(w, "done")
			return
		}
		<-r.Context().Done()
		cut <- context.Cause(r.Context())
	})})
	m := d.member(t, &fleet.Owner{Name: "default"})
	short := make(chan answer, 1)
	go func() { short <- d.ask(t, http.MethodGet, "/short", nil) }()
	require.Equal(t, "/short", <-begun)
	go func() {
		response, err := d.client.Get(d.URL() + "/long") //nolint:noctx // the daemon cuts it off
		if err == nil {
			_ = response.Body.Close()
		}
	}()
	require.Equal(t, "/long", <-begun)
	d.stop()
	require.Eventually(t, func() bool { // nobody new comes in
		conn, err := net.Dial("tcp", d.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, testTimeout, time.Millisecond)
	close(release)
	require.Equal(t, "done", (<-short).body)
	select {
	case <-m.Gone():
		t.Fatal("a sandbox ended before the requests")
	default:
	}
	d.Hurry()
	require.Error(t, <-cut)
	<-m.Gone()
	require.NoError(t, <-d.ended)
	d.ended <- nil
}

func TestConnectionsThatIdleLongestMakeRoom(t *testing.T) {
	d := startDaemon(t, Config{Connections: 2}, Dialects{Control: say("control")})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", d.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	request := func(conn net.Conn) error {
		_, err := io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
		if err == nil {
			var response *http.Response
			if response, err = http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
				_, _ = io.ReadAll(response.Body)
				err = response.Body.Close()
			}
		}
		return err
	}
	idle := func() { // the server knows only after the client that an answer is over
		require.Eventually(t, func() bool {
			d.conns.mu.Lock()
			defer d.conns.mu.Unlock()
			return d.conns.quiet.Len() == 2
		}, testTimeout, time.Millisecond)
	}
	first, second := dial(), dial()
	for _, conn := range []net.Conn{first, second, first} { // now the second idles longest
		idle()
		require.NoError(t, request(conn))
	}
	idle()
	third := dial()
	require.NoError(t, request(third))
	_ = second.SetReadDeadline(time.Now().Add(testTimeout))
	_, err := second.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, request(first))
	require.LessOrEqual(t, d.conns.count(), 2)
}

func TestSelfSignedCertificateIsForTheDomainAndWhatIsBelow(t *testing.T) {
	data := t.TempDir()
	d := startDaemon(t, Config{DataDir: data, TLSSelfSigned: "sbx.test"}, Dialects{Traffic: say("traffic")})
	require.Equal(t, "https://sbx.test", d.URL())
	pem, err := os.ReadFile(d.tlsFile)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, d.Addr().String())
		},
	}
	defer transport.CloseIdleConnections()
	for _, host := range []string{"8000-abc.sbx.test", "sbx.test", "localhost"} {
		response, err := (&http.Client{Transport: transport}).Get("https://" + host + "/health") //nolint:noctx // the test's own daemon answers
		require.NoError(t, err, host)
		require.Equal(t, 2, response.ProtoMajor)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		if host[0] == '8' {
			require.Equal(t, "traffic /health abc:8000 nobody's", string(body))
		}
	}
	_, err = (&http.Client{Transport: transport}).Get("https://other.test/health") //nolint:noctx,bodyclose // it fails
	require.ErrorContains(t, err, "certificate is valid for")
	info, err := os.Stat(strings.TrimSuffix(d.tlsFile, ".crt") + ".key")
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	require.True(t, lasting(d.tlsFile, strings.TrimSuffix(d.tlsFile, ".crt")+".key"), "the next start takes it again")
}

func TestAddressThatIsTakenIsNamed(t *testing.T) {
	d := startDaemon(t, Config{}, Dialects{})
	_, err := New(testContext(t), d.Fleet().Engine(), Config{Listen: d.Addr().String(), DataDir: t.TempDir()})
	var problem *OptionError
	require.ErrorAs(t, err, &problem)
	require.Contains(t, err.Error(), "name another address")
}
