//go:build !linux

package agent

import "time"

// stopwatch measures the time that passes.
func stopwatch() (stop func() time.Duration) {
	begin := time.Now()
	return func() time.Duration { return time.Since(begin) }
}
