package messaging_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// capture is what testdata/capture.py recorded of one kernel.
type capture struct {
	IPykernel string `json:"ipykernel"`
	Key       string `json:"key"`
	Messages  []struct {
		Channel messaging.Channel `json:"channel"`
		Frames  []string          `json:"frames"`
	} `json:"messages"`
}

func captures(t testing.TB) []capture {
	t.Helper()
	paths, err := filepath.Glob("testdata/ipykernel-*.json")
	require.NoError(t, err)
	require.Len(t, paths, 2)
	all := make([]capture, len(paths))
	for i, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &all[i]))
	}
	return all
}

func (c *capture) signer(t testing.TB) *messaging.Signer {
	t.Helper()
	s, err := messaging.NewSigner("hmac-sha256", []byte(c.Key))
	require.NoError(t, err)
	return s
}

// frames decodes the frames of message i.
func (c *capture) frames(t testing.TB, i int) [][]byte {
	t.Helper()
	var out [][]byte
	for _, text := range c.Messages[i].Frames {
		b, err := base64.StdEncoding.DecodeString(text)
		require.NoError(t, err)
		out = append(out, b)
	}
	return out
}

// each decodes all messages of a capture.
func (c *capture) each(t testing.TB, do func(m *messaging.Message, frames [][]byte)) {
	t.Helper()
	decoder := messaging.Decoder{Signer: c.signer(t)}
	for i, raw := range c.Messages {
		frames := c.frames(t, i)
		m, err := decoder.Decode(raw.Channel, frames)
		require.NoError(t, err, "message %d", i)
		do(m, frames)
	}
}

func TestCapturedMessagesDecodeAndEncodeToTheSameBytes(t *testing.T) {
	for _, c := range captures(t) {
		t.Run("ipykernel-"+c.IPykernel, func(t *testing.T) {
			c.each(t, func(m *messaging.Message, frames [][]byte) {
				again, err := c.signer(t).Encode(m)
				require.NoError(t, err)
				require.Equal(t, frames, again, m.Header.MsgType)
				require.False(t, m.Header.Time().IsZero(), m.Header.Date)
			})
		})
	}
}

func TestCapturedContentsAreOfKnownTypes(t *testing.T) {
	for _, c := range captures(t) {
		t.Run("ipykernel-"+c.IPykernel, func(t *testing.T) {
			seen := map[string]messaging.Content{}
			var texts, names []string
			c.each(t, func(m *messaging.Message, _ [][]byte) {
				content, err := m.Decode()
				require.NoError(t, err, m.Header.MsgType)
				_, unknown := content.(*messaging.UnknownContent)
				require.False(t, unknown, m.Header.MsgType)
				require.Equal(t, m.Header.MsgType, content.MsgType())
				if s, ok := content.(*messaging.Stream); ok && m.Parent != nil {
					texts, names = append(texts, s.Text), append(names, s.Name)
				}
				if _, twice := seen[m.Header.MsgType]; !twice {
					seen[m.Header.MsgType] = content
				}
				if open, ok := content.(*messaging.CommOpen); ok {
					require.Equal(t, "t", open.TargetName)
					require.Equal(t, [][]byte{{0, 1}, {}}, m.Buffers)
				}
			})
			require.GreaterOrEqual(t, len(seen), 21)
			require.Contains(t, texts, "out\n")
			require.Contains(t, names, messaging.Stderr)
			require.Equal(t, "1", mustText(t, seen["execute_result"].(*messaging.ExecuteResult).Data))
			require.Equal(t, "ZeroDivisionError", seen["error"].(*messaging.ErrorOutput).EName)
			require.Equal(t, "name? ", seen["input_request"].(*messaging.InputRequest).Prompt)
			require.Equal(t, "d1", seen["update_display_data"].(*messaging.UpdateDisplayData).Transient.DisplayID)
			require.True(t, seen["clear_output"].(*messaging.ClearOutput).Wait)
			require.Equal(t, "python", seen["kernel_info_reply"].(*messaging.KernelInfoReply).LanguageInfo.Name)
			require.Equal(t, "incomplete", seen["is_complete_reply"].(*messaging.IsCompleteReply).Status)
			require.Contains(t, seen["complete_reply"].(*messaging.CompleteReply).Matches, "print")
			require.True(t, seen["inspect_reply"].(*messaging.InspectReply).Found)
			require.Positive(t, seen["usage_reply"].(*messaging.UsageReply).PID)
			require.Len(t, seen["history_reply"].(*messaging.HistoryReply).History, 2)
			require.True(t, seen["interrupt_reply"].(*messaging.InterruptReply).Status.OK())
		})
	}
}

func mustText(t *testing.T, b messaging.MIMEBundle) string {
	t.Helper()
	text, ok := b.Text("text/plain")
	require.True(t, ok)
	return text
}
