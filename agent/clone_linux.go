package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

const openNonblock = unix.O_NONBLOCK

// shareBlocks makes an empty file one with the content of another, without a copy where the file system can.
func shareBlocks(to, from *os.File) error {
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	_, err := to.ReadFrom(from) // by copy_file_range
	return err
}
