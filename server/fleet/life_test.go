package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func TestTimeIsPutOffAndNeverCutByConnect(t *testing.T) {
	f := openFleet(t, Options{MaxTimeout: 3 * time.Hour})
	ctx := testContext(t)
	m := create(t, f, ada, Spec{Timeout: time.Hour})
	end := m.Info().EndsAt
	require.WithinDuration(t, m.StartedAt().Add(time.Hour), end, time.Second)
	resumed, err := m.Connect(ctx, time.Minute)
	require.NoError(t, err)
	require.False(t, resumed)
	require.Equal(t, end, m.Info().EndsAt)
	require.NoError(t, m.Extend(time.Minute))
	require.Equal(t, end, m.Info().EndsAt)
	_, err = m.Connect(ctx, 2*time.Hour)
	require.NoError(t, err)
	require.Greater(t, m.Info().EndsAt, end)
	require.NoError(t, m.SetTimeout(time.Minute))
	require.Less(t, time.Until(m.Info().EndsAt), time.Minute+time.Second)
	require.ErrorContains(t, m.SetTimeout(0), "timeout: 0s is none")
	require.ErrorContains(t, m.Extend(4*time.Hour), "more than the 3h0m0s")
	require.ErrorIs(t, m.Resume(ctx, 0), ErrRunning)
}

func TestTimeEndsWithAKill(t *testing.T) {
	f := openFleet(t, Options{})
	m := create(t, f, ada, Spec{Timeout: 10 * time.Millisecond})
	select {
	case <-m.Gone():
	case <-testContext(t).Done():
		t.Fatal("it lives")
	}
	<-m.ended
	_, err := f.Get(ada, m.ID())
	require.ErrorContains(t, err, "its time was over")
	require.ErrorIs(t, m.SetTimeout(time.Minute), ErrNotFound)
}

func TestTimeEndsWithAPauseFromWhichRequestsWake(t *testing.T) {
	f := openFleet(t, Options{})
	ctx := testContext(t)
	m := create(t, f, ada, Spec{OnTimeout: Pause, AutoResume: true, Timeout: time.Hour})
	access, traffic, began := m.AccessToken(), m.TrafficToken(), m.StartedAt()
	expire(m)
	require.Equal(t, Paused, m.State())
	require.True(t, m.Sandbox().Info().Paused)
	require.ErrorIs(t, m.Pause(ctx), ErrPaused)
	require.ErrorIs(t, m.SetTimeout(time.Minute), ErrPaused)
	require.NoError(t, m.Awake(ctx))
	require.NoError(t, m.Awake(ctx))
	require.Equal(t, Running, m.State())
	require.Greater(t, m.StartedAt(), began, "a resume begins anew")
	require.Equal(t, []string{access, traffic}, []string{m.AccessToken(), m.TrafficToken()})
	expire(m) // what was asked for at first still holds
	require.Equal(t, Paused, m.State())
	resumed, err := m.Connect(ctx, 0)
	require.NoError(t, err)
	require.True(t, resumed)

	other := create(t, f, ada, Spec{})
	require.NoError(t, other.Pause(ctx))
	require.ErrorIs(t, other.Awake(ctx), ErrPaused)
	require.NoError(t, other.Resume(ctx, time.Minute))
	require.NoError(t, other.Pause(ctx))
	require.NoError(t, other.Kill(ctx), "a paused one can be killed")
}

func TestTimerOfAnEarlierTimeDoesNothing(t *testing.T) {
	f := openFleet(t, Options{})
	for _, action := range []Action{Kill, Pause} {
		m := create(t, f, ada, Spec{OnTimeout: action})
		m.mu.Lock()
		early := m.epoch
		m.mu.Unlock()
		require.NoError(t, m.SetTimeout(time.Hour))
		m.expire(early)
		require.Equal(t, Running, m.State())
		// The end is put off while the timer waits for its turn.
		m.mu.Lock()
		due := m.epoch
		m.mu.Unlock()
		require.NoError(t, m.turn.Acquire(testContext(t), 1))
		done := make(chan error)
		go func() { done <- m.pause(context.Background(), due) }()
		require.NoError(t, m.SetTimeout(2*time.Hour))
		m.turn.Release(1)
		require.ErrorIs(t, <-done, errPutOff)
		require.Equal(t, Running, m.State())
	}
}

func TestKillCutsRequestsAtOnce(t *testing.T) {
	f := openFleet(t, Options{})
	m := create(t, f, ada, Spec{})
	ctx, leave := m.Attach(testContext(t))
	defer leave()
	vanished, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorContains(t, m.Kill(vanished), "still ending")
	<-ctx.Done()
	require.ErrorIs(t, context.Cause(ctx), ErrGone)
	require.ErrorIs(t, context.Cause(ctx), sandbox.ErrKilled)
	require.ErrorIs(t, m.Kill(testContext(t)), ErrNotFound, "it waits for the first one's end")
	for _, err := range []error{m.Pause(testContext(t)), m.Resume(testContext(t), 0), m.Awake(testContext(t))} {
		require.ErrorIs(t, err, ErrNotFound)
	}
}

func TestLogIsBoundedAndTellsOfRuns(t *testing.T) {
	f := openFleet(t, Options{})
	m := create(t, f, ada, Spec{})
	require.Equal(t, "sandbox started", m.Logs()[0].Message)
	m.NoteRun(Run{Language: "python", Took: time.Second})
	m.NoteRun(Run{Raised: &sandbox.ExecutionError{Name: "ValueError", Value: "secret"}})
	m.NoteRun(Run{Err: sandbox.ErrTimeout})
	m.NoteRun(Run{Err: ErrGone})
	var outcomes []string
	for _, e := range m.Logs()[1:] {
		require.NotContains(t, e.Message, "secret")
		outcomes = append(outcomes, e.Fields["outcome"])
	}
	require.Equal(t, []string{"ok", "raised", "timeout", "killed"}, outcomes)
	long := make([]byte, 2*maxMessage)
	for i := range long {
		long[i] = "é"[i%2]
	}
	for range logLength + 3 {
		m.Log("info", string(long), map[string]string{"x": string(long)})
	}
	logs := m.Logs()
	require.Len(t, logs, logLength)
	for _, e := range logs {
		require.LessOrEqual(t, len(e.Message), maxMessage+len("…"))
		require.NotContains(t, e.Message, "\uFFFD")
	}
}

func TestFiguresAreOfTheSandboxsSize(t *testing.T) {
	f := openFleet(t, Options{})
	m := create(t, f, ada, Spec{Limits: sandbox.Limits{Disk: 1 << 30}})
	figure, err := m.Latest(testContext(t))
	require.NoError(t, err)
	require.EqualValues(t, 1<<30, figure.DiskTotal)
	require.Positive(t, figure.CPUs)
	require.Positive(t, m.Info().Size.CPUs)
	begun := time.Unix(1000, 0)
	got := figureOf(sandbox.Stats{Time: begun.Add(2 * time.Second), CPU: time.Second}, sandbox.Stats{Time: begun}, Size{CPUs: 2})
	require.InDelta(t, 25, got.CPUPercent, 0.01)
	require.Empty(t, m.Figures(time.Now().Add(time.Hour), time.Time{}))
}
