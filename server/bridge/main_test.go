package bridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/bridge"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// testTimeout bounds every wait; nothing here comes near it.
const testTimeout = 3 * time.Minute

const (
	aliceKey = "e2b_a11ce00000000000000000000000000000000000"
	bobKey   = "e2b_b0b0000000000000000000000000000000000000"
)

var (
	alice = &fleet.Owner{Name: "alice"}
	bob   = &fleet.Owner{Name: "bob"}
)

// closers end what tests share.
var closers []func()

func TestMain(m *testing.M) {
	code := m.Run()
	for _, f := range closers {
		f()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// engines are made once: one for each size of journals.
var (
	enginesMu sync.Mutex
	engines   = map[int64]*sandbox.Engine{}
)

func sharedEngine(t testing.TB, journal int64) *sandbox.Engine {
	t.Helper()
	enginesMu.Lock()
	defer enginesMu.Unlock()
	if e := engines[journal]; e != nil {
		return e
	}
	python := backendtest.Pythons(t)[0]
	dir, err := os.MkdirTemp("", "dsb")
	require.NoError(t, err)
	e, err := sandbox.Open(t.Context(), sandbox.Config{
		DefaultBackend: "local", Python: python, WorkspaceBaseDir: dir + "/base", RuntimeDir: dir, JournalBytes: journal,
		MaxSpares: sandbox.NoSpares,
	})
	require.NoError(t, err)
	engines[journal] = e
	closers = append(closers, func() {
		if err := e.Close(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		_ = os.RemoveAll(dir)
	})
	return e
}

// daemon is a server with nothing but the bridge.
type daemon struct {
	fleet   *fleet.Fleet
	handler *bridge.Handler
	url     string

	identify func(*http.Request) (*fleet.Owner, error)
}

type setting func(*bridge.Options, *int64)

func openDaemon(t testing.TB, settings ...setting) *daemon {
	t.Helper()
	keys, err := access.New(access.Key{Secret: aliceKey, Owner: alice}, access.Key{Secret: bobKey, Owner: bob})
	require.NoError(t, err)
	opts, journal := bridge.Options{Identify: keys.Identify}, int64(sandbox.DefaultJournalBytes)
	for _, set := range settings {
		set(&opts, &journal)
	}
	f, err := fleet.New(sharedEngine(t, journal), nil)
	require.NoError(t, err)
	opts.Fleet = f
	h := bridge.New(opts)
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		require.NoError(t, h.Close(context.Background()))
		server.Close()
		require.NoError(t, f.Close(context.Background()))
	})
	return &daemon{fleet: f, handler: h, url: server.URL, identify: keys.Identify}
}

// beside is another bridge to the same sandboxes.
func (d *daemon) beside(t testing.TB, opts *bridge.Options) *daemon {
	t.Helper()
	opts.Fleet, opts.Identify = d.fleet, d.identify
	h := bridge.New(*opts)
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		require.NoError(t, h.Close(context.Background()))
		server.Close()
	})
	return &daemon{fleet: d.fleet, handler: h, url: server.URL, identify: d.identify}
}

func (d *daemon) create(t testing.TB) *fleet.Member {
	t.Helper()
	m, err := d.fleet.Create(t.Context(), alice, nil)
	require.NoError(t, err)
	return m
}

// told is a message of the server.
type told map[string]any

func (e told) kind() string { return e["type"].(string) }

func (e told) number() int64 {
	n, _ := e["number"].(float64)
	return int64(n)
}

// client is a websocket of a test.
type client struct {
	t    testing.TB
	conn *websocket.Conn
	ids  int
	seen []told // events so far
	at   int    // of seen, from where on until looks
	last int64  // number
	held []told // answers that came while something else was waited for
	hi   told   // hello
}

func (d *daemon) address(m *fleet.Member, query string) string {
	return "ws" + strings.TrimPrefix(d.url, "http") + "/sandboxes/" + m.ID() + "/events?" + query
}

func (d *daemon) dial(t testing.TB, m *fleet.Member, query string) *client {
	t.Helper()
	conn, response, err := websocket.DefaultDialer.DialContext(t.Context(), d.address(m, query), http.Header{"X-Api-Key": {aliceKey}})
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(testTimeout)))
	c := &client{t: t, conn: conn}
	c.hi = c.next()
	require.Equal(t, "hello", c.hi.kind())
	return c
}

// receive is the next message.
func (c *client) receive() told {
	c.t.Helper()
	_, data, err := c.conn.ReadMessage()
	require.NoError(c.t, err)
	var e told
	require.NoError(c.t, json.Unmarshal(data, &e))
	return e
}

// next is the next event.
func (c *client) next() told {
	c.t.Helper()
	for {
		e := c.receive()
		if e.kind() == "answer" {
			c.held = append(c.held, e)
			continue
		}
		if n := e.number(); n > 0 {
			require.Greater(c.t, n, c.last, "numbers rise")
			c.last = n
		}
		c.seen = append(c.seen, e)
		return e
	}
}

// until gives the first event of a type after the one it gave before, and waits for it.
func (c *client) until(kind string) told {
	c.t.Helper()
	for ; ; c.at++ {
		for c.at >= len(c.seen) {
			c.next()
		}
		if e := c.seen[c.at]; e.kind() == kind {
			c.at++
			return e
		}
	}
}

// text is what was printed so far.
func (c *client) text() string {
	var b strings.Builder
	for _, e := range c.seen {
		if e.kind() == "stdout" {
			b.WriteString(e["text"].(string))
		}
	}
	return b.String()
}

// kinds are the types of the events of a run.
func (c *client) kinds(run float64) string {
	var kinds []string
	for _, e := range c.seen {
		if e["run"] == run {
			kinds = append(kinds, e.kind())
		}
	}
	return strings.Join(kinds, " ")
}

// send sends a request and gives its id.
func (c *client) send(kind string, members told) string {
	c.t.Helper()
	c.ids++
	id := fmt.Sprint("r", c.ids)
	r := told{"type": kind, "id": id}
	for k, v := range members {
		r[k] = v
	}
	require.NoError(c.t, c.conn.WriteJSON(r))
	return id
}

// answerTo waits for an answer; events that come before it are seen.
func (c *client) answerTo(id string) told {
	c.t.Helper()
	for {
		for i, a := range c.held {
			if a["id"] == id {
				c.held = append(c.held[:i], c.held[i+1:]...)
				return a
			}
		}
		e := c.receive()
		if e.kind() == "answer" {
			c.held = append(c.held, e)
			continue
		}
		c.last = max(c.last, e.number())
		c.seen = append(c.seen, e)
	}
}

// ask sends a request that must succeed, and gives the answer's value.
func (c *client) ask(kind string, members told) told {
	c.t.Helper()
	a := c.answerTo(c.send(kind, members))
	require.Nil(c.t, a["error"])
	value, _ := a["value"].(map[string]any)
	return value
}

// refused is ask for what must fail; it gives the error's code and message.
func (c *client) refused(kind string, members told) (code, message string) {
	c.t.Helper()
	a := c.answerTo(c.send(kind, members))
	require.NotNil(c.t, a["error"])
	p := a["error"].(map[string]any)
	return p["code"].(string), p["message"].(string)
}

// run runs code to its end and gives its last event.
func (c *client) run(code string) told {
	c.t.Helper()
	run := c.ask("run", told{"code": code})["run"]
	return c.over(run)
}

// over is the last event of a run.
func (c *client) over(run any) told {
	c.t.Helper()
	for i := 0; ; i++ {
		for i >= len(c.seen) {
			c.next()
		}
		if e := c.seen[i]; e.kind() == "done" && e["run"] == run {
			return e
		}
	}
}

// request makes a plain HTTP request.
func (d *daemon) request(t testing.TB, method, path, body string, header http.Header) (status int, text string, got http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
	require.NoError(t, err)
	for k, v := range header {
		r.Header[k] = v
	}
	if header == nil {
		r.Header.Set("X-Api-Key", aliceKey)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(data), response.Header
}

// never is a connection that is never read.
func (d *daemon) never(t testing.TB, m *fleet.Member) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "GET /sandboxes/%s/events HTTP/1.1\r\nHost: %s\r\nX-API-KEY: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", m.ID(), conn.RemoteAddr(), aliceKey)
	require.NoError(t, err)
	return conn
}
