package control_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// near is how far apart moments may be that are to be the same; tests of time are about minutes.
const near = 30 * time.Second

func testLife(t *testing.T, p *plane) {
	id := p.create(`{"templateID":"base","timeout":600}`).SandboxID
	path := "/sandboxes/" + id
	before := p.get(id).EndAt
	require.Equal(t, `{"sandboxes":{}}`, p.ada("GET", "/sandboxes/metrics?sandbox_ids=none", "").wants(t, 200).body)

	var e entry
	for _, body := range []string{"", "{}", `{"timeout":60}`, `{"timeout":60,"memory":false,"more":1}`} {
		for _, version := range []string{"", "/v2"} {
			p.ada("POST", version+path+"/connect", body).wants(t, 200).decode(t, &e)
			require.Equal(t, before, p.get(id).EndAt, "it is never brought forward")
		}
	}
	require.NotEmpty(t, e.EnvdAccessToken)
	p.ada("POST", path+"/connect", `{"timeout":1800}`).wants(t, 200)
	require.WithinDuration(t, time.Now().Add(1800*time.Second), p.get(id).EndAt, near)
	p.ada("POST", path+"/refreshes", `{"duration":60}`).wants(t, 204)
	p.ada("POST", path+"/refreshes", ``).wants(t, 204)
	require.WithinDuration(t, time.Now().Add(1800*time.Second), p.get(id).EndAt, near)
	p.ada("POST", path+"/refreshes", `{"duration":3000}`).wants(t, 204)
	require.WithinDuration(t, time.Now().Add(3000*time.Second), p.get(id).EndAt, near)
	p.ada("POST", path+"/timeout", `{"timeout":120}`).wants(t, 204)
	require.WithinDuration(t, time.Now().Add(120*time.Second), p.get(id).EndAt, near)
	for _, bad := range []string{``, `{}`, `{"timeout":0}`, `{"timeout":-5}`, `{"timeout":"1"}`, `{"timeout":99999}`, `null`, `{"timeout":1.5}`} {
		p.ada("POST", path+"/timeout", bad).wants(t, 400)
	}
	p.ada("POST", path+"/connect", `{"timeout":0}`).wants(t, 400)
	p.ada("POST", path+"/resume", `{"timeout":60}`).wants(t, 409)

	p.kill(id)
	p.ada("DELETE", path, "").wants(t, 404)
	p.ada("GET", path, "").wants(t, 404)
	p.ada("POST", path+"/timeout", `{"timeout":60}`).wants(t, 404)
	p.ada("POST", "/v2"+path+"/connect", `{}`).wants(t, 404)
}

func testPause(t *testing.T, p *plane) {
	made := p.create(`{"templateID":"base","autoPause":true,"network":{"allowPublicTraffic":false}}`)
	path := "/sandboxes/" + made.SandboxID
	started := p.get(made.SandboxID).StartedAt
	p.ada("POST", path+"/pause", `{"memory":false}`).wants(t, 501)
	p.ada("POST", path+"/pause", "").wants(t, 204)
	require.Equal(t, "paused", p.get(made.SandboxID).State)
	p.ada("POST", path+"/pause", "{}").wants(t, 409)
	p.ada("POST", path+"/connect", `{"timeout":60,"memory":false}`).wants(t, 501)

	var e entry
	p.ada("POST", "/v2"+path+"/connect", "").wants(t, 201).decode(t, &e)
	require.Equal(t, made.EnvdAccessToken, e.EnvdAccessToken, "handles of before work on")
	require.Equal(t, made.TrafficAccessToken, e.TrafficAccessToken)
	detail := p.get(made.SandboxID)
	require.Equal(t, "running", detail.State)
	require.Equal(t, "pause", detail.Lifecycle.OnTimeout, "it survives")
	require.True(t, detail.StartedAt.After(started))
	require.WithinDuration(t, time.Now().Add(300*time.Second), detail.EndAt, near)

	p.ada("POST", path+"/pause", `{"memory":true}`).wants(t, 204)
	p.ada("POST", path+"/resume", `{"timeout":600,"autoPause":true}`).wants(t, 201)
	require.WithinDuration(t, time.Now().Add(600*time.Second), p.get(made.SandboxID).EndAt, near)
	p.ada("POST", path+"/pause", "").wants(t, 204)
	p.kill(made.SandboxID)
	p.ada("DELETE", path, "").wants(t, 404)
}

func testSnapshots(t *testing.T, p *plane) {
	id := p.create(`{"templateID":"base"}`).SandboxID
	m, err := p.fleet.Find(id)
	require.NoError(t, err)
	require.NoError(t, m.Sandbox().Files().WriteString(t.Context(), "kept.txt", "kept"))
	type snapshot struct {
		SnapshotID string
		Names      []string
	}
	var named, plain snapshot
	p.ada("POST", "/sandboxes/"+id+"/snapshots", `{"name":"my-snapshot"}`).wants(t, 201).decode(t, &named)
	require.Equal(t, "ada/my-snapshot:default", named.SnapshotID)
	require.Equal(t, []string{named.SnapshotID}, named.Names)
	p.ada("POST", "/sandboxes/"+id+"/snapshots", "").wants(t, 201).decode(t, &plain)
	p.ada("POST", "/sandboxes/"+id+"/snapshots", `{"name":"Not A Name"}`).wants(t, 400)

	list := func(query string) (ids []string) {
		var all []snapshot
		p.ada("GET", "/snapshots?"+query, "").wants(t, 200).decode(t, &all)
		for _, s := range all {
			ids = append(ids, s.SnapshotID)
		}
		return ids
	}
	require.Equal(t, []string{plain.SnapshotID, named.SnapshotID}, list(""))
	require.Len(t, list("sandboxID="+id), 2)
	require.Empty(t, list("sandboxID=other"))
	for _, name := range []string{"my-snapshot", "my-snapshot:default", "ada/my-snapshot", "ada%2Fmy-snapshot%3Adefault"} {
		require.Equal(t, []string{named.SnapshotID}, list("name="+name), name)
	}
	require.Empty(t, list("name=unknown"))
	first := p.ada("GET", "/snapshots?limit=1", "").wants(t, 200)
	require.Contains(t, first.body, plain.SnapshotID)
	second := p.ada("GET", "/snapshots?limit=1&nextToken="+first.header.Get("X-Next-Token"), "").wants(t, 200)
	require.Contains(t, second.body, named.SnapshotID)
	require.Empty(t, second.header.Get("X-Next-Token"))
	require.Equal(t, "[]", p.as(bobKey, "GET", "/snapshots", "").wants(t, 200).body)

	again := p.create(`{"templateID":"ada/my-snapshot:default"}`)
	m, err = p.fleet.Find(again.SandboxID)
	require.NoError(t, err)
	text, err := m.Sandbox().Files().ReadString(t.Context(), "kept.txt")
	require.NoError(t, err)
	require.Equal(t, "kept", text)

	p.as(bobKey, "DELETE", "/templates/ada%2Fmy-snapshot%3Adefault", "").wants(t, 404)
	p.ada("DELETE", "/templates/ada%2Fmy-snapshot%3Adefault", "").wants(t, 204)
	p.ada("DELETE", "/templates/ada%2Fmy-snapshot%3Adefault", "").wants(t, 404)
	p.ada("DELETE", "/templates/"+plain.SnapshotID, "").wants(t, 204)
	p.ada("DELETE", "/templates/base", "").wants(t, 404)
	p.kill(id, again.SandboxID)
}

func testFork(t *testing.T, p *plane) {
	id := p.create(`{"templateID":"base"}`).SandboxID
	var forks []struct {
		Sandbox *entry
		Error   *struct{ Code int }
	}
	p.ada("POST", "/sandboxes/"+id+"/fork", `{"count":2,"timeout":900}`).wants(t, 201).decode(t, &forks)
	require.Len(t, forks, 2)
	for _, f := range forks {
		require.NotNil(t, f.Sandbox)
		require.Nil(t, f.Error)
		detail := p.get(f.Sandbox.SandboxID)
		require.WithinDuration(t, time.Now().Add(900*time.Second), detail.EndAt, near)
		p.kill(f.Sandbox.SandboxID)
	}
	for _, bad := range []string{`{"count":0}`, `{"count":101}`, `{"timeout":0}`, `{"count":"2"}`} {
		p.ada("POST", "/sandboxes/"+id+"/fork", bad).wants(t, 400)
	}
	p.kill(id)
	p.ada("POST", "/sandboxes/"+id+"/fork", "").wants(t, 404)

	var own entry
	p.as(bobKey, "POST", "/v2/sandboxes", `{"templateID":"base"}`).wants(t, 201).decode(t, &own)
	p.as(bobKey, "POST", "/sandboxes/"+own.SandboxID+"/fork", "").wants(t, 201).decode(t, &forks)
	require.Len(t, forks, 1)
	require.Equal(t, 429, forks[0].Error.Code, "each has its own outcome")
	p.as(bobKey, "DELETE", "/sandboxes/"+own.SandboxID, "").wants(t, 204)
}

func testMetrics(t *testing.T, p *plane) {
	id := p.create(`{"templateID":"base"}`).SandboxID
	path := "/sandboxes/" + id + "/metrics"
	var metrics []map[string]any
	p.ada("GET", path, "").wants(t, 200).decode(t, &metrics)
	require.NotEmpty(t, metrics, "from the beginning")
	for _, name := range []string{"timestamp", "timestampUnix", "cpuCount", "cpuUsedPct", "memUsed", "memTotal", "memCache", "diskUsed", "diskTotal"} {
		require.Contains(t, metrics[0], name)
	}
	now := time.Now().Unix()
	p.ada("GET", fmt.Sprintf("%s?start=%d&end=%d", path, now-60, now+60), "").wants(t, 200).decode(t, &metrics)
	require.NotEmpty(t, metrics)
	require.Equal(t, "[]", p.ada("GET", fmt.Sprintf("%s?start=0&end=%d", path, now-3600), "").wants(t, 200).body)
	for _, bad := range []string{"start=x", "end=-1", "start=99999999999999999999", fmt.Sprintf("start=%d&end=%d", now, now-60)} {
		p.ada("GET", path+"?"+bad, "").wants(t, 400)
	}
	var many struct {
		Sandboxes map[string]json.RawMessage
	}
	p.ada("GET", "/sandboxes/metrics?sandbox_ids="+id+",unknown", "").wants(t, 200).decode(t, &many)
	require.Len(t, many.Sandboxes, 1)
	require.Contains(t, many.Sandboxes, id)
	p.ada("GET", "/sandboxes/metrics", "").wants(t, 400)
	p.kill(id)
	p.ada("GET", path, "").wants(t, 404)
}

func testLogs(t *testing.T, p *plane) {
	id := p.create(`{"templateID":"base"}`).SandboxID
	m, err := p.fleet.Find(id)
	require.NoError(t, err)
	m.Log("error", "a needle in a haystack", map[string]string{"a": "b"})
	type line struct {
		Timestamp      time.Time
		Level, Message string
		Fields         map[string]string
	}
	var one struct {
		Logs       []struct{ Line string }
		LogEntries []line
	}
	p.ada("GET", "/sandboxes/"+id+"/logs", "").wants(t, 200).decode(t, &one)
	require.Len(t, one.LogEntries, 2)
	require.Equal(t, "error a needle in a haystack", one.Logs[1].Line)
	require.Equal(t, map[string]string{"a": "b"}, one.LogEntries[1].Fields)
	p.ada("GET", "/sandboxes/"+id+"/logs?limit=1", "").wants(t, 200).decode(t, &one)
	require.Len(t, one.Logs, 1)
	p.ada("GET", fmt.Sprintf("/sandboxes/%s/logs?start=%d", id, time.Now().Add(time.Minute).UnixMilli()), "").wants(t, 200).decode(t, &one)
	require.Empty(t, one.Logs)

	found := func(query string) (messages []string) {
		var two struct{ Logs []line }
		p.ada("GET", "/v2/sandboxes/"+id+"/logs?"+query, "").wants(t, 200).decode(t, &two)
		for _, l := range two.Logs {
			messages = append(messages, l.Message)
		}
		return messages
	}
	needle := "a needle in a haystack"
	require.Equal(t, []string{"sandbox started", needle}, found(""))
	require.Equal(t, []string{needle, "sandbox started"}, found("direction=backward"))
	require.Equal(t, []string{needle}, found("level=error"))
	require.Equal(t, []string{needle}, found("search=needle"))
	require.Equal(t, []string{needle}, found("direction=backward&limit=1"))
	require.Empty(t, found("cursor=1&direction=backward"))
	for _, bad := range []string{"level=loud", "direction=up", "limit=0", "limit=x", "cursor=x"} {
		p.ada("GET", "/v2/sandboxes/"+id+"/logs?"+bad, "").wants(t, 400)
	}
	p.kill(id)
}

func testNetwork(t *testing.T, p *plane) {
	id := p.create(`{"templateID":"base","network":{"maskRequestHost":"a.example"}}`).SandboxID
	path := "/sandboxes/" + id + "/network"
	p.ada("PUT", path, "{}").wants(t, 204)
	require.Equal(t, "a.example", p.get(id).Network.MaskRequestHost, "that is no matter of what it reaches")
	p.ada("PUT", path, `{"allow_internet_access":false}`).wants(t, 501)
	p.ada("PUT", path, `{"denyOut":["1.1.1.1"]}`).wants(t, 501)
	p.ada("PUT", path, `{"rules":{"a.b":[{}]}}`).wants(t, 501)
	p.ada("PUT", path, `{"allowOut":"x"}`).wants(t, 400)
	p.kill(id)
	p.ada("PUT", path, `{}`).wants(t, 404)
}
