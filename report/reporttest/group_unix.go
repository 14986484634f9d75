//go:build unix

package reporttest

import (
	"os/exec"
	"syscall"
)

// startGroup makes the end of cmd's context end the browser's other processes too.
func startGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
