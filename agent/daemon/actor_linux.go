package daemon

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// actor does to files what a user does. The process has the user of code in what it does, and root by its other ids, so that a
// single thread of it can be root to the file system.
type actor struct{ root bool }

// reach is what lets the ordinary user touch what is not its own, where code could do that by sudo. Elsewhere the container has no
// such capabilities. What the user makes is its own in either.
const reach = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER

// do does something as the user.
func (a actor) do(act func()) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it what the thread may do.
		runtime.LockOSThread()
		err := a.become()
		if err == nil {
			act()
		}
		done <- err
	}()
	return <-done
}

// always is do for what must run in any case, if need be with no more rights than the agent has.
func (a actor) always(act func()) {
	if a.do(act) != nil {
		act()
	}
}

// become gives the thread the user's rights.
func (a actor) become() error {
	if a.root {
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
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return fmt.Errorf("look at capabilities: %w", err)
	}
	more := caps[0].Permitted & reach &^ caps[0].Effective
	if more == 0 {
		return nil
	}
	caps[0].Effective |= more
	if err := unix.Capset(&header, &caps[0]); err != nil {
		return fmt.Errorf("use capabilities: %w", err)
	}
	return nil
}
