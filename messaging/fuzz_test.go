package messaging_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// join puts frames into one fuzz input: each with its length in two bytes before it. split is its counterpart.
func join(frames [][]byte) []byte {
	var out []byte
	for _, f := range frames {
		if len(f) > 0xffff {
			f = f[:0xffff]
		}
		out = append(out, byte(len(f)>>8), byte(len(f)))
		out = append(out, f...)
	}
	return out
}

func split(b []byte) [][]byte {
	var out [][]byte
	for len(b) >= 2 {
		n := min(int(b[0])<<8|int(b[1]), len(b)-2)
		out = append(out, b[2:2+n])
		b = b[2+n:]
	}
	return out
}

func FuzzDecodeFrames(f *testing.F) {
	for _, c := range captures(f) {
		for i := range c.Messages {
			f.Add(join(c.frames(f, i)))
		}
	}
	open, err := messaging.NewSigner("", nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := open.Decode(messaging.IOPub, split(b))
		if err != nil {
			return
		}
		require.NotEmpty(t, m.Header.MsgType)
		_ = m.Header.Time()
		_ = messaging.Describe("<-", m)
		if content, err := m.Decode(); err == nil {
			require.NotNil(t, content)
		}
		// What was read can be passed on, and reads the same.
		frames, err := open.Encode(m)
		require.NoError(t, err)
		again, err := open.Decode(messaging.IOPub, frames)
		require.NoError(t, err)
		require.Equal(t, m.Header, again.Header)
	})
}

func FuzzSignature(f *testing.F) {
	c := captures(f)[0]
	for i := range c.Messages {
		f.Add(i, 1, []byte("x"))
	}
	f.Fuzz(func(t *testing.T, message, part int, change []byte) {
		frames := c.frames(t, abs(message)%len(c.Messages))
		at := 0
		for string(frames[at]) != messaging.Delimiter {
			at++
		}
		i := at + 1 + abs(part)%5
		if bytes.Equal(frames[i], change) {
			return
		}
		frames[i] = change
		_, err := c.signer(t).Decode(messaging.IOPub, frames)
		require.ErrorIs(t, err, messaging.ErrSignature)
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

func FuzzContent(f *testing.F) {
	for _, c := range captures(f) {
		c.each(f, func(m *messaging.Message, _ [][]byte) { f.Add(m.Header.MsgType, []byte(m.Content)) })
	}
	f.Fuzz(func(t *testing.T, kind string, content []byte) {
		m := &messaging.Message{Header: messaging.Header{MsgType: kind}, Content: content}
		body, err := m.Decode()
		if err != nil {
			var bad *messaging.ContentError
			require.ErrorAs(t, err, &bad)
			return
		}
		if _, unknown := body.(*messaging.UnknownContent); unknown {
			return
		}
		// The fast way and encoding/json agree on what is JSON.
		if stream, ok := body.(*messaging.Stream); ok && json.Valid(content) {
			var plain map[string]any
			require.NoError(t, json.Unmarshal(content, &plain))
			text, isText := plain["text"].(string)
			if _, isName := plain["name"].(string); isName && isText {
				require.Equal(t, text, stream.Text)
			}
		}
	})
}

func FuzzValidJSON(f *testing.F) {
	for _, s := range []string{`{"a": NaN}`, `[Infinity, -Infinity, "NaN"]`, "\"\xff\"", `{"a": "\\"}`, `-`, `"\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		require.True(t, json.Valid(messaging.ValidJSON(b)))
	})
}
