package main

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal is a terminal with a person in front of it.
type terminal struct {
	t      *testing.T
	master *os.File // the person's side
	device *os.File // the program's side
	screen *buffer  // all that was ever shown
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	raw, err := master.SyscallConn() // not Fd, after which Close would not end a read
	require.NoError(t, err)
	var n int
	var unlock, name, size error
	require.NoError(t, raw.Control(func(fd uintptr) {
		unlock = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		n, name = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		size = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100})
	}))
	require.NoError(t, errors.Join(unlock, name, size))
	device, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	tt := &terminal{t: t, master: master, device: device, screen: newBuffer()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = tt.screen.Write(visible(buf[:n]))
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = master.Close() // ends reads of both sides
		<-done
		_ = device.Close()
	})
	return tt
}

// visible leaves out the switches for pasting, which nobody sees.
func visible(b []byte) []byte {
	for _, hidden := range []string{"\x1b[?2004h", "\x1b[?2004l"} {
		b = bytes.ReplaceAll(b, []byte(hidden), nil)
	}
	return b
}

// types types keys when the screen shows text for the nth time.
func (tt *terminal) types(keys, text string, n int) {
	tt.t.Helper()
	tt.screen.waitFor(tt.t, text, n)
	_, err := tt.master.WriteString(keys)
	require.NoError(tt.t, err)
}

// typesAtPrompt types keys when the screen has shown text and the program reads keys again. Typed before that, Ctrl-D
// would be the terminal's own, as it is for everything that a person types ahead.
func (tt *terminal) typesAtPrompt(keys, text string, n int) {
	tt.t.Helper()
	tt.screen.waitFor(tt.t, text, n)
	require.Eventually(tt.t, tt.isRaw, 30*time.Second, time.Millisecond)
	tt.types(keys, text, n)
}

func (tt *terminal) streams() *streams {
	return &streams{in: tt.device, out: tt.device, err: tt.device}
}

// isRaw reports whether a program left the terminal in a state that a shell could not use.
func (tt *terminal) isRaw() bool {
	state, err := unix.IoctlGetTermios(int(tt.device.Fd()), unix.TCGETS)
	require.NoError(tt.t, err)
	return state.Lflag&unix.ICANON == 0
}
