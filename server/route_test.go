package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestRequestsForSandboxesAreKnownByHeadersThenHost(t *testing.T) {
	for name, test := range map[string]struct {
		host, id, port string
		want           fleet.Target // of no id: it is for none
		wrong          string
	}{
		"header":               {id: "abc1", port: "49999", want: fleet.Target{ID: "abc1", Port: 49999}},
		"header without port":  {id: "abc1", want: fleet.Target{ID: "abc1", Port: EnvdPort}},
		"client id behind it":  {id: "abc1-client", want: fleet.Target{ID: "abc1", Port: EnvdPort}},
		"header before host":   {host: "80-other.example.com", id: "abc1", port: "8000", want: fleet.Target{ID: "abc1", Port: 8000}},
		"host":                 {host: "8000-abc1.example.com", want: fleet.Target{ID: "abc1", Port: 8000}},
		"host and port":        {host: "8000-abc1.example.com:3000", want: fleet.Target{ID: "abc1", Port: 8000}},
		"host in capitals":     {host: "8000-ABC1.Example.com", want: fleet.Target{ID: "abc1", Port: 8000}},
		"a label":              {host: "8000-abc1:3000", want: fleet.Target{ID: "abc1", Port: 8000}},
		"daemon":               {host: "127.0.0.1:3000"},
		"daemon by IPv6":       {host: "[::1]:3000"},
		"other host":           {host: "a-8000.example.com"},
		"second label":         {host: "www.8000-abc1.example.com"},
		"three parts":          {host: "8000-abc-1.example.com"},
		"port 0":               {host: "0-abc1.example.com", wrong: "stands for no port"},
		"port too high":        {host: "65536-abc1.example.com", wrong: "stands for no port"},
		"port of 30 digits":    {host: strings.Repeat("9", 30) + "-abc1.example.com", wrong: "stands for no port"},
		"header port no port":  {id: "abc1", port: "http", wrong: "is no port"},
		"header port negative": {id: "abc1", port: "-1", wrong: "is no port"},
		"header port signed":   {id: "abc1", port: "+80", wrong: "is no port"},
		"id in capitals":       {id: "ABC", wrong: "is no id"},
		"id of a path":         {id: "../abc", wrong: "is no id"},
		"only a dash":          {id: "-", wrong: "is no id"},
		"id without an end":    {id: strings.Repeat("a", 1000), wrong: "is no id"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/health", nil)
		r.Host = test.host
		if test.id != "" {
			r.Header.Set(SandboxHeader, test.id)
		}
		if test.port != "" {
			r.Header.Set(PortHeader, test.port)
		}
		got, ok, err := targetOf(r)
		if test.wrong != "" {
			require.ErrorContains(t, err, test.wrong, name)
			require.False(t, ok)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, test.want.ID != "", ok, name)
		require.Equal(t, test.want, got, name)
	}
}

func TestPathsTellTheDialects(t *testing.T) {
	for path, want := range map[string]class{
		"/": classPage, "/ui/": classPage, "/ui/app.js": classPage, "/uix": classControl, "/favicon.ico": classPage,
		"/health": classDaemon, "/metrics": classDaemon, "/openapi.yaml": classDaemon,
		"/api": classJupyter, "/api/kernels": classJupyter, "/apis": classControl,
		"/sandboxes": classControl, "/v2/sandboxes": classControl, "/sandboxes/abc": classControl, "/sandboxes/metrics": classControl,
		"/sandboxes/abc/events": classBridge, "/sandboxes/abc/workspace/a/b": classBridge, "/sandboxes/abc/contexts/c/libraries/x": classBridge,
		"/sandboxes/events": classControl, "/sandboxes/abc/pause": classControl,
		"/sandboxes/abc/eventsx": classControl, "/sandboxes/a/b/events": classControl,
		"/templates/a%2Fb%3Ac": classControl, "/files": classSigned, "/files/": classControl, "/nonsense": classControl,
	} {
		require.Equal(t, want, classOf(httptest.NewRequest(http.MethodGet, path, nil)), path)
	}
	r := httptest.NewRequest(http.MethodGet, "/files?path=a", nil)
	r.Header.Set("X-API-KEY", "x")
	require.Equal(t, classControl, classOf(r))
}

func TestSlashesTooManyDoNotMatter(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "http://host//templates///ns%2Fsnap%3Adefault//?a=//", nil)
	singleSlashes(r)
	require.Equal(t, "/templates/ns%2Fsnap%3Adefault/", r.URL.EscapedPath())
	require.Equal(t, "a=//", r.URL.RawQuery)
}

func FuzzTarget(f *testing.F) {
	for _, seed := range [][3]string{
		{"8000-abc.example.com:1", "", ""}, {"", "abc", "80"}, {"0-a", "", ""}, {"[::1]:3000", "", ""}, {"٣-a.b", "a\x00", "٣"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, host, id, port string) {
		r := &http.Request{Host: host, Header: http.Header{SandboxHeader: {id}, PortHeader: {port}}}
		target, ok, err := targetOf(r)
		if !ok || err != nil {
			return
		}
		require.Regexp(t, `^[a-z0-9]{1,64}$`, target.ID)
		require.Greater(t, target.Port, 0)
		require.Less(t, target.Port, 65536)
		again, ok, err := targetOf(&http.Request{Host: fmt.Sprintf("%d-%s.x", target.Port, target.ID), Header: http.Header{}})
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, target, again)
	})
}

func TestSandboxOfAPathIsKnownForTheLog(t *testing.T) {
	for path, id := range map[string]string{
		"/sandboxes/abc1": "abc1", "/sandboxes/abc1-client/pause": "abc1", "/v2/sandboxes/abc1/logs": "abc1", "/sandboxes/abc1/events": "abc1",
		"/sandboxes": "", "/sandboxes/": "", "/sandboxes/metrics": "", "/v2/sandboxes": "", "/x/sandboxes/abc1": "", "/sandboxes/ABC": "",
	} {
		require.Equal(t, id, sandboxInPath(path), path)
	}
}
