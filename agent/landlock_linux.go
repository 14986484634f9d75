package agent

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// landlockLater says since which version Landlock guards what it did not from the first.
var landlockLater = []struct {
	since int
	what  string
}{
	{3, "truncation"},
	{5, "control of devices"},
	{6, "signals and abstract sockets"},
}

// Confinement tells how [backends.IsolationFiles] is enforced on this system and what of it an older kernel does not guard.
// Where it can't be enforced, the error wraps backends.ErrUnsupported and says why.
func Confinement() (detail string, err error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return "", fmt.Errorf("%w: %s", backends.ErrUnsupported, withoutLandlock(errno))
	}
	var missing []string
	for _, l := range landlockLater {
		if int(version) < l.since {
			missing = append(missing, l.what)
		}
	}
	detail = fmt.Sprintf("Landlock, version %d", version)
	if len(missing) > 0 {
		detail += "; this kernel does not guard " + strings.Join(missing, ", ")
	}
	if version < 2 {
		detail += "; and lets nobody move files from folder to folder"
	}
	return detail, nil
}

func withoutLandlock(errno error) string {
	switch {
	case errors.Is(errno, unix.ENOSYS):
		return "this kernel has no Landlock, which came with Linux 5.13"
	case errors.Is(errno, unix.EOPNOTSUPP):
		return "Landlock is not enabled: add it to the list of the kernel's boot option lsm="
	}
	return fmt.Sprintf("Landlock is refused here: %v", errno)
}
