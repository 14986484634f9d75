package sandbox_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/backendtest"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// frontMessage is what a front end of Jupyter's sends.
func frontMessage(t *testing.T, id, kind, content string) *messaging.Message {
	t.Helper()
	m, err := messaging.FramingLegacy.Decode([]byte(`{"channel": "shell", "header": {"msg_id": "` + id +
		`", "session": "front", "username": "me", "version": "5.2", "msg_type": "` + kind + `"}, "content": ` + content + `}`))
	require.NoError(t, err)
	return m
}

// heardUntil reads an attachment to a message of a type, past breaks.
func heardUntil(t *testing.T, ctx context.Context, a *sandbox.Attachment, kind, parent string) (m *messaging.Message, breaks int) {
	t.Helper()
	for {
		m, err := a.Next(ctx)
		if broken := new(kernel.BreakError); errors.As(err, &broken) {
			breaks++
			continue
		}
		require.NoError(t, err)
		if m.Header.MsgType == kind && m.ParentID() == parent {
			return m, breaks
		}
	}
}

func TestFrontEnds(t *testing.T) {
	python, err := agent.Probe(t.Context(), backendtest.Pythons(t)[0])
	require.NoError(t, err)
	e := openEngine(t, python, func(c *sandbox.Config) { c.NoForkServer = false })
	require.NoError(t, e.Warm(testContext(t)))
	t.Run("share a context", func(t *testing.T) { frontEndSharesAContext(t, testContext(t), e) })
	t.Run("have the dead revived", func(t *testing.T) { reviveIsForTheDead(t, testContext(t), e) })
	t.Run("keep a context from being culled", func(t *testing.T) { frontEndKeepsAContext(t, testContext(t), e) })
}

func frontEndSharesAContext(t *testing.T, ctx context.Context, e *sandbox.Engine) {
	sbx := create(t, ctx, e, nil)
	c := sbx.DefaultContext()
	a, err := c.Attach(nil)
	require.NoError(t, err)
	before := c.LastActivity()

	run, err := c.StartMessage(ctx, frontMessage(t, "one", "execute_request", `{"code": "x = 20; print('hi'); x + 1"}`))
	require.NoError(t, err)
	m, _ := heardUntil(t, ctx, a, "execute_reply", "one")
	require.Equal(t, "front", m.Parent.Session)
	_, err = run.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, "21", mustRun(t, ctx, sbx, "x + 1").Text(), "the same variables")
	require.True(t, c.LastActivity().After(before))

	require.NoError(t, c.Forward(ctx, frontMessage(t, "two", "complete_request", `{"code": "x", "cursor_pos": 1}`)))
	heardUntil(t, ctx, a, "complete_reply", "two")

	// It stands in the journal, with all that it showed.
	var kinds []string
	for entry := range c.Journal().All() {
		if entry.Run == 1 {
			kinds = append(kinds, entry.Content.MsgType())
		}
	}
	require.Contains(t, kinds, "ds_sandbox_run_began")
	require.Contains(t, kinds, "stream")
	require.Contains(t, kinds, "execute_result")
	require.Contains(t, kinds, "ds_sandbox_run_over")

	// And it hears the kernel after a restart, from its first run on.
	require.NoError(t, c.Restart(ctx))
	run, err = c.StartMessage(ctx, frontMessage(t, "three", "execute_request", `{"code": "x"}`))
	require.NoError(t, err)
	execution, err := run.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, "NameError", execution.Error.Name)
	_, breaks := heardUntil(t, ctx, a, "error", "three")
	require.Equal(t, 1, breaks)

	for _, wrong := range []*messaging.Message{
		frontMessage(t, "4", "execute_request", `{"code": "a\u0000"}`), frontMessage(t, "5", "inspect_request", `{"code": "a"}`),
	} {
		_, err = c.StartMessage(ctx, wrong)
		require.Error(t, err)
	}
	require.NoError(t, c.Remove(ctx))
	_, err = drain(ctx, a)
	require.ErrorIs(t, err, sandbox.ErrRemoved)
	_, err = c.Attach(nil)
	require.ErrorIs(t, err, sandbox.ErrRemoved)
	require.NoError(t, a.Close())
}

// drain reads an attachment to its end.
func drain(ctx context.Context, a *sandbox.Attachment) (breaks int, err error) {
	for {
		_, err := a.Next(ctx)
		if broken := new(kernel.BreakError); errors.As(err, &broken) {
			breaks++
		} else if err != nil {
			return breaks, err
		}
	}
}

func reviveIsForTheDead(t *testing.T, ctx context.Context, e *sandbox.Engine) {
	sbx := create(t, ctx, e, nil)
	c := sbx.DefaultContext()
	mustRun(t, ctx, sbx, "x = 1")
	require.NoError(t, c.Revive(ctx))
	require.Equal(t, "1", mustRun(t, ctx, sbx, "x").Text())

	_, err := c.RunCode(ctx, "import os; os._exit(3)", nil)
	require.ErrorIs(t, err, kernel.ErrDead)
	require.NoError(t, c.Revive(ctx))
	require.Equal(t, "False", mustRun(t, ctx, sbx, "'x' in globals()").Text(), "what was told is not told again")

	a, err := c.Attach(nil)
	require.NoError(t, err)
	mustRun(t, ctx, sbx, "import os, threading; threading.Timer(0.05, os._exit, [3]).start()")
	for {
		_, err := a.Next(ctx)
		if err != nil {
			require.ErrorAs(t, err, new(*kernel.BreakError))
			break
		}
	}
	require.NoError(t, c.Revive(ctx))
	_, err = c.RunCode(ctx, "1", nil)
	require.ErrorIs(t, err, kernel.ErrDead, "a death between two runs is told once")
	mustRun(t, ctx, sbx, "1")
	require.NoError(t, sbx.Kill(ctx))
	_, err = drain(ctx, a)
	require.ErrorIs(t, err, sandbox.ErrKilled)
	require.ErrorIs(t, c.Revive(ctx), sandbox.ErrKilled)
	require.NoError(t, a.Close())
}

func frontEndKeepsAContext(t *testing.T, ctx context.Context, e *sandbox.Engine) {
	sbx := create(t, ctx, e, &sandbox.Options{CullAfter: 20 * time.Millisecond, Lazy: true})
	c, err := sbx.CreateContext(ctx, nil)
	require.NoError(t, err)
	a, err := c.Attach(nil) // it may have been culled before
	require.NoError(t, err)
	require.NoError(t, c.Revive(ctx))
	deadline := time.Now().Add(200 * time.Millisecond)
	for time.Now().Before(deadline) {
		require.NoError(t, c.Forward(ctx, frontMessage(t, "x", "comm_msg", `{"comm_id": "none", "data": {}}`)))
		require.NotEqual(t, kernel.Dead, c.State())
		time.Sleep(10 * time.Millisecond)
	}
	require.NoError(t, a.Close())
	require.Eventually(t, func() bool { return c.State() == kernel.Dead }, testTimeout, 10*time.Millisecond)
}
