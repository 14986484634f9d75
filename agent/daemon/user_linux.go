package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lower makes the process the user's in what it does, while it stays root by its real and saved ids. Files that are made have
// the right owner without any capability, and the code, which must match all three, can do nothing to us.
func lower(uid, gid int) error {
	if err := syscall.Setgroups([]int{gid}); err != nil {
		return fmt.Errorf("set groups: %w: the agent needs the capabilities SETUID and SETGID", err)
	}
	if err := syscall.Setresgid(0, gid, 0); err != nil {
		return fmt.Errorf("become group %d: %w", gid, err)
	}
	if err := syscall.Setresuid(0, uid, 0); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	return nil
}

// raise takes lower back.
func raise() error {
	return errors.Join(syscall.Setresuid(0, 0, 0), syscall.Setresgid(0, 0, 0))
}

// BecomeUser makes the process the user's for good, in all ids, with no groups but its own and no capabilities. Its real user
// is root, and perhaps no more than that.
func BecomeUser(uid, gid int) error {
	if uid == 0 {
		return errors.New("user 0: the code must not be root")
	}
	// Where nothing may gain privileges, the system has done this as it executed us.
	if err := syscall.Setresuid(-1, 0, -1); err != nil {
		return fmt.Errorf("become root: %w", err)
	}
	// Linux gives them back with the id. gVisor has made us root as it executed us, without them.
	if err := useCapabilities(); err != nil {
		return fmt.Errorf("use capabilities: %w", err)
	}
	if err := syscall.Setgroups([]int{gid}); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("become group %d: %w", gid, err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil { // which takes the capabilities
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil { // those that could be inherited too
		return fmt.Errorf("give up capabilities: %w", err)
	}
	if syscall.Setresuid(-1, 0, -1) == nil {
		return errors.New("root could be had back")
	}
	return nil
}

// BecomeRoot makes the process root's in all ids, with no groups but its own. Its real user is root.
func BecomeRoot() error {
	if !mayGain() {
		return fmt.Errorf("%w: nothing may gain privileges here", syscall.EPERM)
	}
	if err := syscall.Setresuid(-1, 0, -1); err != nil {
		return fmt.Errorf("become root: %w", err)
	}
	if err := syscall.Setgroups([]int{0}); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	return errors.Join(syscall.Setresgid(0, 0, 0), syscall.Setresuid(0, 0, 0))
}

// mayGain reports whether programs may gain privileges, as by sudo: whether the container lets its code become root.
func mayGain() bool {
	never, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	return err == nil && never == 0
}

// useCapabilities makes those of the process effective that it may have. All threads must have the same.
func useCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	wanted := data
	for i := range wanted {
		wanted[i].Effective = wanted[i].Permitted
	}
	if wanted == data {
		return nil
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&wanted[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// makeUsers makes a folder of the user's.
func makeUsers(dir string, uid, gid int) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeAs(dir, uid, gid); err == nil {
			info, err = os.Stat(dir)
		}
	}
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != uid {
		return fmt.Errorf("%s must be a folder of user %d", dir, uid)
	}
	return nil
}

// makeAs has the user make a folder, for root without the right to give files away can't; for the moment everybody may there.
func makeAs(dir string, uid, gid int) error {
	above := filepath.Dir(dir)
	if err := os.MkdirAll(above, 0o755); err != nil {
		return err
	}
	was, err := os.Stat(above)
	if err != nil {
		return err
	}
	if err := os.Chmod(above, 0o777|fs.ModeSticky); err != nil {
		return err
	}
	if err := lower(uid, gid); err != nil {
		return err
	}
	err = os.Mkdir(dir, 0o755)
	return errors.Join(err, raise(), os.Chmod(above, was.Mode()))
}
