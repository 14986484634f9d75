package traffic_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/traffic"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testTimeout = 3 * time.Minute // of each test; nothing here comes near it
	ownersKey   = "e2b_0123456789abcdef"
)

// street is a daemon's sandbox traffic, with services that only tell that they were asked.
type street struct {
	*testing.T
	ctx    context.Context
	server *httptest.Server
	fleet  *fleet.Fleet
	owner  *fleet.Owner
	began  chan struct{} // envd's /hang has begun
}

func openStreet(t *testing.T) *street {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	runtime, err := os.MkdirTemp("", "dst") // a short path: sockets live there
	require.NoError(t, err)
	engine, err := sandbox.Open(ctx, sandbox.Config{
		DefaultBackend: "local", Python: backendtest.Pythons(t)[0], WorkspaceBaseDir: filepath.Join(t.TempDir(), "base"), RuntimeDir: runtime,
		MaxSpares: sandbox.NoSpares, NoForkServer: true,
	})
	require.NoError(t, err)
	f, err := fleet.New(engine, nil)
	require.NoError(t, err)
	s := &street{T: t, ctx: ctx, fleet: f, owner: &fleet.Owner{Name: "ada"}, began: make(chan struct{}, 1)}
	keys, err := access.New(access.Key{Secret: ownersKey, Owner: s.owner})
	require.NoError(t, err)
	named := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hang" {
				w.WriteHeader(http.StatusOK)
				_ = http.NewResponseController(w).Flush()
				s.began <- struct{}{}
				<-r.Context().Done()
			}
			_, _ = io.WriteString(w, name)
		}
	}
	handler := traffic.New(f, keys, named("envd"), named("interpreter"))
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, route(f, r))
	}))
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		s.server.Close()
		handler.Close()
		require.NoError(t, f.Close(context.Background()))
		require.NoError(t, engine.Close(context.Background()))
		require.NoError(t, os.RemoveAll(runtime))
	})
	return s
}

// route does what the server does for requests by headers.
func route(f *fleet.Fleet, r *http.Request) *http.Request {
	id := r.Header.Get("E2b-Sandbox-Id")
	if id == "" {
		return r
	}
	port, _ := strconv.Atoi(r.Header.Get("E2b-Sandbox-Port"))
	ctx := fleet.WithTarget(r.Context(), fleet.Target{ID: id, Port: port})
	if m, err := f.Find(id); err == nil {
		ctx = fleet.With(ctx, m)
	}
	return r.WithContext(ctx)
}

func (s *street) create(spec fleet.Spec) *fleet.Member {
	s.Helper()
	spec.Lazy = true
	m, err := s.fleet.Create(s.ctx, s.owner, &spec)
	require.NoError(s, err)
	return m
}

// serve starts a Python program in a sandbox that prints the port it listens on.
func (s *street) serve(m *fleet.Member, program string) int {
	s.Helper()
	require.NoError(s, m.Sandbox().Files().WriteString(s.ctx, "server.py", program))
	c, err := m.Sandbox().Commands().Start(s.ctx, "exec python -u server.py", nil)
	require.NoError(s, err)
	output := c.Output(true)
	first, err := output.Next(s.ctx)
	require.NoError(s, err)
	var port int
	_, err = fmt.Sscan(string(first.Data), &port)
	require.NoError(s, err, "%s", first.Data)
	return port
}

// request makes a request for a port of a sandbox.
func (s *street) request(method, path, id string, port int, body io.Reader, header ...string) *http.Request {
	s.Helper()
	r, err := http.NewRequestWithContext(s.ctx, method, s.server.URL+path, body)
	require.NoError(s, err)
	r.Header.Set("E2b-Sandbox-Id", id)
	r.Header.Set("E2b-Sandbox-Port", strconv.Itoa(port))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func (s *street) do(r *http.Request) (int, http.Header, string) {
	s.Helper()
	answer, err := http.DefaultClient.Do(r)
	require.NoError(s, err)
	data, err := io.ReadAll(answer.Body)
	require.NoError(s, err)
	require.NoError(s, answer.Body.Close())
	return answer.StatusCode, answer.Header, string(data)
}

func (s *street) get(path, id string, port int, header ...string) (int, http.Header, string) {
	s.Helper()
	return s.do(s.request(http.MethodGet, path, id, port, nil, header...))
}

// mirror is a server that answers what it was asked.
const mirror = `
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = json.dumps({"path": self.path, "headers": dict(self.headers), "body": body.decode(), "method": self.command}).encode()
        self.send_response(203)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Own", "yes")
        self.end_headers()
        self.wfile.write(answer)
    do_POST = do_PUT = do_GET
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
`

func TestRefusals(t *testing.T) {
	s := openStreet(t)
	m := s.create(fleet.Spec{})
	port := s.serve(m, mirror)
	for name, want := range map[string]struct {
		id     string
		port   int
		status int
		body   string
	}{
		"unknown":      {"nosuchsandbox", 80, 502, `{"sandboxId":"nosuchsandbox","message":"The sandbox was not found","code":502}`},
		"unknown envd": {"nosuchsandbox", 49983, 502, `{"sandboxId":"nosuchsandbox","message":"The sandbox was not found","code":502}`},
	} {
		status, header, body := s.get("/x", want.id, want.port)
		require.Equal(t, want.status, status, name)
		require.JSONEq(t, want.body, body, name)
		require.Equal(t, "application/json", header.Get("Content-Type"))
	}
	token := m.TrafficToken()
	status, _, body := s.get("/x", m.ID(), 1, traffic.TokenHeader, token)
	require.Equal(t, 502, status)
	require.JSONEq(t, fmt.Sprintf(`{"sandboxId":%q,"message":"The sandbox is running but port is not open","port":1,"code":502}`, m.ID()), body)

	for _, wrong := range []string{"", "x", token + "x", strings.ToUpper(token) + " "} {
		for _, p := range []int{port, 49999, 1} {
			status, _, body = s.get("/x", m.ID(), p, traffic.TokenHeader, wrong)
			require.Equal(t, 403, status)
			require.Contains(t, body, `"code":403`)
		}
	}
	status, _, body = s.get("/x", m.ID(), 49983)
	require.Equal(t, 200, status)
	require.Equal(t, "envd", body, "it asks for a token of its own")
	_, _, body = s.get("/x", m.ID(), 49999, traffic.TokenHeader, token)
	require.Equal(t, "interpreter", body)
	status, _, _ = s.get("/x", m.ID(), port, traffic.TokenHeader, token)
	require.Equal(t, 203, status)

	status, header, body := s.get("/x", "nosuchsandbox", 80, "Accept", "text/html,*/*")
	require.Equal(t, 502, status)
	require.Contains(t, header.Get("Content-Type"), "text/html")
	require.Contains(t, body, "<h1>The sandbox was not found</h1>")
	answer, err := http.Get(s.server.URL)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, 400, answer.StatusCode)
}

func TestPausedSandboxes(t *testing.T) {
	s := openStreet(t)
	asleep := s.create(fleet.Spec{Public: true})
	port := s.serve(asleep, mirror)
	require.NoError(t, asleep.Pause(s.ctx))
	for _, p := range []int{port, 49983, 49999} {
		status, _, body := s.get("/health", asleep.ID(), p)
		require.Equal(t, 502, status)
		require.Contains(t, body, "was not found")
	}
	require.NoError(t, asleep.Resume(s.ctx, 0))
	status, _, _ := s.get("/", asleep.ID(), port)
	require.Equal(t, 203, status)

	wakes := s.create(fleet.Spec{Public: true, AutoResume: true, OnTimeout: fleet.Pause})
	port = s.serve(wakes, mirror)
	require.NoError(t, wakes.Pause(s.ctx))
	status, _, _ = s.get("/", wakes.ID(), port)
	require.Equal(t, 203, status)
	require.Equal(t, fleet.Running, wakes.Info().State)
}

func TestRequestsArePassedOn(t *testing.T) {
	s := openStreet(t)
	m := s.create(fleet.Spec{Public: true})
	port := s.serve(m, mirror)
	r := s.request("POST", "/a//%2Fb/../c?x=1;y&%zz", m.ID(), port, strings.NewReader("the body"),
		"X-Api-Key", ownersKey, "Authorization", "Bearer "+ownersKey, "Cookie", access.Cookie+"="+ownersKey+"; own=1", "X-Own", "passed",
		traffic.TokenHeader, "whatever")
	status, header, body := s.do(r)
	require.Equal(t, 203, status)
	require.Equal(t, "yes", header.Get("X-Own"))
	require.NotContains(t, body, ownersKey, "code in the sandbox must not have it")
	var asked struct {
		Path, Body, Method string
		Headers            map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(body), &asked))
	require.Equal(t, "POST", asked.Method)
	require.Equal(t, "/a//%2Fb/../c?x=1;y&%zz", asked.Path)
	require.Equal(t, "the body", asked.Body)
	require.Equal(t, "passed", asked.Headers["X-Own"])
	require.Equal(t, "own=1", asked.Headers["Cookie"])
	require.Equal(t, strings.TrimPrefix(s.server.URL, "http://"), asked.Headers["Host"])
	require.NotEmpty(t, asked.Headers["X-Forwarded-For"])
	for name := range asked.Headers {
		require.NotContains(t, strings.ToLower(name), "e2b")
	}
	_, _, body = s.do(s.request("GET", "/", m.ID(), port, nil, "X-Api-Key", "a key of the server's own", "Authorization", "Bearer another"))
	require.Contains(t, body, "a key of the server's own")
	require.Contains(t, body, "Bearer another")
	_, _, body = s.get("/q?a=1&token="+ownersKey, m.ID(), port)
	require.NoError(t, json.Unmarshal([]byte(body), &asked))
	require.Equal(t, "/q?a=1", asked.Path)
	_, _, body = s.get("/q?token=own", m.ID(), port)
	require.Contains(t, body, "/q?token=own")

	masked := s.create(fleet.Spec{Public: true, Network: &fleet.Network{MaskHost: "localhost:${PORT}"}})
	port = s.serve(masked, mirror)
	_, _, body = s.get("/", masked.ID(), port)
	require.NoError(t, json.Unmarshal([]byte(body), &asked))
	require.Equal(t, fmt.Sprint("localhost:", port), asked.Headers["Host"])
}

// TestPortsOfTheMachineAreNoSandboxes asks a sandbox for a port that this test itself listens on.
func TestPortsOfTheMachineAreNoSandboxes(t *testing.T) {
	s := openStreet(t)
	m := s.create(fleet.Spec{Public: true})
	s.serve(m, mirror) // something runs in it
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was reached") }))
	defer outside.Close()
	status, _, body := s.get("/", m.ID(), outside.Listener.Addr().(*net.TCPAddr).Port)
	require.Equal(t, 502, status)
	require.Contains(t, body, "port is not open")
	other := s.create(fleet.Spec{Public: true})
	port := s.serve(other, mirror)
	status, _, _ = s.get("/", m.ID(), port)
	require.Equal(t, 502, status, "another sandbox's")
	status, _, _ = s.get("/", other.ID(), port)
	require.Equal(t, 203, status)
}

// slow is a server that begins an answer, says when it was asked, and never ends; nonsense is one that speaks no HTTP.
const (
	slow = `
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
kept = []
while True:
    conn, _ = listener.accept()
    conn.recv(65536)
    conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
    kept.append(conn)
`
	nonsense = `
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    conn, _ = listener.accept()
    conn.recv(65536)
    conn.sendall(b"220 mail ready\r\n")
    conn.close()
`
)

func TestServersThatAreNone(t *testing.T) {
	s := openStreet(t)
	m := s.create(fleet.Spec{Public: true})
	port := s.serve(m, nonsense)
	status, _, body := s.get("/", m.ID(), port)
	require.Equal(t, 502, status)
	require.Contains(t, body, "speaks no HTTP")
}

// TestAKillCutsRequests has requests under way of every kind when their sandbox is killed.
func TestAKillCutsRequests(t *testing.T) {
	s := openStreet(t)
	m := s.create(fleet.Spec{Public: true})
	port := s.serve(m, slow)
	begun := func(r *http.Request) *http.Response {
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		return answer
	}
	proxied := begun(s.request("GET", "/", m.ID(), port, nil))
	_, err := io.ReadFull(proxied.Body, make([]byte, 5))
	require.NoError(t, err)
	own := begun(s.request("GET", "/hang", m.ID(), 49983, nil))
	<-s.began
	sending, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	go func() { _, _ = io.WriteString(feed, "a body that never ends") }()
	answered := begun(s.request("POST", "/", m.ID(), port, sending)) // while it is still being sent

	require.NoError(t, m.Kill(s.ctx))
	for _, answer := range []*http.Response{proxied, own, answered} {
		_, err := io.ReadAll(answer.Body)
		requireCut(t, err)
		require.NoError(t, answer.Body.Close())
	}
	status, _, body := s.get("/", m.ID(), port)
	require.Equal(t, 502, status)
	require.Contains(t, body, "was not found")
}

// requireCut requires the error of an answer that has come to no regular end.
func requireCut(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ECONNRESET) { // by a server that was still being sent something
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

// hasty is a server that answers without waiting for what it is sent: all of an answer, or for /half the half of one.
const hasty = `
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    conn, _ = listener.accept()
    half = b"/half" in conn.recv(65536)
    conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n" + (b"" if half else b"0\r\n\r\n"))
    conn.close()
`

func TestAnswersEndThoughTheRequestDoesNot(t *testing.T) {
	s := openStreet(t)
	m := s.create(fleet.Spec{Public: true})
	port := s.serve(m, hasty)
	for _, path := range []string{"/", "/half"} {
		sending, feed := io.Pipe()
		go func() { _, _ = io.WriteString(feed, "a body that never ends") }()
		answer, err := http.DefaultClient.Do(s.request("POST", path, m.ID(), port, sending))
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		if path == "/" {
			require.NoError(t, err)
		} else {
			requireCut(t, err)
		}
		require.Equal(t, "begin", string(body))
		require.NoError(t, answer.Body.Close())
		require.NoError(t, feed.Close())
	}
}

// echo is a server that takes any request for the upgrade to a websocket, and sends back frames as they come (they are masked, and to be
// sent unmasked).
const echo = `
import base64, hashlib, socket, threading
def exactly(conn, n):
    data = b""
    while len(data) < n:
        part = conn.recv(n - len(data))
        if not part: raise EOFError
        data += part
    return data
def serve(conn):
    head = b""
    while b"\r\n\r\n" not in head: head += conn.recv(1)
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    lines = {name.lower(): value for name, value in lines.items()}
    accept = base64.b64encode(hashlib.sha1(lines[b"sec-websocket-key"] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    try:
        while True:
            first, length = exactly(conn, 2)
            mask = exactly(conn, 4)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(exactly(conn, length & 127)))
            conn.sendall(bytes([first, len(data)]) + data)
    except EOFError: pass
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True: threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
`

func TestWebsockets(t *testing.T) {
	s := openStreet(t)
	m := s.create(fleet.Spec{})
	port := s.serve(m, echo)
	dial := func(token string) (*websocket.Conn, error) {
		header := s.request("GET", "/", m.ID(), port, nil, traffic.TokenHeader, token).Header
		conn, answer, err := websocket.DefaultDialer.DialContext(s.ctx, "ws"+strings.TrimPrefix(s.server.URL, "http")+"/socket", header)
		if answer != nil {
			_ = answer.Body.Close()
		}
		return conn, err
	}
	_, err := dial("wrong")
	require.ErrorIs(t, err, websocket.ErrBadHandshake)
	conn, err := dial(m.TrafficToken())
	require.NoError(t, err)
	for _, text := range []string{"one", "two", strings.Repeat("x", 100)} {
		require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(text)))
		_, data, err := conn.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, text, string(data))
	}
	require.NoError(t, m.Kill(s.ctx))
	_, _, err = conn.ReadMessage()
	require.Error(t, err)
	require.NoError(t, conn.Close())
}

// TestAnswersComeAsTheyAreMade reads an answer that is made in parts.
func TestAnswersComeAsTheyAreMade(t *testing.T) {
	s := openStreet(t)
	m := s.create(fleet.Spec{Public: true})
	port := s.serve(m, slow)
	answer, err := http.DefaultClient.Do(s.request("GET", "/", m.ID(), port, nil))
	require.NoError(t, err)
	begin := make([]byte, 5)
	_, err = io.ReadFull(bufio.NewReader(answer.Body), begin)
	require.NoError(t, err, "though the rest never comes")
	require.Equal(t, "begin", string(begin))
	require.NoError(t, answer.Body.Close())
}
