package jupyter_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// front is a front end of a kernel.
type front struct {
	t       *testing.T
	ws      *websocket.Conn
	framing messaging.Framing
	session string
}

// dial opens a kernel's websocket. A session of "" is not named to the server.
func (d *daemon) dial(k kernelModel, framing messaging.Framing, session string, header http.Header) (*front, *http.Response, error) {
	d.t.Helper()
	url := "ws" + strings.TrimPrefix(d.url, "http") + "/api/kernels/" + k.ID + "/channels"
	if session != "" {
		url += "?session_id=" + session
	}
	dialer := websocket.Dialer{HandshakeTimeout: patience}
	if framing != messaging.FramingLegacy {
		dialer.Subprotocols = []string{string(framing)}
	}
	if header == nil {
		header = http.Header{"Authorization": {"token " + d.key}}
	}
	ws, resp, err := dialer.DialContext(d.context(), url, header)
	if err != nil {
		return nil, resp, err
	}
	if session == "" {
		session = uuid.NewString()
	}
	return &front{t: d.t, ws: ws, framing: framing, session: session}, resp, nil
}

// connect is dial that must go well.
func (d *daemon) connect(k kernelModel, framing messaging.Framing, session string) *front {
	d.t.Helper()
	f, resp, err := d.dial(k, framing, session, nil)
	require.NoError(d.t, err)
	require.Equal(d.t, string(framing), resp.Header.Get("Sec-WebSocket-Protocol"))
	d.t.Cleanup(f.close)
	return f
}

func (f *front) close() { _ = f.ws.Close() }

// send sends a message and returns its id.
func (f *front) send(ch messaging.Channel, kind string, content any, buffers ...[]byte) string {
	f.t.Helper()
	id := "msg-" + uuid.NewString()
	raw, err := json.Marshal(content)
	require.NoError(f.t, err)
	frame, text, err := f.framing.Encode(&messaging.Message{
		Channel: ch, Content: raw, Buffers: buffers,
		Header: messaging.Header{MsgID: id, Session: f.session, Username: "ada", MsgType: kind, Version: "5.2", Date: "2026-01-02T03:04:05.000006Z"},
	})
	require.NoError(f.t, err)
	f.sendFrame(frame, text)
	return id
}

func (f *front) sendFrame(frame []byte, text bool) {
	f.t.Helper()
	kind := websocket.BinaryMessage
	if text {
		kind = websocket.TextMessage
	}
	require.NoError(f.t, f.ws.WriteMessage(kind, frame))
}

// execute sends code.
func (f *front) execute(code string) string {
	f.t.Helper()
	return f.send(messaging.Shell, "execute_request", map[string]any{"code": code, "allow_stdin": true, "store_history": true})
}

// next is the next message.
func (f *front) next() (*messaging.Message, error) {
	if err := f.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	_, frame, err := f.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	return f.framing.Decode(frame)
}

// until reads to the first message that is wanted and returns all that came.
func (f *front) until(wanted func(*messaging.Message) bool) []*messaging.Message {
	f.t.Helper()
	var seen []*messaging.Message
	for {
		m, err := f.next()
		require.NoError(f.t, err)
		if seen = append(seen, m); wanted(m) {
			return seen
		}
	}
}

// done reads until a request has both its reply and its idle, and returns what belongs to it.
func (f *front) done(id string) []*messaging.Message {
	f.t.Helper()
	replied, idle := false, false
	all := f.until(func(m *messaging.Message) bool {
		if m.ParentID() == id {
			replied = replied || strings.HasSuffix(m.Header.MsgType, "_reply")
			idle = idle || state(m) == "idle"
		}
		return replied && idle
	})
	var own []*messaging.Message
	for _, m := range all {
		if m.ParentID() == id {
			own = append(own, m)
		}
	}
	return own
}

// closed reads to the websocket's end and returns its code.
func (f *front) closed() int {
	f.t.Helper()
	for {
		_, err := f.next()
		if err == nil {
			continue
		}
		closing := new(websocket.CloseError)
		require.ErrorAs(f.t, err, &closing)
		return closing.Code
	}
}

func state(m *messaging.Message) string {
	if m.Header.MsgType != "status" {
		return ""
	}
	return field(m, "execution_state")
}

// field is a member of a message's content that is a text.
func field(m *messaging.Message, name string) string {
	var members map[string]any
	if json.Unmarshal(m.Content, &members) != nil {
		return ""
	}
	text, _ := members[name].(string)
	return text
}

// of is the first message of a type.
func of(t *testing.T, messages []*messaging.Message, kind string) *messaging.Message {
	t.Helper()
	for _, m := range messages {
		if m.Header.MsgType == kind {
			return m
		}
	}
	require.Fail(t, "no "+kind, "%v", kinds(messages))
	return nil
}

// kinds are the types of messages, of statuses what they say.
func kinds(messages []*messaging.Message) []string {
	var out []string
	for _, m := range messages {
		if s := state(m); s != "" {
			out = append(out, s)
		} else {
			out = append(out, m.Header.MsgType)
		}
	}
	return out
}

// printed is what messages print.
func printed(messages []*messaging.Message) string {
	var text strings.Builder
	for _, m := range messages {
		if m.Header.MsgType == "stream" {
			text.WriteString(field(m, "text"))
		}
	}
	return text.String()
}
