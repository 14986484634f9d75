package daemon

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// reach is what lets the ordinary user touch what is not its own, where code could do that by sudo. Elsewhere the container has no
// such capabilities. What the user makes is its own in either.
const reach = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER

// become gives the calling goroutine a thread of its own with a user's rights to files. The process has the user of code in what it
// does, and root by its other ids, so that a single thread of it can be root to the file system. The thread ends with the goroutine, and
// with it what the thread may do.
func become(root bool) error {
	runtime.LockOSThread() // and never unlocked
	if root {
		return becomeRootToFiles()
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return fmt.Errorf("look at capabilities: %w", err)
	}
	caps[0].Effective |= caps[0].Permitted & reach
	if err := unix.Capset(&header, &caps[0]); err != nil {
		return fmt.Errorf("use capabilities: %w", err)
	}
	return nil
}

func becomeRootToFiles() error {
	// The group first; with the user come those capabilities that are about files. What is answered is the id before.
	if _, err := unix.SetfsgidRetGid(0); err != nil {
		return fmt.Errorf("become group root: %w", err)
	}
	if _, err := unix.SetfsuidRetUid(0); err != nil {
		return fmt.Errorf("become root: %w", err)
	}
	if now, err := unix.SetfsuidRetUid(-1); err != nil || now != 0 {
		return fmt.Errorf("become root: %w", unix.EPERM)
	}
	return nil
}
