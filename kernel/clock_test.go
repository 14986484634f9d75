package kernel_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel"
)

func TestClockStandsStillWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock kernel.Clock
		require.Zero(t, clock.Now())
		fired := make(chan time.Time, 1)
		begin := time.Now()
		clock.AfterFunc(10*time.Second, func() { fired <- time.Now() })
		time.Sleep(4 * time.Second)
		clock.Pause()
		clock.Pause()
		time.Sleep(time.Hour)
		require.Equal(t, 4*time.Second, clock.Now())
		late := clock.AfterFunc(time.Second, func() { t.Error("was stopped") }) // made while paused
		clock.Resume()
		clock.Resume()
		require.True(t, late.Stop())
		require.False(t, late.Stop())
		time.Sleep(5 * time.Second)
		clock.Pause()
		time.Sleep(time.Minute)
		clock.Resume()
		time.Sleep(time.Minute)
		require.Equal(t, 10*time.Second+time.Hour+time.Minute, (<-fired).Sub(begin))
		require.Equal(t, 69*time.Second, clock.Now())
	})
}

func TestClockThatIsPausedAsItsTimerRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 200 {
			var clock kernel.Clock
			calls := make(chan struct{}, 2)
			clock.AfterFunc(time.Second, func() { calls <- struct{}{} })
			time.Sleep(time.Second)
			clock.Pause()
			clock.Resume()
			time.Sleep(time.Second)
			require.Len(t, calls, 1, "once, and not lost")
		}
	})
}
