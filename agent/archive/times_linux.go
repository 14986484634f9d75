package archive

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setModTime sets an open file's times. Package unix would look the file up by its name in /proc.
func setModTime(f *os.File, t time.Time) error {
	return control(f, func(fd int) error {
		ts := unix.NsecToTimespec(t.UnixNano())
		both := [2]unix.Timespec{ts, ts}
		_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&both)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}
