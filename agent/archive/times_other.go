//go:build !linux

package archive

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// setModTime sets an open file's times.
func setModTime(f *os.File, t time.Time) error {
	return control(f, func(fd int) error {
		tv := unix.NsecToTimeval(t.UnixNano())
		return unix.Futimes(fd, []unix.Timeval{tv, tv})
	})
}
