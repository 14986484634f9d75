package control_test

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/e2b/control"
)

// metadataQuery writes pairs as the SDKs do.
func metadataQuery(pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(url.PathEscape(pairs[i]), url.PathEscape(pairs[i+1]))
	}
	return "metadata=" + url.QueryEscape(q.Encode())
}

func (p *plane) list(path string) (ids []string) {
	p.t.Helper()
	var all []entry
	p.ada("GET", path, "").wants(p.t, 200).decode(p.t, &all)
	for _, e := range all {
		ids = append(ids, e.SandboxID)
	}
	return ids
}

func testList(t *testing.T, p *plane) {
	one := p.create(`{"templateID":"base","metadata":{"a b":"c&d=+%/é","x":"1"}}`).SandboxID
	between := time.Now()
	two := p.create(`{"templateID":"code-interpreter","metadata":{"x":"1"}}`).SandboxID
	p.ada("POST", "/sandboxes/"+two+"/pause", "").wants(t, 204)

	all := p.ada("GET", "/v2/sandboxes", "").wants(t, 200)
	require.Equal(t, "1", all.header.Get("X-Total-Running"))
	require.Empty(t, all.header.Get("X-Next-Token"))
	require.Contains(t, all.body, `"volumeMounts":[]`)
	require.NotContains(t, all.body, "oken", "tokens are for those who connect")
	startedAfter := func(at time.Time) string { return "startedAfter=" + url.QueryEscape(at.UTC().Format(time.RFC3339Nano)) }
	for query, want := range map[string][]string{
		"":                                      {two, one},
		"order=desc":                            {two, one},
		"order=asc":                             {one, two},
		"state=running":                         {one},
		"state=paused":                          {two},
		"state=running,paused":                  {two, one},
		"state=running&state=paused":            {two, one},
		metadataQuery("x", "1"):                 {two, one},
		metadataQuery("a b", "c&d=+%/é"):        {one},
		metadataQuery("x", "1", "a b", "wrong"): nil,
		metadataQuery("y", ""):                  nil,
		startedAfter(between):                   {two},
		startedAfter(between.Add(time.Hour)):    nil,
		"template=base":                         {one},
		"template=code-interpreter":             {two},
		"template=code-interpreter-v1":          {two},
		"template=unknown":                      nil,
	} {
		require.Equal(t, want, p.list("/v2/sandboxes?"+query), query)
	}
	require.Empty(t, p.ada("GET", "/v2/sandboxes?state=paused", "").header.Get("X-Total-Running"))
	require.Equal(t, []string{one}, p.list("/sandboxes"), "the first version knows those that run")
	require.Empty(t, p.list("/sandboxes?"+metadataQuery("x", "2")))
	for _, bad := range []string{
		"state=dead", "order=up", "limit=0", "limit=101", "limit=x", "startedAfter=yesterday", "template=base:v1", "nextToken=!", "nextToken=AAAA",
		"metadata=%25zz", "metadata=a%2525zz",
	} {
		p.ada("GET", "/v2/sandboxes?"+bad, "").wants(t, 400)
	}
	detail := p.get(one)
	require.Equal(t, []string{two, one}, p.list("/v2/sandboxes?"+startedAfter(detail.StartedAt)), "that moment is in it")
	p.kill(one, two)
}

// testPages goes through pages while sandboxes come and go.
func testPages(t *testing.T, p *plane) {
	var ids []string
	for range 4 {
		ids = append(ids, p.create(`{"templateID":"base"}`).SandboxID)
	}
	for _, order := range []string{"asc", "desc"} {
		var got []string
		token := ""
		for pages := 1; ; pages++ {
			r := p.ada("GET", "/v2/sandboxes?limit=1&order="+order+"&nextToken="+token, "").wants(t, 200)
			require.Equal(t, "4", r.header.Get("X-Total-Running"))
			var page []entry
			r.decode(t, &page)
			require.Len(t, page, 1)
			got = append(got, page[0].SandboxID)
			if token = r.header.Get("X-Next-Token"); token == "" {
				require.Equal(t, 4, pages)
				break
			}
		}
		if order == "desc" {
			slices.Reverse(got)
		}
		require.Equal(t, ids, got)
	}
	first := p.ada("GET", "/v2/sandboxes?limit=2&order=asc", "").wants(t, 200)
	token := first.header.Get("X-Next-Token")
	p.kill(ids[1]) // the last of that page
	require.Equal(t, ids[2:], p.list("/v2/sandboxes?limit=2&order=asc&nextToken="+token))
	p.kill(ids[2], ids[3])
	require.Empty(t, p.list("/v2/sandboxes?limit=2&order=asc&nextToken="+token))
	p.kill(ids[0])
}

func testTemplates(t *testing.T, p *plane) {
	for _, alias := range []string{"base", "code-interpreter-v1", "code-interpreter"} {
		require.Contains(t, p.ada("GET", "/templates/aliases/"+alias, "").wants(t, 200).body, `"public":true`)
	}
	p.ada("GET", "/templates/aliases/unknown", "").wants(t, 404)
	p.ada("GET", "/templates/aliases/a%2Fb%3Ac", "").wants(t, 404)
	var list []struct {
		TemplateID string
		Aliases    []string
	}
	p.ada("GET", "/templates", "").wants(t, 200).decode(t, &list)
	require.Len(t, list, 2)
}

func testUnsupported(t *testing.T, p *plane) {
	for _, call := range []string{
		"POST /v3/templates", "POST /v2/templates/a/builds/b", "GET /templates/a/builds/b/status", "GET /templates/a/files/f",
		"POST /templates/tags", "DELETE /templates/tags", "GET /templates/a/tags", "GET /templates/a", "PATCH /templates/a",
		"GET /volumes", "POST /volumes", "DELETE /volumes/v", "GET /volumecontent/v/dir", "GET /secrets", "DELETE /secrets/s",
		"GET /teams", "POST /api-keys", "GET /events/sandboxes", "POST /webhooks",
	} {
		method, path, _ := strings.Cut(call, " ")
		require.Contains(t, p.ada(method, path, "").wants(t, 501).body, "not supported: ", call)
	}
	for _, call := range []string{"GET /", "GET /nothing", "DELETE /sandboxes", "PATCH /sandboxes/x", "GET /sandboxes/x/y/z", "POST /v2/sandboxes/x"} {
		method, path, _ := strings.Cut(call, " ")
		p.ada(method, path, "").wants(t, 404)
	}
	require.Contains(t, control.Routes(), "POST /v2/sandboxes")
}

func TestReadmeTellsWhatIsNotSupported(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	for _, row := range control.Unsupported() {
		require.True(t, strings.Contains(string(readme), row), "the table of README.md lacks a row: %s", row)
	}
}
