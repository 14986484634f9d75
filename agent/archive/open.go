package archive

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openIn opens a name, one element alone and never a link, in an open folder. Package os takes twice as many calls, for it tries
// whether the file can be waited for, and small files are many.
func openIn(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	var fd int
	err := control(dir, func(folder int) (err error) {
		for {
			fd, err = unix.Openat(folder, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
			if err != syscall.EINTR { //nolint:errorlint // as it comes from the system
				return err
			}
		}
	})
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
