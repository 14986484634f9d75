package archive

import (
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// descriptors is where the system shows a process its open files; it takes /proc to name a file that has no name.
const descriptors = "/proc/self/fd/"

var haveDescriptors = sync.OnceValue(func() bool {
	_, err := os.Stat(descriptors)
	return err == nil
})

// openNameless makes a file without a name; nil where there are none, or no way to name them.
func openNameless(dir *os.Root) *os.File {
	if !haveDescriptors() {
		return nil
	}
	f, err := dir.OpenFile(".", os.O_WRONLY|unix.O_TMPFILE, 0o600)
	if err != nil {
		return nil // what is wrong shows with a named one
	}
	return f
}

// nameIt gives a file its name in the folder that it was made in.
func nameIt(dir *os.Root, f *os.File, name string) error {
	folder, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	old := descriptors + strconv.Itoa(int(f.Fd()))
	if err := unix.Linkat(unix.AT_FDCWD, old, int(folder.Fd()), name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "linkat", Old: "nameless file", New: name, Err: err}
	}
	return nil
}
