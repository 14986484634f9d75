package interpreter_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type contextBody struct {
	ID       string `json:"id"`
	Language string `json:"language"`
	Dir      string `json:"cwd"`
}

func (s *service) contexts() (list []contextBody) {
	s.t.Helper()
	status, body := s.ask(http.MethodGet, "/contexts", "")
	require.Equal(s.t, http.StatusOK, status)
	require.NoError(s.t, json.Unmarshal([]byte(body), &list))
	return list
}

func (s *service) first() contextBody { return s.contexts()[0] }

func (s *service) newest() contextBody {
	list := s.contexts()
	return list[len(list)-1]
}

func (s *service) create(body string) (c contextBody) {
	s.t.Helper()
	status, answer := s.ask(http.MethodPost, "/contexts", body)
	require.Equal(s.t, http.StatusOK, status, answer)
	require.NoError(s.t, json.Unmarshal([]byte(answer), &c))
	return c
}

func TestContexts(t *testing.T) {
	withService(t, nil, func(t *testing.T, s *service) {
		workspace := s.member.Sandbox().Info().Workspace
		standing := s.contexts()
		require.Equal(t, "python", standing[0].Language)
		require.Equal(t, workspace, standing[0].Dir)

		c := s.create(`{"cwd": "/home/user/sub", "language": null}`)
		require.Equal(t, contextBody{c.ID, "python", "/home/user/sub"}, c)
		require.Equal(t, c.ID, s.newest().ID)
		in := func(id, code string) []frame { return s.run(map[string]any{"code": code, "context_id": id}) }
		require.Equal(t, workspace+"/sub", text(t, in(c.ID, "import os; x = 1; os.getcwd()")))
		require.Equal(t, "NameError", s.code("x")[1]["name"], "contexts are apart")
		require.Equal(t, "/", text(t, in(s.create(`{"cwd": "/"}`).ID, "import os; os.getcwd()")))
		lost := s.create(`{"cwd": "/nowhere/at/all", "language": " Python3 "}`)
		require.Equal(t, contextBody{lost.ID, "python", "/nowhere/at/all"}, lost)
		require.Equal(t, workspace, text(t, in(lost.ID, "import os; os.getcwd()")))

		status, body := s.ask(http.MethodPost, "/contexts/"+c.ID+"/restart", "")
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "null", body)
		require.Equal(t, workspace+"/sub o", text(t, in(c.ID, "import os; os.getcwd() + ' ' + os.environ['OUTER']")))
		require.Equal(t, "NameError", in(c.ID, "x")[1]["name"])

		status, body = s.ask(http.MethodDelete, "//contexts/"+c.ID+"?source=ci", "")
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "null", body)
		for _, request := range []struct{ method, path, body string }{
			{http.MethodDelete, "/contexts/" + c.ID, ""},
			{http.MethodPost, "/contexts/" + c.ID + "/restart", ""},
			{http.MethodPost, "//execute", `{"code": "1", "context_id": "` + c.ID + `"}`},
		} {
			status, body = s.ask(request.method, request.path, request.body)
			require.Equal(t, http.StatusNotFound, status)
			require.Equal(t, "Context "+c.ID+" not found", strings.TrimSpace(body))
		}
	})
}

func TestRequestsThatAreWrong(t *testing.T) {
	withService(t, nil, func(t *testing.T, s *service) {
		standing := s.contexts()
		for _, c := range []struct {
			method, path, body string
			status             int
			says               string
		}{
			{http.MethodPost, "/execute", `{"code": "1", "context_id": "a", "language": "python"}`, 400, "Only one of context_id or language can be provided"},
			{http.MethodPost, "/execute", `{"code": 1}`, 422, "code"},
			{http.MethodPost, "/execute", `{"language": "python"}`, 422, "code is missing"},
			{http.MethodPost, "/execute", `{"code": "1", "env_vars": {"A": 1}}`, 422, "env_vars"},
			{http.MethodPost, "/execute", ``, 422, "code is missing"},
			{http.MethodPost, "/execute", `{`, 422, "not as it should be"},
			{http.MethodPost, "/execute", `{"code": "1", "language": "cobol"}`, 404, `kernel "cobol" not found`},
			{http.MethodPost, "/execute", `{"code": "` + strings.Repeat("x", 17<<20) + `"}`, 413, "16 MiB"},
			{http.MethodPost, "/contexts", `{"language": "cobol"}`, 404, `kernel "cobol" not found`},
			{http.MethodPost, "/contexts", `{"cwd": "a\u0000b"}`, 422, "NUL"},
			{http.MethodGet, "/execute", ``, 405, ""},
			{http.MethodGet, "/nothing", ``, 404, ""},
			{http.MethodGet, "/health", ``, 200, `"OK"`},
		} {
			status, body := s.ask(c.method, c.path, c.body)
			require.Equal(t, c.status, status, "%s %s", c.path, body)
			require.Contains(t, body, c.says)
		}
		response := s.send(t.Context(), http.MethodPost, "/execute", `{"code": "1"}`, http.Header{"X-Access-Token": {"another's"}})
		_ = response.Body.Close()
		require.Equal(t, http.StatusUnauthorized, response.StatusCode)
		response = s.send(t.Context(), http.MethodOptions, "/execute", "", nil)
		_ = response.Body.Close()
		require.Equal(t, "*", response.Header.Get("Access-Control-Allow-Headers"))
		require.Len(t, s.contexts(), len(standing), "none came of it")
	})
}
