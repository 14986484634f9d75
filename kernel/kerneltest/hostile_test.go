package kerneltest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// TestHostileKernelsDoWhatTheirNamesSay runs code on each twice. This client has no way to notice a lost idle, so it
// knows patience as such.
func TestHostileKernelsDoWhatTheirNamesSay(t *testing.T) {
	for _, h := range kerneltest.Hostile() {
		t.Run(h.Name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			k, info, err := h.Start("unix")
			require.NoError(t, err)
			defer k.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			opts := new(zmtp.TransportOptions)
			if !h.Connects {
				opts.HandshakeTimeout = 500 * time.Millisecond
			}
			transport, err := zmtp.Connect(ctx, info, opts)
			if err != nil {
				require.NoError(t, ctx.Err(), "connecting was not bounded")
				require.False(t, h.Connects, err)
				return
			}
			defer func() { require.NoError(t, transport.Close()) }()
			c := newClient(transport)
			if err := c.ready(ctx); err != nil {
				require.NoError(t, ctx.Err())
				require.False(t, h.Connects, err)
				return
			}
			require.True(t, h.Connects)
			if strings.HasPrefix(h.Name, "a million") && testing.Short() {
				t.Skip("takes a while; -short")
			}
			for n := 0; n < 2 && (n == 0 || !strings.HasPrefix(h.Name, "a million")); n++ {
				if !runHostile(ctx, t, h, c) {
					return
				}
			}
		})
	}
}

// runHostile runs code once and reports whether it may be run again.
func runHostile(ctx context.Context, t *testing.T, h kerneltest.HostileCase, c *client) bool {
	patience := time.Minute
	switch {
	case h.Patience && h.Outcome == kerneltest.EndsWell:
		patience = 3 * time.Second // for the reply to come for certain
	case h.Patience:
		patience = 500 * time.Millisecond
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := c.run(bounded, "anything")
	require.NotContains(t, out.stdout, "evil")
	if h.Patience {
		require.ErrorIs(t, err, errUnfinished)
		require.False(t, out.idle && out.reply != nil)
		if h.Outcome == kerneltest.EndsWell {
			require.Equal(t, kerneltest.HostileOutput, out.stdout)
			require.NotNil(t, out.reply, "without a reply it could not end well")
		}
		return false
	}
	require.NotErrorIs(t, err, errUnfinished)
	switch h.Outcome {
	case kerneltest.EndsBadly:
		require.Error(t, err)
	case kerneltest.EndsWell:
		require.NoError(t, err)
		require.Equal(t, kerneltest.HostileOutput, out.stdout)
		require.Equal(t, messaging.StatusOK, out.reply.Status)
	case kerneltest.EndsEither:
		if err == nil {
			require.Equal(t, kerneltest.HostileOutput, out.stdout)
		}
	}
	return err == nil
}

func TestHostileNamesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, h := range kerneltest.Hostile() {
		require.False(t, seen[h.Name], h.Name)
		seen[h.Name] = true
	}
	require.Greater(t, len(seen), 40)
}
