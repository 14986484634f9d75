package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// served is a daemon in this process, and a client of it.
type served struct {
	daemon *server.Server
	key    string
	client *http.Client
	owner  *fleet.Owner
}

// serving does our part of a row about the daemon.
func serving(ctx context.Context, name string, n int) (m *measure, err error) {
	measureIt := map[string]func(context.Context, *served, int) (*measure, error){
		"execute": executes, "streams": streamsAtOnce, "viewers": viewers, "output": output, "result": largeResult, "view": view,
	}[name[len(serveRow):]]
	dir, err := os.MkdirTemp("", "ds-sandbox-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	err = withEngine(ctx, sandbox.Config{DefaultBackend: "local"}, func(e *sandbox.Engine) (err error) {
		key := access.NewSecret()
		daemon, err := server.New(ctx, e, server.Config{Listen: "127.0.0.1:0", DataDir: dir, Key: key})
		if err != nil {
			return err
		}
		life, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- daemon.Serve(life) }()
		defer func() {
			stop()
			err = errors.Join(err, <-ended)
		}()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, daemon.URL(), http.NoBody)
		if err != nil {
			return err
		}
		request.Header.Set("X-API-KEY", key)
		owner, err := daemon.Keys().Identify(request)
		if err != nil {
			return err
		}
		transport := &http.Transport{MaxIdleConnsPerHost: 300}
		defer transport.CloseIdleConnections()
		m, err = measureIt(ctx, &served{daemon: daemon, key: key, client: &http.Client{Transport: transport}, owner: owner}, n)
		return err
	})
	return m, err
}

func (s *served) create(ctx context.Context) (*fleet.Member, error) {
	return s.daemon.Fleet().Create(ctx, s.owner, &fleet.Spec{Template: "base", Timeout: time.Hour, Public: true})
}

// line is one of E2B's interpreter.
type line struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// execute runs code over HTTP and tells each line of the answer.
func (s *served) execute(ctx context.Context, m *fleet.Member, contextID, code string, tell func(line)) error {
	body, err := json.Marshal(map[string]string{"code": code, "context_id": contextID})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.daemon.URL()+"/execute", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("E2b-Sandbox-Id", m.ID())
	request.Header.Set("E2b-Sandbox-Port", "49999")
	request.Header.Set("X-Access-Token", m.AccessToken())
	answer, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return fmt.Errorf("status %d: %s", answer.StatusCode, text)
	}
	ended := false
	lines := bufio.NewReaderSize(answer.Body, 1<<20)
	for {
		data, err := lines.ReadBytes('\n')
		if len(data) > 0 {
			l, err := readLine(data)
			if err != nil {
				return err
			}
			ended = ended || l.Type == "end_of_execution"
			if l.Type == "error" || l.Type == "unexpected_end_of_execution" {
				return fmt.Errorf("%s", data)
			}
			tell(l)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !ended {
		return errors.New("the stream has no end")
	}
	return nil
}

// readLine reads a line. Of a long one, which is output of our own making, only the type is read, and its text is cut out: what is
// measured is the server.
func readLine(data []byte) (line, error) {
	const begin = `{"type":"stdout","text":"`
	if rest, ok := bytes.CutPrefix(data, []byte(begin)); ok && len(data) > 1000 {
		text, _, _ := bytes.Cut(rest, []byte(`"`))
		return line{Type: "stdout", Text: strings.ReplaceAll(string(text), `\n`, "\n")}, nil
	}
	var l line
	err := json.Unmarshal(data, &l)
	return l, err
}

// executes measures 1+1 over HTTP and, in turns, by the library, which is Floor.
func executes(ctx context.Context, s *served, n int) (*measure, error) {
	member, err := s.create(ctx)
	if err != nil {
		return nil, err
	}
	var times [2][]time.Duration
	const turn = 25
	for done := -2 * turn; done < n; done += turn {
		for range turn {
			start, got := time.Now(), ""
			err := s.execute(ctx, member, "", "1+1", func(l line) {
				if l.Type == "result" { // once in a while IPython warns that its cache of outputs is full
					got = l.Text
				}
			})
			if err != nil || got != "2" {
				return nil, errors.Join(err, fmt.Errorf("1+1 is %q", got))
			}
			if done >= 0 {
				times[0] = append(times[0], time.Since(start))
			}
		}
		for range turn {
			start := time.Now()
			if _, err := member.Sandbox().RunCode(ctx, "1+1", nil); err != nil {
				return nil, err
			}
			if done >= 0 {
				times[1] = append(times[1], time.Since(start))
			}
		}
	}
	m := spread(times[0])
	library := spread(times[1])
	m.Floor, m.FloorBest = library.P50, library.Best
	return m, nil
}

// streamsAtOnce has four contexts of each of fifty sandboxes stream lines at once.
func streamsAtOnce(ctx context.Context, s *served, n int) (*measure, error) {
	const lines = 40
	type place struct {
		member  *fleet.Member
		context string
	}
	var places []place
	for len(places) < n {
		member, err := s.create(ctx)
		if err != nil {
			return nil, err
		}
		places = append(places, place{member, ""})
		for range min(3, n-len(places)) {
			c, err := member.Sandbox().CreateContext(ctx, nil)
			if err != nil {
				return nil, err
			}
			places = append(places, place{member, c.ID()})
		}
	}
	m := &measure{Lines: n}
	var good atomic.Int64
	var running sync.WaitGroup
	start := time.Now()
	for _, p := range places {
		running.Go(func() {
			text := ""
			code := fmt.Sprintf("import time\nfor i in range(%d):\n    print(i, flush=True); time.sleep(0.05)", lines)
			err := s.execute(ctx, p.member, p.context, code, func(l line) { text += l.Text })
			if err == nil && strings.Count(text, "\n") == lines {
				good.Add(1)
				return
			}
			fmt.Fprintln(os.Stderr, "stream:", err, strings.Count(text, "\n"))
		})
	}
	running.Wait()
	m.Wall, m.Messages = time.Since(start).Seconds(), int(good.Load())
	return m, nil
}

// rss is the memory of this process, bytes.
func rss() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// viewers measures what idle websockets cost the daemon; another process has their other ends.
func viewers(ctx context.Context, s *served, n int) (*measure, error) {
	member, err := s.create(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.dial(ctx, member, 20, func() error { return nil }); err != nil { // what the first ones need
		return nil, err
	}
	time.Sleep(time.Second)
	m := &measure{BaseRSS: rss(), Messages: n}
	err = s.dial(ctx, member, n, func() error {
		time.Sleep(2 * time.Second)
		m.PeakRSS = rss()
		return nil
	})
	return m, err
}

// dial has so many viewers connect, calls f while they are there, and has them leave.
func (s *served) dial(ctx context.Context, m *fleet.Member, n int, f func() error) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "-child", "serve-dial", strconv.Itoa(n))
	cmd.Env = append(os.Environ(), "BENCH_ADDRESS="+s.eventsOf(m))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = f()
	}
	return errors.Join(err, in.Close(), cmd.Wait())
}

func (s *served) eventsOf(m *fleet.Member) string {
	return "ws" + strings.TrimPrefix(s.daemon.URL(), "http") + "/sandboxes/" + m.ID() + "/events?token=" + s.key
}

// dialViewers is the process that has the viewers' ends: each has read what there was.
func dialViewers(ctx context.Context, n int) error {
	for range n {
		conn, _, err := websocket.DefaultDialer.DialContext(ctx, os.Getenv("BENCH_ADDRESS"), nil)
		if err != nil {
			return err
		}
		for {
			var e struct{ Type string }
			if err := conn.ReadJSON(&e); err != nil {
				return err
			}
			if e.Type == "live" {
				break
			}
		}
	}
	fmt.Println("connected")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// output measures a stream of messages, and what it costs the daemon and the client together.
func output(ctx context.Context, s *served, n int) (*measure, error) {
	member, err := s.create(ctx)
	if err != nil {
		return nil, err
	}
	const piece = 100_000
	code := "import sys\nfor i in range(%d):\n    sys.stdout.write('y' * 99_999 + '\\n'); sys.stdout.flush()"
	if err := s.execute(ctx, member, "", fmt.Sprintf(code, n/10/piece), func(line) {}); err != nil {
		return nil, err
	}
	m := &measure{BaseRSS: rss()}
	highest := m.BaseRSS
	start, seen := time.Now(), int64(0)
	err = s.execute(ctx, member, "", fmt.Sprintf(code, n/piece), func(l line) {
		m.Bytes += int64(len(l.Text))
		if m.Bytes-seen > 5_000_000 {
			seen, highest = m.Bytes, max(highest, rss())
		}
	})
	m.Wall, m.PeakRSS = time.Since(start).Seconds(), highest
	return m, err
}

// largeResult measures one result.
func largeResult(ctx context.Context, s *served, n int) (*measure, error) {
	member, err := s.create(ctx)
	if err != nil {
		return nil, err
	}
	code := fmt.Sprintf("class Big:\n    def __repr__(self): return 'x' * %d\nBig()", n)
	m := new(measure)
	start := time.Now()
	err = s.execute(ctx, member, "", code, func(l line) { m.Bytes += int64(len(l.Text)) })
	m.Wall = time.Since(start).Seconds()
	return m, err
}

// view measures from display() in the kernel, by the clock there, until a viewer has the event.
func view(ctx context.Context, s *served, n int) (*measure, error) {
	member, err := s.create(ctx)
	if err != nil {
		return nil, err
	}
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, s.eventsOf(member), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	code := fmt.Sprintf("import time\nfrom IPython.display import display\nfor i in range(%d):\n    time.sleep(0.01)\n"+
		"    display({'text/plain': repr(time.time())}, raw=True)", n)
	if err := conn.WriteJSON(map[string]string{"type": "run", "id": "1", "code": code}); err != nil {
		return nil, err
	}
	var times []time.Duration
	for len(times) < n {
		var e struct {
			Type   string
			Result struct{ Text string }
		}
		if err := conn.ReadJSON(&e); err != nil {
			return nil, err
		}
		if e.Type != "result" {
			continue
		}
		shown, err := strconv.ParseFloat(e.Result.Text, 64)
		if err != nil {
			return nil, err
		}
		times = append(times, time.Duration((float64(time.Now().UnixNano())/1e9-shown)*1e9))
	}
	return spread(times), nil
}
