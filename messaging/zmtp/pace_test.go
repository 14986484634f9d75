package zmtp

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReaderPausesInAFloodAndNeverBeforeAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		read := func(n int) time.Duration {
			start := time.Now()
			for range n {
				require.NoError(t, p.wait(func() (int, error) { return 100, nil }))
			}
			return time.Since(start)
		}
		require.Zero(t, read(floodAfter), "nothing slower than a flood is held up")
		require.Equal(t, 3*floodPause, read(3))
		p.expect()
		require.Zero(t, read(floodAfter))
		require.Equal(t, floodPause, read(1))

		// Small requests in close succession are no flood, though their answers come as quickly.
		for range 10 * floodAfter {
			p.expect()
			require.Zero(t, read(6))
		}

		// A request that is sent in a pause ends it.
		p.expect()
		require.Zero(t, read(floodAfter))
		go func() {
			time.Sleep(floodPause / 2)
			p.expect()
		}()
		require.Equal(t, floodPause/2, read(1))
	})
}
