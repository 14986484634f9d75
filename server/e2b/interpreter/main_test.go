package interpreter_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/e2b/interpreter"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds each test's work; nothing here comes near it.
const testTimeout = 3 * time.Minute

// service is the API of one sandbox.
type service struct {
	t      *testing.T
	url    string
	client *http.Client
	member *fleet.Member
}

// serve starts the API for a member, and ends both with the test.
func serve(t *testing.T, engine *sandbox.Engine, opts *interpreter.Options) *service {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	f, err := fleet.New(engine, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close(context.Background())) })
	member, err := f.Create(ctx, &fleet.Owner{Name: "test"}, &fleet.Spec{Public: true, Timeout: time.Hour, Env: map[string]string{"OUTER": "o"}})
	require.NoError(t, err)
	handler := interpreter.New(opts)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(fleet.With(r.Context(), member)))
	}))
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &service{t: t, url: server.URL, client: &http.Client{Transport: transport}, member: member}
}

// openEngine opens an engine of local sandboxes.
func openEngine(t *testing.T, python *agent.Python) *sandbox.Engine {
	t.Helper()
	runtime, err := os.MkdirTemp("", "dsi") // a short path, for sockets
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	engine, err := sandbox.Open(context.Background(), sandbox.Config{
		DefaultBackend: "local", Python: python.Executable, WorkspaceBaseDir: filepath.Join(t.TempDir(), "base"), RuntimeDir: runtime,
		NoForkServer: true, MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close(context.Background())) })
	return engine
}

// withService runs a test on a sandbox of each Python.
func withService(t *testing.T, opts *interpreter.Options, test func(t *testing.T, s *service)) {
	t.Helper()
	backendtest.EachPython(t, func(t *testing.T, python *agent.Python) { test(t, serve(t, openEngine(t, python), opts)) })
}

// frame is a line of the stream.
type frame map[string]any

func (f frame) kind() string { return f["type"].(string) }

// ask sends a request and returns the status and the body.
func (s *service) ask(method, path, body string) (int, string) {
	s.t.Helper()
	response := s.send(context.Background(), method, path, body, nil)
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return response.StatusCode, string(data)
}

func (s *service) send(ctx context.Context, method, path, body string, header http.Header) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader([]byte(body)))
	require.NoError(s.t, err)
	for name := range header {
		r.Header.Set(name, header.Get(name))
	}
	response, err := s.client.Do(r)
	require.NoError(s.t, err)
	return response
}

// start begins a run; the caller closes the answer's body.
func (s *service) start(ctx context.Context, request map[string]any) (*http.Response, *bufio.Reader) {
	s.t.Helper()
	body, err := json.Marshal(request)
	require.NoError(s.t, err)
	response := s.send(ctx, http.MethodPost, "/execute", string(body), nil)
	return response, bufio.NewReaderSize(response.Body, 1<<20)
}

// next reads a frame; io.EOF after the last.
func next(r *bufio.Reader) (frame, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var f frame
	return f, json.Unmarshal(line, &f)
}

// run runs code and returns the frames of its stream, which ends as it should.
func (s *service) run(request map[string]any) []frame {
	s.t.Helper()
	response, lines := s.start(context.Background(), request)
	defer func() { _ = response.Body.Close() }()
	require.Equal(s.t, http.StatusOK, response.StatusCode)
	var frames []frame
	for {
		f, err := next(lines)
		if err == io.EOF { //nolint:errorlint // it comes as it is
			break
		}
		require.NoError(s.t, err)
		if f.kind() != "keepalive" {
			frames = append(frames, f)
		}
	}
	require.NotEmpty(s.t, frames)
	require.Equal(s.t, "end_of_execution", frames[len(frames)-1].kind())
	return frames[:len(frames)-1]
}

// code runs Python code.
func (s *service) code(code string) []frame {
	s.t.Helper()
	return s.run(map[string]any{"code": code})
}

// text is the value of the last expression.
func text(t *testing.T, frames []frame) string {
	t.Helper()
	for _, f := range frames {
		if f.kind() == "result" && f["is_main_result"] == true {
			return f["text"].(string)
		}
	}
	require.Fail(t, "no main result", "%v", frames)
	return ""
}

func kinds(frames []frame) []string {
	var out []string
	for _, f := range frames {
		out = append(out, f.kind())
	}
	return out
}
