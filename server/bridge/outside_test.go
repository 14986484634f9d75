package bridge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/bridge"
)

func TestWhoMayConnect(t *testing.T) {
	d := openDaemon(t, func(o *bridge.Options, _ *int64) { o.Origins = []string{"https://app.example.com"} })
	m := d.create(t)
	host := strings.TrimPrefix(d.url, "http://")
	for name, c := range map[string]struct {
		query  string
		header http.Header
		status int
	}{
		"no key":                {"", http.Header{}, 401},
		"a wrong key":           {"", http.Header{"X-Api-Key": {"e2b_0000000000000000000000000000000000000000"}}, 401},
		"another's key":         {"", http.Header{"X-Api-Key": {bobKey}}, 404},
		"the key":               {"", http.Header{"X-Api-Key": {aliceKey}}, 101},
		"a bearer":              {"", http.Header{"Authorization": {"Bearer " + aliceKey}}, 101},
		"in the query":          {"token=" + aliceKey, http.Header{}, 101},
		"wrong in the query":    {"token=x", http.Header{}, 401},
		"as a subprotocol":      {"", http.Header{"Sec-Websocket-Protocol": {bridge.Protocol + ", ds-sandbox.token." + aliceKey}}, 101},
		"wrong as subprotocol":  {"", http.Header{"Sec-Websocket-Protocol": {bridge.Protocol + ", ds-sandbox.token.x"}}, 401},
		"a page of the daemon":  {"token=" + aliceKey, http.Header{"Origin": {"http://" + host}}, 101},
		"a page that is listed": {"token=" + aliceKey, http.Header{"Origin": {"https://app.example.com"}}, 101},
		"another page":          {"token=" + aliceKey, http.Header{"Origin": {"https://evil.example.com"}}, 403},
		"a page of its like":    {"token=" + aliceKey, http.Header{"Origin": {"https://app.example.com.evil.org"}}, 403},
		"a sandboxed frame":     {"token=" + aliceKey, http.Header{"Origin": {"null"}}, 403},
		"no context":            {"context=nope&token=" + aliceKey, http.Header{}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			conn, response, err := websocket.DefaultDialer.DialContext(t.Context(), d.address(m, c.query), c.header)
			require.NotNil(t, response, "%v", err)
			require.Equal(t, c.status, response.StatusCode)
			if c.status != http.StatusSwitchingProtocols {
				var body struct {
					Error struct{ Code, Message string }
				}
				require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
				require.NotEmpty(t, body.Error.Code)
				require.NotContains(t, body.Error.Message, aliceKey)
				return
			}
			require.NotContains(t, response.Header.Get("Sec-Websocket-Protocol"), "token")
			require.NoError(t, conn.Close())
		})
	}
	status, _, _ := d.request(t, "GET", "/sandboxes/"+m.ID()+"/workspace/", "", http.Header{"X-Api-Key": {bobKey}})
	require.Equal(t, http.StatusNotFound, status)
	status, _, _ = d.request(t, "HEAD", "/sandboxes/"+m.ID()+"/events", "", nil)
	require.Equal(t, http.StatusNoContent, status)
	status, _, _ = d.request(t, "HEAD", "/sandboxes/"+m.ID()+"/events", "", http.Header{})
	require.Equal(t, http.StatusUnauthorized, status)
}

// source reads server-sent events.
type source struct {
	t     *testing.T
	lines *bufio.Scanner
	id    string
}

func (d *daemon) source(t *testing.T, path string, header http.Header) *source {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", d.url+path, nil)
	require.NoError(t, err)
	r.Header = header
	r.Header.Set("X-Api-Key", aliceKey)
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	return &source{t: t, lines: bufio.NewScanner(response.Body)}
}

func (s *source) until(kind string) told {
	s.t.Helper()
	for s.lines.Scan() {
		if id, ok := strings.CutPrefix(s.lines.Text(), "id: "); ok {
			s.id = id
		}
		if data, ok := strings.CutPrefix(s.lines.Text(), "data: "); ok {
			var e told
			require.NoError(s.t, json.Unmarshal([]byte(data), &e))
			if e.kind() == kind {
				return e
			}
		}
	}
	require.Fail(s.t, "the stream ended", "%v", s.lines.Err())
	return nil
}

func TestServerSentEvents(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	path := "/sandboxes/" + m.ID() + "/events"
	s := d.source(t, path, http.Header{})
	s.until("live")
	c.run("print('one')")
	require.Equal(t, "one\n", s.until("stdout")["text"])
	require.True(t, strings.HasPrefix(s.id, c.hi["journal"].(string)+"."))
	again := d.source(t, path, http.Header{"Last-Event-Id": {s.id}})
	again.until("done")
	require.NoError(t, m.Kill(t.Context()))
	require.Equal(t, "killed", s.until("gone")["reason"])
	require.Equal(t, "killed", again.until("gone")["reason"])
	for s.lines.Scan() {
		require.Empty(t, s.lines.Text(), "it was the last")
	}
}

func TestSlowViewersMissWhatIsDropped(t *testing.T) {
	lost := make(chan struct{}, 1)
	d := openDaemon(t, func(_ *bridge.Options, journal *int64) { *journal = 256 << 10 })
	hasty := d.beside(t, &bridge.Options{Patience: time.Second, Logger: slog.New(&lostLog{slog.DiscardHandler, lost})})
	m := d.create(t)
	c := d.dial(t, m, "")
	slow := d.dial(t, m, "")
	stuck := hasty.never(t, m)
	// More than all buffers on the way hold together.
	const code = "import sys\nfor i in range(4000):\n    sys.stdout.write(str(i) + 'x' * 10_000 + '\\n'); sys.stdout.flush()\nprint('end')"
	done := c.over(c.ask("run", told{"code": code})["run"])
	require.Nil(t, done["failure"], "nobody holds it back")
	slow.over(1.0)
	dropped := false
	for _, e := range slow.seen {
		dropped = dropped || e.kind() == "dropped" && e["entries"].(float64) > 0
	}
	require.True(t, dropped)
	require.True(t, strings.HasSuffix(slow.text(), "end\n"))

	// The one that reads nothing is given up: what it is sent ends.
	<-lost
	require.NoError(t, stuck.SetReadDeadline(time.Now().Add(testTimeout)))
	_, err := io.Copy(io.Discard, stuck)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	c.run("print('on')")
}

// lostLog tells when a viewer is given up.
type lostLog struct {
	slog.Handler
	lost chan struct{} // holds one
}

func (l *lostLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "viewer lost" {
		select {
		case l.lost <- struct{}{}:
		default:
		}
	}
	return nil
}

func (l *lostLog) Enabled(context.Context, slog.Level) bool { return true }

func TestIdleViewersAreSmall(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	settled := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapInuse + s.StackInuse
	}
	const viewers = 300
	before := settled()
	for range viewers {
		conn := d.never(t, m)
		// Only so much of its greeting as shows that it is there, without a buffer.
		head := make([]byte, 12)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(testTimeout)))
		_, err := conn.Read(head)
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 101", string(head))
	}
	each := (settled() - before) / viewers
	t.Logf("%d bytes for each viewer, with its client's socket", each)
	require.Less(t, each, uint64(60<<10))
}

func TestWorkspaceOverHTTP(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	base := "/sandboxes/" + m.ID() + "/workspace/"
	status, text, _ := d.request(t, "PUT", base+"a/b%20c.html", "<script>alert(1)</script>", nil)
	require.Equal(t, http.StatusOK, status, text)
	require.Contains(t, text, `"path":"a/b c.html"`)
	status, text, header := d.request(t, "GET", base+"a/b%20c.html", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "<script>alert(1)</script>", text)
	require.Equal(t, "application/octet-stream", header.Get("Content-Type"))
	require.Equal(t, `attachment; filename="b c.html"`, header.Get("Content-Disposition"))
	require.Contains(t, header.Get("Content-Security-Policy"), "sandbox")
	status, _, _ = d.request(t, "PUT", base+"empty/", "", nil)
	require.Equal(t, http.StatusOK, status)
	status, text, _ = d.request(t, "GET", base, "", nil)
	require.Equal(t, http.StatusOK, status)
	var list struct {
		Path    string
		Entries []struct{ Path, Type string }
	}
	require.NoError(t, json.Unmarshal([]byte(text), &list))
	require.Equal(t, "[{a dir} {empty dir}]", fmt.Sprint(list.Entries))
	for path, want := range map[string]int{
		"..%2f..%2fetc%2fpasswd": 404, "%2e%2e/%2e%2e/etc/passwd": 404, "a%00b": 400, "nope": 404, strings.Repeat("x", 5000): 400,
	} {
		status, text, _ = d.request(t, "GET", base+path, "", nil)
		require.True(t, status == want || status >= 400 && status < 500, "%s: %d %s", path[:min(20, len(path))], status, text)
		require.NotContains(t, text, "root:")
	}
	status, _, _ = d.request(t, "DELETE", base+"a", "", nil)
	require.Equal(t, http.StatusNoContent, status)
	status, _, _ = d.request(t, "GET", base+"a/b%20c.html", "", nil)
	require.Equal(t, http.StatusNotFound, status)
}

func TestFiguresLibrariesAreServed(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	show := func(html string) told {
		c.run("from IPython.display import display, HTML\ndisplay(HTML(" + fmt.Sprintf("%q", html) + "))")
		for i := len(c.seen) - 1; ; i-- {
			if c.seen[i].kind() == "result" {
				return c.seen[i]["result"].(map[string]any)
			}
		}
	}
	r := show("<!--ds-sandbox library plot-1-->\n<script>draw = 1</script><!--ds-sandbox end-->\n<p>first</p>")
	require.Nil(t, r["library"], "it comes with it")
	r = show("<!--ds-sandbox needs plot-1-->\n<p>second</p>")
	require.Equal(t, "plot-1", r["library"])
	base := "/sandboxes/" + m.ID() + "/contexts/" + c.hi["context"].(map[string]any)["id"].(string) + "/libraries/"
	status, text, header := d.request(t, "GET", base+"plot-1", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, "draw = 1")
	require.NotContains(t, text, "first")
	require.Contains(t, header.Get("Content-Security-Policy"), "sandbox")
	status, _, _ = d.request(t, "GET", base+"other", "", nil)
	require.Equal(t, http.StatusNotFound, status)
}
