package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCallsHappenOnce(t *testing.T) {
	c := newCalls()
	happened := 0
	do := func(ctx context.Context) (connect.AnyResponse, error) {
		happened++
		undoable(ctx, func() { happened-- })
		return connect.NewResponse(&agentpb.HeartbeatResponse{}), nil
	}
	for range 3 {
		_, err := c.once(t.Context(), "a", do)
		require.NoError(t, err)
	}
	require.Equal(t, 1, happened)
	c.abandon("a")
	require.Zero(t, happened, "what it has started is ended")
	c.abandon("b")
	_, err := c.once(t.Context(), "b", do)
	require.Error(t, err, "it was given up before it came")
	require.Zero(t, happened)

	// One whose host went goes on, and is given up by name.
	gone, cancel := context.WithCancel(t.Context())
	begun, over := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := c.once(gone, "c", func(ctx context.Context) (connect.AnyResponse, error) {
			close(begun)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		over <- err
	}()
	<-begun
	cancel()
	select {
	case err := <-over:
		require.NoError(t, err)
		t.Fatal("it ended with its host")
	case <-time.After(20 * time.Millisecond):
	}
	c.abandon("c")
	require.Error(t, <-over)
	for range 3 * maxCalls {
		_, err := c.once(t.Context(), rand.Text(), do)
		require.NoError(t, err)
	}
	require.LessOrEqual(t, len(c.known), maxCalls)
	_, err = c.once(t.Context(), strings.Repeat("x", 100), do)
	require.Error(t, err)
}

func TestStateIsBounded(t *testing.T) {
	var s state
	require.NoError(t, s.put("a", []byte("x")))
	require.NoError(t, s.put("a", []byte("longer")))
	require.Equal(t, len("alonger"), s.size)
	require.NoError(t, s.put("a", nil))
	require.Zero(t, s.size)
	require.ErrorIs(t, s.put("a", make([]byte, agentpb.MaxStateValue+1)), backends.ErrNoSpace)
	require.Error(t, s.put("", []byte("x")))
	require.Error(t, s.put(strings.Repeat("k", 1000), []byte("x")))
	var err error
	for i := 0; err == nil; i++ {
		err = s.put(strings.Repeat("k", i+1), make([]byte, agentpb.MaxStateValue))
	}
	require.ErrorIs(t, err, backends.ErrNoSpace)
	require.LessOrEqual(t, s.size, agentpb.MaxState)
}

func TestSilenceCountsItsOwnWakings(t *testing.T) {
	s := newSilence(3 * silenceTick)
	require.False(t, s.tick())
	require.False(t, s.tick())
	s.heard()
	require.False(t, s.tick())
	require.False(t, s.tick())
	require.True(t, s.tick())
	s.set(time.Hour)
	require.False(t, s.tick())
}

func TestKillsOfTheSystemAreReadInBothVersions(t *testing.T) {
	for name, files := range map[string][3]string{
		"v2": {"memory.events", "low 0\noom 5\noom_kill %d\n", "memory.max"},
		"v1": {"memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill %d\n", "memory/memory.limit_in_bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, text string) {
				path := filepath.Join(dir, name)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			}
			write(files[0], strings.Replace(files[1], "%d", "3", 1))
			write(files[2], "314572800\n")
			w := watchOOM(dir)
			require.Nil(t, w.killed(), "what was before is no matter of ours")
			write(files[0], strings.Replace(files[1], "%d", "4", 1))
			limit := w.killed()
			require.NotNil(t, limit)
			require.Equal(t, backends.LimitMemory, limit.Limit)
			require.EqualValues(t, 300<<20, limit.Allowed)
			require.EqualValues(t, 200<<20, asked(limit, backends.Limits{Memory: 200 << 20}).Allowed, "without the agent's own")
			require.Nil(t, w.killed(), "told once")
			write(files[2], "9223372036854771712\n")
			write(files[0], strings.Replace(files[1], "%d", "5", 1))
			require.Nil(t, w.killed(), "there is no limit: the machine was short of memory")
		})
	}
	require.Nil(t, watchOOM(filepath.Join(t.TempDir(), "none")).killed())
}

func TestOutputsAreReadByOffset(t *testing.T) {
	r, w := io.Pipe()
	o := newOutput(r)
	go func() {
		_, _ = w.Write([]byte("first"))
		_, _ = w.Write([]byte("second"))
		_ = w.Close()
	}()
	read := func(offset int64) (string, error) {
		data, err := o.read(t.Context(), offset, 0)
		return string(data), err
	}
	for range 2 { // an answer that was lost is given again
		text, err := read(0)
		require.NoError(t, err)
		require.Equal(t, "first", text)
	}
	text, err := read(3)
	require.NoError(t, err)
	require.Equal(t, "st", text)
	text, err = read(5)
	require.NoError(t, err)
	require.Equal(t, "second", text)
	_, err = read(0)
	require.Error(t, err, "it was acknowledged")
	require.NotErrorIs(t, err, io.EOF)
	_, err = read(11)
	require.ErrorIs(t, err, io.EOF)
	_, err = read(1 << 62)
	require.False(t, err == nil || errors.Is(err, io.EOF))

	r, w = io.Pipe()
	o = newOutput(r)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = o.read(gone, 0, 0)
	require.ErrorIs(t, err, context.Canceled)
	go func() { _, _ = w.Write([]byte("kept")); _ = w.Close() }()
	text, err = read(0)
	require.NoError(t, err)
	require.Equal(t, "kept", text)
	_, err = read(4)
	require.ErrorIs(t, err, io.EOF)
}

func TestACrewIsBoundedAndSurvivesItsJobs(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has threads with rights of their own")
	}
	c := newCrew(false, 2)
	defer c.end()
	busy, free := make(chan struct{}), make(chan struct{})
	over := make(chan error, 2)
	for range 2 {
		go func() { over <- c.do(t.Context(), func() { busy <- struct{}{}; <-free }) }()
	}
	<-busy
	<-busy
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.do(gone, func() { t.Error("both threads are busy") }), context.Canceled)
	close(free)
	require.NoError(t, errors.Join(<-over, <-over))
	require.ErrorContains(t, c.do(t.Context(), func() { panic("broken") }), "broken")
	done := make(chan error, 50)
	for range cap(done) {
		go func() { done <- c.do(t.Context(), func() {}) }()
	}
	for range cap(done) {
		require.NoError(t, <-done)
	}
	require.LessOrEqual(t, c.live, 2)
	other := newCrew(false, 0)
	other.end()
	require.ErrorIs(t, other.do(t.Context(), func() {}), backends.ErrDestroyed)
}
