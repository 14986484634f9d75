package envd_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/dockertest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/envd/envdpb"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// world is a fleet with one sandbox, and a server for it.
type world struct {
	t       *testing.T
	fleet   *fleet.Fleet
	member  *fleet.Member
	handler *envd.Handler
	url     string
	home    string // where relative paths lead
	docker  bool
	token   string // that requests carry; empty for none
	user    string // by basic authentication; empty for none
	binary  bool   // clients of the services use the binary codec
}

// onLocal runs a test against a sandbox of the local backend.
func onLocal(t *testing.T, test func(w *world)) {
	t.Helper()
	base := filepath.Join(t.TempDir(), "base")
	runtime, err := os.MkdirTemp("", "dse") // a short path: sockets live there
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	on(t, sandbox.Config{
		DefaultBackend: "local", Python: backendtest.Pythons(t)[0], WorkspaceBaseDir: base, RuntimeDir: runtime,
		NoForkServer: true, MaxSpares: sandbox.NoSpares,
	}, test)
}

// onDocker runs a test against a container of the profile compatible.
func onDocker(t *testing.T, test func(w *world)) { onProfile(t, backends.ProfileCompatible, test) }

func onProfile(t *testing.T, profile backends.Profile, test func(w *world)) {
	t.Helper()
	on(t, sandbox.Config{
		DefaultBackend: "docker", AgentBinary: dockertest.Config(t).Agent, Profile: profile, NoForkServer: true, MaxSpares: sandbox.NoSpares,
	}, test)
}

// onBoth runs a test on either backend.
func onBoth(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Run("local", func(t *testing.T) { onLocal(t, test) })
	t.Run("docker", func(t *testing.T) { onDocker(t, test) })
}

func on(t *testing.T, config sandbox.Config, test func(w *world)) {
	t.Helper()
	ctx := testContext(t)
	engine, err := sandbox.Open(ctx, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close(context.Background())) })
	f, err := fleet.New(engine, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close(context.Background())) })
	m, err := f.Create(ctx, &fleet.Owner{Name: "ada"}, &fleet.Spec{Lazy: true, Env: map[string]string{"OWN": "x"}})
	require.NoError(t, err)
	w := &world{
		t: t, fleet: f, member: m, handler: envd.New(f), docker: config.DefaultBackend == "docker", token: m.AccessToken(),
		home: m.Sandbox().Info().Workspace,
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.handler.ServeHTTP(out, r.WithContext(fleet.With(r.Context(), m)))
	}))
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	w.url = server.URL
	test(w)
}

// as is the same world for requests that another user does.
func (w *world) as(user string) *world {
	other := *w
	other.user = user
	return &other
}

// without is the same world for requests without a token.
func (w *world) without() *world {
	other := *w
	other.token = ""
	return &other
}

func (w *world) header() http.Header {
	header := http.Header{}
	if w.token != "" {
		header.Set("X-Access-Token", w.token)
	}
	if w.user != "" {
		r := http.Request{Header: header}
		r.SetBasicAuth(w.user, "")
	}
	return header
}

// answer is what a plain request was answered with.
type answer struct {
	*http.Response
	body string
}

// do sends a plain request; header is pairs.
func (w *world) do(method, path string, body io.Reader, header ...string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(testContext(w.t), method, w.url+path, body)
	require.NoError(w.t, err)
	r.Header = w.header()
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(w.t, err)
	data, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, response.Body.Close())
	return answer{response, string(data)}
}

func (w *world) get(path string, header ...string) answer {
	w.t.Helper()
	return w.do(http.MethodGet, path, nil, header...)
}

// put stores a file by a plain request.
func (w *world) put(path, text string) {
	w.t.Helper()
	got := w.do(http.MethodPost, "/files?path="+path, strings.NewReader(text), "Content-Type", "application/octet-stream")
	require.Equal(w.t, http.StatusOK, got.StatusCode, got.body)
}

// authorized sets the headers of calls.
type authorized struct{ w *world }

func (a authorized) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		a.set(r.Header())
		return next(ctx, r)
	}
}

func (a authorized) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		a.set(conn.RequestHeader())
		return conn
	}
}

func (a authorized) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func (a authorized) set(header http.Header) {
	for name, values := range a.w.header() {
		if header.Get(name) == "" {
			header[name] = values
		}
	}
}

func (w *world) options() []connect.ClientOption {
	options := []connect.ClientOption{connect.WithInterceptors(authorized{w})}
	if !w.binary {
		options = append(options, connect.WithProtoJSON())
	}
	return options
}

func (w *world) files() envdpb.FilesystemClient {
	return envdpb.NewFilesystemClient(http.DefaultClient, w.url, w.options()...)
}

func (w *world) processes() envdpb.ProcessClient {
	return envdpb.NewProcessClient(http.DefaultClient, w.url, w.options()...)
}

// codeIs asks for the code of an error of a call.
func codeIs(t *testing.T, code connect.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, connect.CodeOf(err), err.Error())
}

// pieces are what a command has told on a stream.
type pieces struct {
	pid                 uint32
	stdout, stderr, pty string
	keepalives          int
	end                 *envdpb.ProcessEvent_EndEvent
}

func (p *pieces) add(t *testing.T, e *envdpb.ProcessEvent) {
	t.Helper()
	switch event := e.GetEvent().(type) {
	case *envdpb.ProcessEvent_Start:
		require.Zero(t, p.pid)
		p.pid = event.Start.Pid
	case *envdpb.ProcessEvent_Data:
		require.NotZero(t, p.pid, "start comes first")
		p.stdout += string(event.Data.GetStdout())
		p.stderr += string(event.Data.GetStderr())
		p.pty += string(event.Data.GetPty())
	case *envdpb.ProcessEvent_Keepalive:
		p.keepalives++
	case *envdpb.ProcessEvent_End:
		require.Nil(t, p.end)
		p.end = event.End
	}
}

// started is a command on a stream.
type started struct {
	t      *testing.T
	stream *connect.ServerStreamForClient[envdpb.StartResponse]
	pieces
}

func (w *world) start(ctx context.Context, request *envdpb.StartRequest) *started {
	w.t.Helper()
	stream, err := w.processes().Start(ctx, connect.NewRequest(request))
	require.NoError(w.t, err)
	s := &started{t: w.t, stream: stream}
	w.t.Cleanup(func() { _ = stream.Close() })
	return s
}

// next takes one event; false at the end.
func (s *started) next() bool {
	s.t.Helper()
	if !s.stream.Receive() {
		return false
	}
	s.add(s.t, s.stream.Msg().Event)
	return true
}

// until takes events until something holds.
func (s *started) until(holds func() bool) {
	s.t.Helper()
	for !holds() {
		require.True(s.t, s.next(), "%v: %+v", s.stream.Err(), s.pieces)
	}
}

// all takes the events that are left, which end well.
func (s *started) all() {
	s.t.Helper()
	for s.next() {
	}
	require.NoError(s.t, s.stream.Err())
	require.NotNil(s.t, s.end)
	require.NoError(s.t, s.stream.Close())
}

// line is what clients send to have a line of shell run.
func line(text string) *envdpb.StartRequest {
	no := false
	return &envdpb.StartRequest{Process: &envdpb.ProcessConfig{Cmd: "/bin/bash", Args: []string{"-l", "-c", text}}, Stdin: &no}
}

// run runs a line of shell to its end.
func (w *world) run(text string) pieces {
	w.t.Helper()
	s := w.start(testContext(w.t), line(text))
	s.all()
	return s.pieces
}
