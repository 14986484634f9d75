package sandbox

import "time"

// SetKeepEnded sets how long the end of a command can be asked for, and returns what sets it back.
func SetKeepEnded(d time.Duration) (restore func()) {
	was := keepEnded
	keepEnded = d
	return func() { keepEnded = was }
}
