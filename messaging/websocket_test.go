package messaging_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

var framings = map[string]messaging.Framing{"legacy": messaging.FramingLegacy, "v1": messaging.FramingV1}

// comm is a message with all that one can have.
func comm(t testing.TB, buffers ...[]byte) *messaging.Message {
	m, err := messaging.FramingLegacy.Decode([]byte(`{
		"header": {"msg_id": "i", "msg_type": "comm_msg", "session": "s", "username": "u", "date": "2026-01-02T03:04:05.000006Z", "version": "5.2", "odd": [1]},
		"parent_header": {"msg_id": "p", "msg_type": "execute_request"},
		"metadata": {"cellId": "c"}, "content": {"comm_id": "1", "data": {"x": "\u00fc<&>"}}, "channel": "shell", "buffers": []}`))
	require.NoError(t, err)
	m.Buffers = buffers
	return m
}

func TestWebSocketRoundTrip(t *testing.T) {
	for name, framing := range framings {
		t.Run(name, func(t *testing.T) {
			for _, buffers := range [][][]byte{nil, {[]byte("\x00\xff")}, {{}, bytes.Repeat([]byte{7}, 300), {}}} {
				m := comm(t, buffers...)
				frame, text, err := framing.Encode(m)
				require.NoError(t, err)
				require.Equal(t, framing == messaging.FramingLegacy && buffers == nil, text)
				again, err := framing.Decode(frame)
				require.NoError(t, err)
				require.Equal(t, m.Header, again.Header, "also what we do not know stays")
				require.Equal(t, m.Parent, again.Parent)
				require.JSONEq(t, string(m.Content), string(again.Content))
				require.JSONEq(t, string(m.Metadata), string(again.Metadata))
				require.Equal(t, m.Channel, again.Channel)
				require.Len(t, again.Buffers, len(buffers))
				for i, b := range buffers {
					require.Equal(t, b, append([]byte{}, again.Buffers[i]...))
				}
			}
		})
	}
}

func TestLegacyFrameIsWhatJupyterServerSends(t *testing.T) {
	frame, text, err := messaging.FramingLegacy.Encode(comm(t))
	require.NoError(t, err)
	require.True(t, text)
	var sent map[string]any
	require.NoError(t, json.Unmarshal(frame, &sent))
	require.Equal(t, "i", sent["msg_id"])
	require.Equal(t, "comm_msg", sent["msg_type"])
	require.Equal(t, "shell", sent["channel"])
	require.Equal(t, []any{}, sent["buffers"])
	require.Equal(t, "p", sent["parent_header"].(map[string]any)["msg_id"])

	frame, text, err = messaging.FramingLegacy.Encode(comm(t, []byte("abc"), []byte("de")))
	require.NoError(t, err)
	require.False(t, text)
	require.Equal(t, uint32(3), binary.BigEndian.Uint32(frame))
	require.Equal(t, uint32(16), binary.BigEndian.Uint32(frame[4:]))
	second, third := binary.BigEndian.Uint32(frame[8:]), binary.BigEndian.Uint32(frame[12:])
	require.Equal(t, "abc", string(frame[second:third]))
	require.Equal(t, "de", string(frame[third:]))
	sent = nil
	require.NoError(t, json.Unmarshal(frame[16:second], &sent))
	require.NotContains(t, sent, "buffers")
}

func TestV1FrameLayout(t *testing.T) {
	frame, _, err := messaging.FramingV1.Encode(comm(t, []byte("abc")))
	require.NoError(t, err)
	n := binary.LittleEndian.Uint64(frame)
	require.Equal(t, uint64(7), n)
	offset := func(i uint64) uint64 { return binary.LittleEndian.Uint64(frame[8*(i+1):]) }
	require.Equal(t, 8*(n+1), offset(0))
	require.Equal(t, uint64(len(frame)), offset(n-1))
	require.Equal(t, "shell", string(frame[offset(0):offset(1)]))
	require.JSONEq(t, `{"cellId": "c"}`, string(frame[offset(3):offset(4)]))
	require.Equal(t, "abc", string(frame[offset(5):offset(6)]))
}

func TestLegacyFrameMayLackWhatGatewayClientsLeaveOut(t *testing.T) {
	for kind, want := range map[string]messaging.Channel{
		"execute_request": messaging.Shell, "comm_msg": messaging.Shell, "input_reply": messaging.Stdin,
		"interrupt_request": messaging.Control, "shutdown_request": messaging.Control, "debug_request": messaging.Control,
	} {
		m, err := messaging.FramingLegacy.Decode([]byte(`{"header": {"msg_id": "1", "date": 1700000000.25, "msg_type": "` + kind + `"}, "content": {}}`))
		require.NoError(t, err)
		require.Equal(t, want, m.Channel, kind)
		require.Nil(t, m.Parent)
		require.Equal(t, "{}", string(m.Metadata))
		require.Equal(t, int64(1700000000), m.Header.Time().Unix())
	}
}

func TestFramesForBrowsersAreJSON(t *testing.T) {
	for name, framing := range framings {
		t.Run(name, func(t *testing.T) {
			m := comm(t)
			m.Content = json.RawMessage(`{"data": {"a": NaN, "b": -Infinity, "c": "` + "\xff" + ` NaN"}}`)
			frame, _, err := framing.Encode(m)
			require.NoError(t, err)
			again, err := framing.Decode(frame)
			require.NoError(t, err)
			require.JSONEq(t, `{"data": {"a": null, "b": null, "c": "\ufffd NaN"}}`, string(again.Content))
		})
	}
}

func TestFramesWithoutMessageAreRefused(t *testing.T) {
	good, _, err := messaging.FramingV1.Encode(comm(t, []byte("b")))
	require.NoError(t, err)
	change := func(at int, to uint64) string {
		frame := bytes.Clone(good)
		binary.LittleEndian.PutUint64(frame[at:], to)
		return string(frame)
	}
	for name, frame := range map[string]string{
		"empty": "", "short": "1234567", "no offsets": change(0, 0), "few offsets": change(0, 5), "many offsets": change(0, 1<<60),
		"first offset low": change(8, 3), "offset past the end": change(16, 1<<40), "offset before the last": change(24, 1),
	} {
		_, err := messaging.FramingV1.Decode([]byte(frame))
		require.ErrorIs(t, err, messaging.ErrFraming, name)
	}
	for name, frame := range map[string]string{
		"empty": "", "no JSON": "hello", "no object": "[]", "no header": "{}", "no type": `{"header": {"msg_id": "1"}}`,
		"content": `{"header": {"msg_type": "x"}, "content": [1]}`, "metadata": `{"header": {"msg_type": "x"}, "metadata": "a"}`,
		"channel": `{"header": {"msg_type": "x"}, "channel": "hb"}`, "parent": `{"header": {"msg_type": "x"}, "parent_header": 3}`,
		"no parts": "\x00\x00\x00\x00\x00\x00\x00\x00", "many parts": "\x00\xff\xff\xff\x00\x00\x00\x08",
		"part in the prefix": "\x00\x00\x00\x01\x00\x00\x00\x04{}", "part past the end": "\x00\x00\x00\x01\x00\x00\xff\xff{}",
	} {
		_, err := messaging.FramingLegacy.Decode([]byte(frame))
		require.ErrorIs(t, err, messaging.ErrFraming, name)
	}
}

func FuzzWebSocketV1(f *testing.F)     { fuzzFraming(f, messaging.FramingV1) }
func FuzzWebSocketLegacy(f *testing.F) { fuzzFraming(f, messaging.FramingLegacy) }

// fuzzFraming checks that what is read can be passed on and reads the same, also by a kernel.
func fuzzFraming(f *testing.F, framing messaging.Framing) {
	for _, m := range []*messaging.Message{comm(f), comm(f, []byte("abc"), nil)} {
		frame, _, err := framing.Encode(m)
		require.NoError(f, err)
		f.Add(frame)
	}
	open, err := messaging.NewSigner("", nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := framing.Decode(bytes.Clone(frame))
		if err != nil {
			require.ErrorIs(t, err, messaging.ErrFraming)
			return
		}
		require.NotEmpty(t, m.Header.MsgType)
		require.True(t, strings.HasPrefix(strings.TrimSpace(string(m.Content)), "{"))
		again, _, err := framing.Encode(m)
		require.NoError(t, err)
		second, err := framing.Decode(again)
		require.NoError(t, err)
		require.Equal(t, m.Header.MsgID, second.Header.MsgID)
		require.Equal(t, m.Header.MsgType, second.Header.MsgType)
		require.Equal(t, m.ParentID(), second.ParentID())
		require.Equal(t, m.Channel, second.Channel)
		require.Equal(t, len(m.Buffers), len(second.Buffers))
		frames, err := open.Encode(m)
		require.NoError(t, err)
		_, err = open.Decode(m.Channel, frames)
		require.NoError(t, err)
	})
}
