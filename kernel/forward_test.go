package kernel_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// foreign is a message of a front end's.
func foreign(t *testing.T, ch messaging.Channel, id, kind, content string) *messaging.Message {
	t.Helper()
	m, err := messaging.FramingLegacy.Decode([]byte(`{"channel": "` + string(ch) + `", "header": {"msg_id": "` + id +
		`", "session": "front", "username": "me", "version": "5.2", "date": "2026-01-02T03:04:05.000006Z", "msg_type": "` + kind +
		`", "extra": true}, "metadata": {"cellId": "c"}, "content": ` + content + `}`))
	require.NoError(t, err)
	return m
}

func TestForeignRequestKeepsItsIDs(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("work", func(c *kerneltest.Call) { c.Stream("stdout", "a") })
		tap := conn.Subscribe(nil)
		defer func() { _ = tap.Close() }()
		seen := 0
		e, err := conn.ExecuteMessage(t.Context(), foreign(t, messaging.Shell, "front_1", "execute_request", `{"code": "work", "odd": [1]}`),
			&kernel.ExecuteOptions{Unread: true, OnMessage: func(*messaging.Message) { seen++ }})
		require.NoError(t, err)
		require.Equal(t, "front_1", e.ID())
		s := collect(t, e)
		require.NoError(t, s.err)
		require.Empty(t, s.texts, "nothing waits for a reader")
		require.Equal(t, 5, seen)
		for _, kind := range []string{"status", "execute_input", "stream"} {
			m, err := tap.Next(t.Context())
			require.NoError(t, err)
			if m.ParentID() != "front_1" { // the last word about our first question
				m, err = tap.Next(t.Context())
				require.NoError(t, err)
			}
			require.Equal(t, kind, m.Header.MsgType)
			require.Equal(t, "front", m.Parent.Session)
			raw, err := m.Parent.MarshalJSON()
			require.NoError(t, err)
			require.Contains(t, string(raw), `"extra": true`, "the header comes back as it was")
		}
		got := fake.Received("execute_request")[0]
		require.JSONEq(t, `{"code": "work", "odd": [1], "silent": false, "stop_on_error": false}`, string(got.Content))
		require.JSONEq(t, `{"cellId": "c"}`, string(got.Metadata))
	})
}

func TestForeignRequestWaitsForItsTurn(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("slow", func(c *kerneltest.Call) { _ = c.Sleep(3 * time.Second) })
		first := execute(t, conn, "slow")
		begun := time.Now()
		e, err := conn.ExecuteMessage(t.Context(), foreign(t, messaging.Shell, "1", "execute_request", `{"code": "x"}`), nil)
		require.NoError(t, err)
		require.Equal(t, 3*time.Second, time.Since(begun))
		require.NoError(t, collect(t, first).err)
		require.NoError(t, collect(t, e).err)
	})
}

func TestForeignRequestThatTheKernelDropsEnds(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.OnRaw("drop", func(*kerneltest.Call) {})
		fake.OnRaw("late", func(c *kerneltest.Call) {
			time.Sleep(10 * time.Second) // before its busy
			c.Busy()
			c.Reply(nil)
			c.Idle()
		})
		run := func(id, code string) error {
			e, err := conn.ExecuteMessage(t.Context(), foreign(t, messaging.Shell, id, "execute_request", `{"code": "`+code+`"}`), nil)
			require.NoError(t, err)
			return collect(t, e).err
		}
		require.ErrorIs(t, run("1", "drop"), kernel.ErrNoReply)
		require.NoError(t, run("2", "late"))
		require.NoError(t, run("3", "next"))
		require.Equal(t, kernel.Idle, conn.State())
	})
}

func TestWhatIsNoExecuteRequestIsNotRun(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		for _, m := range []*messaging.Message{
			foreign(t, messaging.Shell, "1", "complete_request", `{"code": ""}`), foreign(t, messaging.Control, "1", "execute_request", `{"code": ""}`),
			foreign(t, messaging.Shell, "", "execute_request", `{"code": ""}`), foreign(t, messaging.Shell, "1", "execute_request", `{}`),
			foreign(t, messaging.Shell, "1", "execute_request", `{"code": 7}`),
		} {
			_, err := conn.ExecuteMessage(t.Context(), m, nil)
			require.ErrorIs(t, err, kernel.ErrNotExecute)
		}
		require.Empty(t, executed(t, fake))
		require.NoError(t, collect(t, execute(t, conn, "x")).err, "the turn is free")
	})
}

func TestForwardedRequestIsAnsweredToSubscribers(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *kerneltest.Kernel, conn *kernel.Conn) {
		tap := conn.Subscribe(nil)
		defer func() { _ = tap.Close() }()
		require.NoError(t, conn.Forward(t.Context(), foreign(t, messaging.Shell, "info", "kernel_info_request", `{}`)))
		for {
			m, err := tap.Next(t.Context())
			require.NoError(t, err)
			if m.Channel == messaging.Shell {
				require.Equal(t, "kernel_info_reply", m.Header.MsgType)
				require.Equal(t, "info", m.ParentID())
				return
			}
		}
	})
}

func TestForeignInputIsAnsweredByForward(t *testing.T) {
	bubble(t, nil, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		fake.On("ask", func(c *kerneltest.Call) {
			answer, err := c.Input("name? ", false)
			if err == nil {
				c.Stream("stdout", "hello "+answer)
			}
		})
		tap := conn.Subscribe(nil)
		defer func() { _ = tap.Close() }()
		e, err := conn.ExecuteMessage(t.Context(), foreign(t, messaging.Shell, "1", "execute_request", `{"code": "ask", "allow_stdin": true}`),
			&kernel.ExecuteOptions{Unread: true})
		require.NoError(t, err)
		for {
			m, err := tap.Next(t.Context())
			require.NoError(t, err)
			switch m.Header.MsgType {
			case "input_request":
				require.NoError(t, conn.Forward(t.Context(), foreign(t, messaging.Stdin, "2", "input_reply", `{"value": "Ada"}`)))
			case "stream":
				require.JSONEq(t, `{"name": "stdout", "text": "hello Ada"}`, string(m.Content))
				require.NoError(t, collect(t, e).err)
				return
			}
		}
	})
}

func TestPutStandsInLine(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *kerneltest.Kernel, conn *kernel.Conn) {
		tap := conn.Subscribe(nil)
		own := &messaging.Message{Header: messaging.Header{MsgType: "own"}, Content: json.RawMessage("{}")}
		tap.Put(own)
		m, err := tap.Next(t.Context())
		require.NoError(t, err)
		require.Same(t, own, m)
		require.NoError(t, tap.Close())
		tap.Put(own)
		_, err = tap.Next(t.Context())
		require.ErrorIs(t, err, kernel.ErrClosed)
	})
}
