package jupyter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/jupyter"
)

// eachFraming runs a test with a kernel and each way of framing, on each Python.
func eachFraming(t *testing.T, test func(t *testing.T, d *daemon, k kernelModel, framing messaging.Framing)) {
	t.Helper()
	eachPython(t, func(t *testing.T, d *daemon) {
		k := d.start()
		for name, framing := range map[string]messaging.Framing{"legacy": messaging.FramingLegacy, "v1": messaging.FramingV1} {
			t.Run(name, func(t *testing.T) {
				own := *d
				own.t = t
				test(t, &own, k, framing)
			})
		}
	})
}

// sleep is code that has begun once it prints: between its execute_input and the code ipykernel loses an interrupt.
const sleep = "import time; print('runs', flush=True); time.sleep(60)"

func TestRunOverWebSocket(t *testing.T) {
	eachFraming(t, func(t *testing.T, d *daemon, k kernelModel, framing messaging.Framing) {
		f := d.connect(k, framing, "")
		info := f.send(messaging.Shell, "kernel_info_request", map[string]any{})
		require.Equal(t, "ok", field(of(t, f.done(info), "kernel_info_reply"), "status"))

		id := f.execute("print('hello'); 6 * 7")
		seen := f.done(id)
		require.Equal(t, "hello\n", printed(seen))
		require.JSONEq(t, `{"text/plain": "42"}`, string(of(t, seen, "execute_result").Content[len(`{"data": `):][:len(`{"text/plain": "42"}`)]))
		published := slices.DeleteFunc(slices.Clone(seen), func(m *messaging.Message) bool { return m.Channel != messaging.IOPub })
		require.Equal(t, []string{"busy", "execute_input", "stream", "execute_result", "idle"}, kinds(published))
		for _, m := range seen {
			require.Equal(t, f.session, m.Parent.Session, "the client's own header comes back")
			require.Equal(t, "ada", m.Parent.Username)
		}
		require.Equal(t, messaging.Shell, of(t, seen, "execute_reply").Channel)

		// Control goes past a run; what nobody answers, such as comm_msg, harms nobody.
		f.send(messaging.Shell, "comm_msg", map[string]any{"comm_id": "none", "data": map[string]any{}})
		slow := f.execute(sleep)
		f.until(func(m *messaging.Message) bool { return m.ParentID() == slow && m.Header.MsgType == "stream" })
		status, _, _ := d.ask("POST", "/api/kernels/"+k.ID+"/interrupt", "", nil)
		require.Equal(t, http.StatusNoContent, status)
		require.Equal(t, "KeyboardInterrupt", field(of(t, f.done(slow), "execute_reply"), "ename"))
	})
}

func TestBuffersOfCommsPassBothWays(t *testing.T) {
	eachFraming(t, func(t *testing.T, d *daemon, k kernelModel, framing messaging.Framing) {
		f := d.connect(k, framing, "")
		code := `def opened(comm, msg):
    @comm.on_msg
    def answer(m):
        comm.send({"sizes": [len(b) for b in m["buffers"]]}, buffers=[bytes(b)[::-1] for b in m["buffers"]])
try:
    from comm import get_comm_manager
    manager = get_comm_manager()
except ImportError:
    manager = get_ipython().kernel.comm_manager
manager.register_target("echo", opened)`
		f.done(f.execute(code))
		f.send(messaging.Shell, "comm_open", map[string]any{"comm_id": "c1" + string(framing), "target_name": "echo", "data": map[string]any{}})
		big := bytes.Repeat([]byte{0, 1, 0xff, 0xfe}, 100_000)
		f.send(messaging.Shell, "comm_msg", map[string]any{"comm_id": "c1" + string(framing), "data": map[string]any{}}, []byte("abc\x00"), nil, big)
		seen := f.until(func(m *messaging.Message) bool { return m.Header.MsgType == "comm_msg" })
		m := seen[len(seen)-1]
		require.Contains(t, string(m.Content), "[4, 0, 400000]")
		require.Len(t, m.Buffers, 3)
		require.Equal(t, "\x00cba", string(m.Buffers[0]))
		require.Empty(t, m.Buffers[1])
		require.Equal(t, []byte{0xfe, 0xff, 1, 0}, m.Buffers[2][:4])
	})
}

func TestInputIsAskedOfTheOneWhoRunsTheCode(t *testing.T) {
	eachFraming(t, func(t *testing.T, d *daemon, k kernelModel, framing messaging.Framing) {
		other, f := d.connect(k, framing, ""), d.connect(k, framing, "")
		id := f.execute("print('hello ' + input('name? '))")
		seen := f.until(func(m *messaging.Message) bool { return m.Channel == messaging.Stdin })
		asked := seen[len(seen)-1]
		require.Equal(t, "name? ", field(asked, "prompt"))
		require.Equal(t, id, asked.ParentID())
		other.send(messaging.Stdin, "input_reply", map[string]any{"value": "nobody"}) // not theirs to answer
		other.done(other.send(messaging.Control, "kernel_info_request", map[string]any{}))
		f.send(messaging.Stdin, "input_reply", map[string]any{"value": "Ada"})
		require.Equal(t, "hello Ada\n", printed(f.done(id)))
		seen = other.until(func(m *messaging.Message) bool { return m.ParentID() == id && state(m) == "idle" })
		require.Equal(t, "hello Ada\n", printed(seen), "all see what is published")
		for _, m := range seen {
			require.Equal(t, messaging.IOPub, m.Channel, "and none of another's answers")
		}
	})
}

func TestRunsOfAllTakeTurnsAndAreSeenByAll(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	c := d.contextOf(k)
	f := d.connect(k, messaging.FramingV1, "")
	f.done(f.execute("log = []"))

	started := make(chan struct{})
	gate := make(chan string)
	finished := make(chan error, 1)
	go func() {
		run, err := c.RunCode(d.context(), "log.append('api'); print(input()); log.append('api over')", &sandbox.RunOptions{
			OnInput: func(context.Context, string, bool) (string, error) { close(started); return <-gate, nil },
		})
		if err == nil {
			err = run.Err()
		}
		finished <- err
	}()
	<-started
	waits := f.execute("log.append('front')")
	// What is no run goes past it, also while the client has one waiting.
	f.done(f.send(messaging.Control, "kernel_info_request", map[string]any{}))
	gate <- "seen by all"
	seen := f.done(waits)
	require.NoError(t, <-finished)
	require.NotContains(t, printed(seen), "seen by all")
	list := f.done(f.execute("log"))
	require.Contains(t, string(of(t, list, "execute_result").Content), "['api', 'api over', 'front']")

	// The journal has them all.
	var codes []string
	for entry := range c.Journal().All() {
		if began, ok := entry.Content.(*sandbox.RunBegan); ok {
			codes = append(codes, began.Code)
		}
	}
	require.Len(t, codes, 4)
	require.Equal(t, "log.append('front')", codes[2])
}

func TestRunsBehindOneThatFailedAreAborted(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	f := d.connect(k, messaging.FramingV1, "")
	f.done(f.execute("done = []"))
	gate := f.execute("input()")
	f.until(func(m *messaging.Message) bool { return m.Channel == messaging.Stdin })
	failing := f.execute("1 / 0")
	behind := f.execute("done.append(1)")
	info := f.send(messaging.Shell, "kernel_info_request", map[string]any{})
	last := f.execute("done.append(2)")
	f.send(messaging.Stdin, "input_reply", map[string]any{"value": ""})
	f.done(gate)
	require.Equal(t, "ZeroDivisionError", field(of(t, f.done(failing), "execute_reply"), "ename"))
	seen := f.done(behind)
	require.Equal(t, []string{"busy", "execute_reply", "idle"}, kinds(seen))
	require.JSONEq(t, `{"status": "aborted"}`, string(seen[1].Content))
	require.Equal(t, "aborted", field(of(t, f.done(last), "execute_reply"), "status"))
	require.Equal(t, "ok", field(of(t, f.done(info), "kernel_info_reply"), "status"), "what runs no code is answered")

	f.done(f.send(messaging.Shell, "execute_request", map[string]any{"code": "1 / 0", "stop_on_error": false}))
	seen = f.done(f.execute("done"))
	require.Contains(t, string(of(t, seen, "execute_result").Content), `"[]"`)
}

// A client that is quick sends the next run as soon as it has heard of the failed one, by its reply or by idle.
func TestRunsSentAfterTheEndWasToldAreNotAborted(t *testing.T) {
	d := serve(t, nil)
	f := d.connect(d.start(), messaging.FramingV1, "")
	for range 50 {
		failing := f.execute("1 / 0")
		f.until(func(m *messaging.Message) bool {
			return m.ParentID() == failing && (m.Header.MsgType == "execute_reply" || state(m) == "idle")
		})
		require.Equal(t, "ok", field(of(t, f.done(f.execute("2")), "execute_reply"), "status"))
	}
}

func TestWhatKernelsCannotReadIsAnsweredAllTheSame(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	f := d.connect(k, messaging.FramingLegacy, "")
	// The kernel has seen the very same bytes before, and says nothing about them.
	frame := []byte(`{"channel": "shell", "header": {"msg_id": "twice", "session": "s", "username": "u", "date": "2026-01-02T03:04:05.000006Z", "msg_type": "execute_request", "version": "5.2"}, "parent_header": {}, "metadata": {}, "content": {"code": "1"}}`)
	f.sendFrame(frame, true)
	require.Equal(t, "ok", field(of(t, f.done("twice"), "execute_reply"), "status"))
	f.sendFrame(frame, true)
	require.Equal(t, "error", field(of(t, f.done("twice"), "execute_reply"), "status"))
	for name, bad := range map[string]string{
		"version": `{"channel": "shell", "header": {"msg_id": "version", "session": "s", "msg_type": "execute_request", "version": "none"}, "content": {"code": "1"}}`,
		"content": `{"channel": "shell", "header": {"msg_id": "content", "session": "s", "msg_type": "execute_request", "version": "5.2"}, "content": {}}`,
		"channel": `{"channel": "control", "header": {"msg_id": "channel", "session": "s", "msg_type": "execute_request", "version": "5.2"}, "content": {"code": "1"}}`,
		"nul":     `{"channel": "shell", "header": {"msg_id": "nul", "session": "s", "msg_type": "execute_request", "version": "5.2"}, "content": {"code": "\u0000"}}`,
	} {
		f.sendFrame([]byte(bad), true)
		require.Equal(t, "error", field(of(t, f.done(name), "execute_reply"), "status"), name)
	}
	for _, junk := range []string{"", "hello", "[]", "{}", "\x00\xff\xff\xff\xff", `{"header": {"msg_type": "execute_request", "msg_id": "` + strings.Repeat("x", 20_000) + `"}}`} {
		f.sendFrame([]byte(junk), true)
	}
	require.Equal(t, "ok", field(of(t, f.done(f.execute("2")), "execute_reply"), "status"), "nothing is held up")
	require.Eventually(t, func() bool { return d.contextOf(k).State() == "idle" }, 10*time.Second, time.Millisecond)
}

func TestWhoMayConnect(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	_, resp, err := d.dial(kernelModel{ID: "11111111-2222-3333-4444-555555555555"}, messaging.FramingV1, "", nil)
	require.Error(t, err)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	for name, c := range map[string]struct {
		header http.Header
		status int
		answer string
	}{
		"no key":                        {http.Header{}, 401, ""},
		"wrong key":                     {http.Header{"Authorization": {"token e2b_0"}}, 401, ""},
		"cookie of another site's page": {http.Header{"Cookie": {access.Cookie + "=" + d.key}, "Origin": {"https://evil.example"}}, 403, ""},
		"key of another site's page":    {http.Header{"Authorization": {"token " + d.key}, "Origin": {"https://lab.example"}}, 101, ""},
		"cookie of our page":            {http.Header{"Cookie": {access.Cookie + "=" + d.key}, "Origin": {d.url}}, 101, ""},
		"key as a subprotocol": {
			http.Header{"Sec-Websocket-Protocol": {access.TokenProtocol + ", " + access.TokenProtocol + "." + d.key}}, 101, access.TokenProtocol,
		},
		"and framing": {
			http.Header{"Sec-Websocket-Protocol": {access.TokenProtocol + "." + d.key + ", " + string(messaging.FramingV1)}}, 101, string(messaging.FramingV1),
		},
		"unknown subprotocol": {http.Header{"Authorization": {"token " + d.key}, "Sec-Websocket-Protocol": {"v9.kernel"}}, 101, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, resp, err := d.dial(k, messaging.FramingLegacy, "", c.header)
			require.Equal(t, c.status, resp.StatusCode)
			if c.status == 101 {
				require.NoError(t, err)
				require.Equal(t, c.answer, resp.Header.Get("Sec-WebSocket-Protocol"))
				f.close()
			}
		})
	}
}

func TestSessionComesBackToWhatItMissed(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	f := d.connect(k, messaging.FramingV1, "tab")
	id := f.execute("input(); print('while away')")
	f.until(func(m *messaging.Message) bool { return m.Channel == messaging.Stdin })
	behind := f.execute("print('and behind')")
	f.send(messaging.Stdin, "input_reply", map[string]any{"value": ""})
	f.until(func(m *messaging.Message) bool { return m.ParentID() == id && m.Header.MsgType == "stream" })
	f.close()

	f = d.connect(k, messaging.FramingV1, "tab")
	require.Equal(t, "and behind\n", printed(f.done(behind)))
	require.Equal(t, 1, d.model(k).Connections)

	// A second websocket of the session takes the place of the first; JupyterLab's does not come back after that.
	again := d.connect(k, messaging.FramingLegacy, "tab")
	require.Equal(t, websocket.CloseGoingAway, f.closed())
	again.done(again.execute("1"))
	require.Equal(t, 1, d.model(k).Connections)
	other := d.connect(k, messaging.FramingV1, "window")
	require.Equal(t, 2, d.model(k).Connections)
	other.close()
	again.close()
	require.Eventually(t, func() bool { return d.model(k).Connections == 0 }, patience, 10e6)
}

func (d *daemon) model(k kernelModel) kernelModel {
	_, body, _ := d.ask("GET", "/api/kernels/"+k.ID, "", nil)
	return decode[kernelModel](d.t, body)
}

func TestRestartIsHeardByAll(t *testing.T) {
	eachPython(t, func(t *testing.T, d *daemon) {
		k := d.start()
		f := d.connect(k, messaging.FramingV1, "")
		f.done(f.execute("x = 1"))
		slow := f.execute(sleep)
		f.until(func(m *messaging.Message) bool { return m.ParentID() == slow && m.Header.MsgType == "stream" })
		status, body, _ := d.ask("POST", "/api/kernels/"+k.ID+"/restart", "", nil)
		require.Equal(t, http.StatusOK, status, body)
		seen := f.done(slow)
		require.Equal(t, "error", field(of(t, seen, "execute_reply"), "status"), "nobody waits for a kernel that is gone")
		seen = f.done(f.execute("x"))
		require.Equal(t, "NameError", field(of(t, seen, "execute_reply"), "ename"))
		require.NotContains(t, kinds(seen), "restarting", "it was asked for")
	})
}

func TestKernelThatDiesIsStartedAfresh(t *testing.T) {
	eachPython(t, func(t *testing.T, d *daemon) {
		k := d.start()
		f, other := d.connect(k, messaging.FramingV1, "tab"), d.connect(k, messaging.FramingLegacy, "")
		id := f.execute("import os; os._exit(3)")
		seen := f.until(func(m *messaging.Message) bool { return state(m) == "restarting" })
		var own []*messaging.Message
		for _, m := range seen {
			if m.ParentID() == id {
				own = append(own, m)
			}
		}
		require.Equal(t, "KernelDied", field(of(t, own, "execute_reply"), "ename"), "what it died of is told first")
		require.Contains(t, field(of(t, own, "error"), "evalue"), "exit")
		require.Nil(t, seen[len(seen)-1].Parent)
		other.until(func(m *messaging.Message) bool { return state(m) == "restarting" })
		seen = f.done(f.execute("print('alive')"))
		require.Equal(t, "alive\n", printed(seen))
		other.until(func(m *messaging.Message) bool { return printed([]*messaging.Message{m}) == "alive\n" })
		require.Eventually(t, func() bool { return d.model(k).ExecutionState == "idle" }, 10*time.Second, time.Millisecond)
	})
}

func TestKernelThatDiesBetweenRunsIsToldOnceToEachKindOfCaller(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	f := d.connect(k, messaging.FramingV1, "")
	f.done(f.execute("import os, threading; t = threading.Timer(0.05, os._exit, [3]); t.start()"))
	f.until(func(m *messaging.Message) bool { return state(m) == "restarting" })
	require.Equal(t, "1", resultOf(t, f.done(f.execute("1"))))
	_, err := d.contextOf(k).RunCode(d.context(), "1", nil)
	require.ErrorContains(t, err, "variables are lost")
	run, err := d.contextOf(k).RunCode(d.context(), "1", nil)
	require.NoError(t, err)
	require.Equal(t, "1", run.Text())
}

func resultOf(t *testing.T, seen []*messaging.Message) string {
	t.Helper()
	var content messaging.ExecuteResult
	require.NoError(t, json.Unmarshal(of(t, seen, "execute_result").Content, &content))
	text, _ := content.Data.Text("text/plain")
	return text
}

func TestEndOfAKernelEndsItsWebSockets(t *testing.T) {
	d := serve(t, nil)
	for name, end := range map[string]func(k kernelModel, f *front){
		"deleted": func(k kernelModel, _ *front) {
			status, _, _ := d.ask("DELETE", "/api/kernels/"+k.ID, "", nil)
			require.Equal(t, http.StatusNoContent, status)
		},
		"sandbox killed": func(k kernelModel, _ *front) {
			m, err := d.fleet.Get(d.owner, k.SandboxID)
			require.NoError(t, err)
			require.NoError(t, m.Kill(d.context()))
		},
		"context removed": func(k kernelModel, _ *front) { require.NoError(t, d.contextOf(k).Remove(d.context())) },
		"shutdown request": func(_ kernelModel, f *front) {
			id := f.send(messaging.Control, "shutdown_request", map[string]any{"restart": false})
			reply := f.until(func(m *messaging.Message) bool { return m.ParentID() == id && m.Header.MsgType == "shutdown_reply" })
			require.Equal(t, "ok", field(reply[len(reply)-1], "status"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := d.start()
			f := d.connect(k, messaging.FramingV1, "tab")
			f.execute(sleep)
			f.until(func(m *messaging.Message) bool { return m.Header.MsgType == "stream" })
			end(k, f)
			require.Equal(t, websocket.CloseNormalClosure, f.closed())
			_, resp, err := d.dial(k, messaging.FramingV1, "tab", nil)
			require.Error(t, err)
			require.Equal(t, http.StatusNotFound, resp.StatusCode)
		})
	}
}

func TestRestartBySenderOfAShutdownRequest(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	f := d.connect(k, messaging.FramingLegacy, "")
	f.done(f.execute("x = 1"))
	id := f.send(messaging.Control, "shutdown_request", map[string]any{"restart": true})
	require.JSONEq(t, `{"status": "ok", "restart": true}`, string(of(t, f.done(id), "shutdown_reply").Content))
	require.Equal(t, "NameError", field(of(t, f.done(f.execute("x")), "execute_reply"), "ename"))
}

func TestEndOfTheServerAsksClientsToComeBack(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	f := d.connect(k, messaging.FramingV1, "tab")
	f.execute(sleep)
	f.until(func(m *messaging.Message) bool { return m.Header.MsgType == "stream" })
	d.handler.Close()
	require.Equal(t, websocket.CloseServiceRestart, f.closed())
	_, resp, err := d.dial(k, messaging.FramingV1, "tab", nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}

func TestSlowClientIsCutOffAndHoldsUpNobody(t *testing.T) {
	d := serve(t, &jupyter.Options{QueueBytes: 1 << 20})
	k := d.start()
	slow := d.connect(k, messaging.FramingV1, "slow")
	f := d.connect(k, messaging.FramingV1, "")
	// Nobody reads at the slow one: more than its budget and what the network keeps by itself.
	for range 40 {
		require.Len(t, printed(f.done(f.execute("print('x' * 500_000)"))), 500_001)
	}
	require.Equal(t, websocket.CloseTryAgainLater, slow.closed())
	slow = d.connect(k, messaging.FramingV1, "slow")
	require.Equal(t, "2", resultOf(t, slow.done(slow.execute("1 + 1"))))
}

func TestProxiesOfJupyterServerGetWhatTheyCanTake(t *testing.T) {
	d := serve(t, nil)
	k := d.start()
	f, _, err := d.dial(k, messaging.FramingLegacy, "", http.Header{"Authorization": {"token " + d.key}, "User-Agent": {"Tornado/6.5"}})
	require.NoError(t, err)
	defer f.close()
	text := func(code string) string {
		id := f.execute(code)
		all := ""
		for {
			require.NoError(t, f.ws.SetReadDeadline(time.Now().Add(patience)))
			kind, frame, err := f.ws.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, websocket.TextMessage, kind, "they can't pass on binary frames")
			require.Less(t, len(frame), 10<<20, "nor large ones")
			m, err := f.framing.Decode(frame)
			require.NoError(t, err)
			if m.ParentID() == id && m.Header.MsgType == "stream" {
				all += field(m, "text")
			}
			if m.ParentID() == id && state(m) == "idle" {
				return all
			}
		}
	}
	require.Len(t, text("print('\\N{GREEK SMALL LETTER ALPHA}\\n' * 3_000_000, end='')"), 9_000_000)
	require.Contains(t, text("from IPython.display import HTML; display(HTML('x' * 9_000_000))"), "left out")
	require.Contains(t, text("from ipykernel.comm import Comm; Comm(target_name='t', buffers=[b'\\xff']); print('opened')"), "opened")

	// And they send the binary layout of buffers in text frames.
	frame, _, err := messaging.FramingLegacy.Encode(&messaging.Message{
		Channel: messaging.Shell, Buffers: [][]byte{[]byte("abc")}, Content: []byte(`{"code": "print(7)"}`),
		Header: messaging.Header{MsgID: "buffered", Session: "s", Username: "u", MsgType: "execute_request", Version: "5.2"},
	})
	require.NoError(t, err)
	f.sendFrame(frame, true)
	require.Equal(t, "7\n", printed(f.done("buffered")))
}

func TestVanishedClientsLeaveNothing(t *testing.T) {
	d := serve(t, &jupyter.Options{Absence: 1})
	k := d.start()
	for i := range 20 {
		f := d.connect(k, messaging.FramingV1, fmt.Sprint("tab", i))
		f.execute("1")
		f.close()
	}
	require.Eventually(t, func() bool { return d.model(k).Connections == 0 }, patience, 10e6)
	f := d.connect(k, messaging.FramingV1, "")
	require.Equal(t, "3", resultOf(t, f.done(f.execute("3"))))
}
