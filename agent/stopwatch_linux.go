package agent

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// stopwatch begins to measure what the caller's work takes of a processor; the function that it returns, which is to be called on
// the same goroutine, ends it. How long the work lasts says little where the code keeps every processor busy.
func stopwatch() (stop func() time.Duration) {
	runtime.LockOSThread()
	begin := threadTime()
	return func() time.Duration {
		defer runtime.UnlockOSThread()
		return threadTime() - begin
	}
}

func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
