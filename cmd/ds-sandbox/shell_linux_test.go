package main

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestShellOnATerminal(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt := newTerminal(t)
		c := start(t, tt.streams(), "shell", "--python", python)
		// What is typed is echoed, perhaps twice: only what a program says tells where we are.
		_, err := tt.master.WriteString("PS1='rea''dy> '; stty size\r")
		require.NoError(t, err)
		tt.screen.waitFor(t, "40 100\r\n", 1)
		tt.types("sh -c 'echo sl''eeps; exec sleep 600'\r", "ready> ", 1)
		tt.types("\x03", "sleeps\r\n", 1)
		tt.screen.waitFor(t, "ready> ", 2)
		require.NoError(t, unix.IoctlSetWinsize(int(tt.device.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 77}))
		require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGWINCH))
		_, err = tt.master.WriteString("until [ \"$(stty size)\" = '33 77' ]; do sleep 0.01; done; echo resi''zed\r")
		require.NoError(t, err)
		tt.types("exit 9\r", "resized\r\n", 1)
		require.Equal(t, 9, c.wait())
		require.False(t, tt.isRaw(), "the terminal is as it was")
	})
}

func TestShellSetsTheTerminalBackWhenItIsEnded(t *testing.T) {
	eachPython(t, func(t *testing.T, python string) {
		tt := newTerminal(t)
		c := start(t, tt.streams(), "shell", "--python", python, "--", "sh", "-c", "echo up; sleep 600")
		tt.screen.waitFor(t, "up\r\n", 1)
		require.True(t, tt.isRaw())
		c.signals <- syscall.SIGTERM
		require.Equal(t, exitTerminated, c.wait())
		require.False(t, tt.isRaw())
	})
}
