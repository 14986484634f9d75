//go:build !linux

package agent

import (
	"syscall"
	"time"
)

// times are when a file was last read and last changed in any way.
func times(st *syscall.Stat_t) (access, change time.Time) {
	return time.Unix(st.Atimespec.Unix()), time.Unix(st.Ctimespec.Unix())
}
