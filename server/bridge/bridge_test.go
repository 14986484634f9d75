package bridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/server/bridge"
)

func TestEventsTellARun(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	require.Equal(t, m.ID(), c.hi["sandbox"])
	require.Equal(t, bridge.Protocol, c.hi["protocol"])
	require.Equal(t, "python", c.hi["context"].(map[string]any)["language"])
	require.Len(t, c.hi["contexts"], 1)
	c.until("live")

	code := "import sys\nprint('out')\nsys.stdout.flush()\nprint('err', file=sys.stderr)\nopen('made.txt', 'w').write('x')\n6 * 7"
	value := c.ask("run", told{"code": code, "cell": "a cell"})
	require.Equal(t, m.Sandbox().DefaultContext().ID(), value["context"])
	done := c.over(value["run"])
	require.Equal(t, "started count stdout stderr result done", c.kinds(1))
	started := c.seen[2]
	require.Equal(t, code, started["code"])
	require.Equal(t, "a cell", started["cell"])
	require.Equal(t, "out\n", c.seen[4]["text"])
	require.Equal(t, "err\n", c.seen[5]["text"])
	result := c.seen[6]["result"].(map[string]any)
	require.Equal(t, "42", result["text"])
	require.Equal(t, true, result["is_main_result"])
	require.EqualValues(t, 1, done["execution_count"])
	usage := done["usage"].(map[string]any)
	require.Positive(t, usage["wall_ms"])
	require.Equal(t, "made.txt", usage["files"].([]any)[0].(map[string]any)["path"])
	require.Nil(t, done["error"])
	require.Nil(t, done["failure"])

	done = c.run("1 / 0")
	require.Equal(t, "started count error done", c.kinds(2))
	require.Equal(t, "ZeroDivisionError", done["error"].(map[string]any)["name"])
	raised := c.seen[len(c.seen)-2]["error"].(map[string]any)
	require.Contains(t, raised["traceback"], "division by zero")

	done = c.over(c.ask("run", told{"code": "while True: pass", "timeout_ms": 50})["run"])
	require.Equal(t, "deadline_exceeded", done["failure"].(map[string]any)["code"])

	c.run("from IPython.display import display, clear_output\nh = display('one', display_id=True)\nh.update('two')\nclear_output(wait=True)")
	require.Equal(t, "started count result update clear done", c.kinds(4))
	c.run("len?")
	require.Equal(t, "started count pages done", c.kinds(5))
	require.Contains(t, m.Logs()[1].Message, "code ran")
}

func TestClientsComeLateAndBack(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	first := d.dial(t, m, "")
	first.run("print('one')")
	first.run("print('two')")
	events := func(c *client) []told { return c.seen[1:] } // without hello
	late := d.dial(t, m, "")
	late.until("live")
	want := events(first)
	require.Equal(t, withoutLive(want), withoutLive(events(late)), "the same for all")

	middle := want[3].number()
	journal := fmt.Sprint(first.hi["journal"])
	back := d.dial(t, m, fmt.Sprintf("after=%d&journal=%s", middle, journal))
	back.until("live")
	require.Equal(t, withoutLive(want[4:]), withoutLive(events(back)))
	other := d.dial(t, m, fmt.Sprintf("after=%d&journal=of-another-daemon", middle))
	other.until("live")
	require.Equal(t, withoutLive(want), withoutLive(events(other)))

	status, text, _ := d.request(t, "GET", "/sandboxes/"+m.ID()+"/events?after=x", "", nil)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, text, "leave it out")
}

func withoutLive(events []told) []told {
	var out []told
	for _, e := range events {
		if e.kind() != "live" {
			out = append(out, e)
		}
	}
	return out
}

// gate is code that waits until a file is there.
const gate = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"

func TestRunsGoOnWithoutTheirViewer(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	c.ask("run", told{"code": "print('before', flush=True)\n" + gate + "print('after')"})
	c.send("run", told{"code": "print('the next one')"})
	for !strings.Contains(c.text(), "before") {
		c.next()
	}
	after := c.last
	journal := c.hi["journal"]
	require.NoError(t, c.conn.Close())
	require.NoError(t, m.Sandbox().Files().WriteString(t.Context(), "go", ""))
	back := d.dial(t, m, fmt.Sprintf("after=%d&journal=%s", after, journal))
	back.over(2.0)
	require.Equal(t, "after\nthe next one\n", back.text())
}

func TestDriversTakeTurns(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	one, two := d.dial(t, m, ""), d.dial(t, m, "")
	const each = 8
	for i := range each {
		one.send("run", told{"code": fmt.Sprintf("print('one %d')", i), "cell": "one"})
		two.send("run", told{"code": fmt.Sprintf("print('two %d')", i), "cell": "two"})
	}
	for _, c := range []*client{one, two} {
		c.over(2.0 * each)
		running, next := 0.0, map[string]int{}
		for _, e := range c.seen {
			switch e.kind() {
			case "started":
				require.Zero(t, running, "one at a time")
				running = e["run"].(float64)
				cell := e["cell"].(string)
				require.Equal(t, fmt.Sprintf("print('%s %d')", cell, next[cell]), e["code"], "each in its own order")
				next[cell]++
			case "done":
				require.Equal(t, running, e["run"])
				running = 0
			}
		}
	}
	require.Equal(t, withoutLive(one.seen[1:]), withoutLive(two.seen[1:]))
}

func TestAnyoneAnswersInput(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	one, two := d.dial(t, m, ""), d.dial(t, m, "")
	_, message := one.refused("input", told{"value": "x"})
	require.Equal(t, "nothing asks for input", message)

	one.ask("run", told{"code": "print('hi', input('name? '))"})
	asked := two.until("input")
	require.Equal(t, "name? ", asked["prompt"])
	two.refused("input", told{"run": 99, "value": "x"})
	two.ask("input", told{"run": asked["run"], "value": "Ada"})
	one.over(1.0)
	// The question comes by another channel than the rest, so its place is not certain.
	require.Equal(t, "started answered stdout done", strings.Join(strings.Fields(strings.NewReplacer("count", "", "input", "").Replace(one.kinds(1))), " "))
	require.Equal(t, "hi Ada\n", one.text())
	one.until("done")

	one.ask("run", told{"code": "import getpass\nlen(getpass.getpass('secret? '))"})
	require.Equal(t, true, one.until("input")["password"])
	one.ask("input", told{"value": "hunter2"})
	require.Equal(t, "", one.until("answered")["value"], "secrets are not kept")
	one.over(2.0)

	one.ask("run", told{"code": "input()"})
	one.until("input")
	one.ask("input", told{"end": true})
	require.Equal(t, "EOFError", one.over(3.0)["error"].(map[string]any)["name"])
}

func TestInterruptAndWaitingRuns(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	c.ask("run", told{"code": "print('on', flush=True)\nwhile True: pass"})
	waiting := []string{c.send("run", told{"code": "1"}), c.send("run", told{"code": "2"})}
	c.until("stdout")
	require.EqualValues(t, 2, c.ask("interrupt", told{"waiting": true})["dropped"])
	require.Equal(t, "KeyboardInterrupt", c.over(1.0)["error"].(map[string]any)["name"])
	for _, id := range waiting {
		require.Equal(t, "canceled", c.answerTo(id)["error"].(map[string]any)["code"])
	}
	c.run("3")
	require.Equal(t, "started count result done", c.kinds(2))

	c.ask("run", told{"code": gate})
	for range 120 {
		c.send("run", told{"code": "pass"})
	}
	code, message := "", ""
	for code == "" {
		if a := c.receive(); a.kind() == "answer" && a["error"] != nil {
			p := a["error"].(map[string]any)
			code, message = p["code"].(string), p["message"].(string)
		}
	}
	require.Equal(t, "invalid_argument", code)
	require.Contains(t, message, "wait already")
}

func TestRestartsAreTold(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	c.run("x = 1")
	c.ask("restart", nil)
	require.Nil(t, c.until("restarted")["undone"])
	require.Equal(t, "NameError", c.run("x")["error"].(map[string]any)["name"])
	c.ask("run", told{"code": gate})
	c.ask("restart", nil)
	done := c.over(3.0)
	require.False(t, done["failure"] == nil && done["error"] == nil, "it died, or was interrupted before")
	c.until("restarted")
	late := d.dial(t, m, "")
	late.until("live")
	require.Equal(t, withoutLive(c.seen[1:]), withoutLive(late.seen[1:]))
}

func TestQuestionsAboutCode(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	c.run("import math")
	value := c.ask("complete", told{"code": "'𝔘'; math.flo", "cursor": 13})
	require.EqualValues(t, 10, value["start"], "in code points")
	require.EqualValues(t, 13, value["end"])
	match := value["matches"].([]any)[0].(map[string]any)
	require.Contains(t, match["text"], "floor")
	value = c.ask("inspect", told{"code": "math.floor", "cursor": 10})
	require.Equal(t, true, value["found"])
	require.Contains(t, value["text"], "floor of x")

	made := c.ask("create_context", told{"language": "python"})
	require.Len(t, c.ask("contexts", nil)["contexts"], 2)
	other := d.dial(t, m, "context="+made["id"].(string))
	require.Equal(t, made["id"], other.hi["context"].(map[string]any)["id"])
	require.Equal(t, "NameError", other.run("math")["error"].(map[string]any)["name"])
	c.ask("remove_context", told{"context": made["id"]})
	require.Equal(t, "removed", other.until("gone")["reason"])
	_, _, err := other.conn.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseNormalClosure), "%v", err)
	code, _ := c.refused("run", told{"code": "1", "context": made["id"]})
	require.Equal(t, "not_found", code)
	code, _ = c.refused("create_context", told{"language": "cobol"})
	require.Equal(t, "invalid_argument", code)
	c.ask("ping", nil)
}

func TestKilledSandboxIsGone(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	c.ask("run", told{"code": gate})
	require.NoError(t, m.Kill(t.Context()))
	require.Equal(t, "killed", c.until("gone")["reason"])
	require.Contains(t, c.kinds(1), "done")
	status, _, _ := d.request(t, "GET", "/sandboxes/"+m.ID()+"/events", "", nil)
	require.Equal(t, http.StatusNotFound, status)
}

func TestCloseTellsViewersAndEndsRuns(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	c.ask("run", told{"code": gate})
	id := c.send("run", told{"code": "2"})
	c.ask("ping", nil)
	require.NoError(t, d.handler.Close(t.Context()))
	for {
		_, _, err := c.conn.ReadMessage()
		if err != nil {
			require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
			break
		}
	}
	require.NotEmpty(t, id)
	status, text, _ := d.request(t, "GET", "/sandboxes/"+m.ID()+"/events", "", nil)
	require.Equal(t, http.StatusServiceUnavailable, status, text)
	execution, err := m.Sandbox().RunCode(t.Context(), "1", nil)
	require.NoError(t, err, "the run before was interrupted")
	require.Equal(t, "1", execution.Text())
}

func TestMalformedRequestsAreAnswered(t *testing.T) {
	d := openDaemon(t)
	c := d.dial(t, d.create(t), "")
	for _, bad := range []struct{ text, message string }{
		{"", "no JSON object"},
		{"null", "no JSON object"},
		{`{"type":`, "no JSON object"},
		{`[1]`, "no JSON object"},
		{`{"type":"dance","id":"1"}`, `"dance" is not known`},
		{`{"type":"run","id":"1","code":7}`, "code"},
		{`{"type":"run","id":"1","value":"7"}`, `no member "value"`},
		{`{"type":"run","id":"1","colour":"7"}`, `unknown field "colour"`},
		{`{"type":"run","id":"1","code":"1","timeout_ms":-1}`, "timeout_ms"},
		{`{"type":"run","id":"1","code":"1","timeout_ms":1e300}`, "timeout_ms"},
		{`{"type":"complete","id":"1","cursor":-4}`, "cursor"},
		{`{"type":"run","id":"1","code":"a\u0000b"}`, "NUL"},
		{`{"type":"run","id":"` + strings.Repeat("x", 65) + `","code":"1"}`, "64 bytes"},
		{`{"type":"remove_context","id":"1"}`, "name the one"},
	} {
		require.NoError(t, c.conn.WriteMessage(websocket.TextMessage, []byte(bad.text)))
		for {
			a := c.receive()
			if a.kind() != "answer" {
				continue
			}
			require.Contains(t, a["error"].(map[string]any)["message"], bad.message, bad.text)
			break
		}
	}
	require.NoError(t, c.conn.WriteMessage(websocket.BinaryMessage, []byte("x")))
	require.Contains(t, c.answerTo("")["error"].(map[string]any)["message"], "not binary")
	require.NoError(t, c.conn.WriteMessage(websocket.TextMessage, make([]byte, 5<<20)))
	for {
		_, _, err := c.conn.ReadMessage()
		if err != nil {
			require.True(t, websocket.IsCloseError(err, websocket.CloseMessageTooBig) || !websocket.IsUnexpectedCloseError(err), "%v", err)
			return
		}
	}
}

func TestPausedSandboxIsSeenAndRefuses(t *testing.T) {
	d := openDaemon(t)
	m := d.create(t)
	c := d.dial(t, m, "")
	c.run("print('before')")
	require.NoError(t, m.Pause(t.Context()))
	code, _ := c.refused("run", told{"code": "1"})
	require.Equal(t, "conflict", code)
	late := d.dial(t, m, "")
	late.until("live")
	require.Equal(t, "before\n", late.text())
	require.NoError(t, m.Resume(t.Context(), time.Minute))
	c.run("print('after')")
	require.Equal(t, "before\nafter\n", c.text())
}
