package main

import (
	"io"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// answerTime is how long a terminal may take to answer.
const answerTime = 300 * time.Millisecond

// askProtocol asks the terminal what it can show. What was typed ahead stays: then it is not asked.
func askProtocol(keyboard, terminal any) protocol {
	in, ok := terminalFd(keyboard)
	out, isWriter := terminal.(io.Writer)
	if !ok || !isWriter || readable(in, 0) {
		return protocolNone
	}
	state, err := term.MakeRaw(in)
	if err != nil {
		return protocolNone
	}
	defer func() { _ = term.Restore(in, state) }()
	if _, err := io.WriteString(out, terminalQuery); err != nil {
		return protocolNone
	}
	var answer []byte
	deadline := time.Now().Add(answerTime)
	for len(answer) < 4096 && readable(in, time.Until(deadline)) {
		var buf [256]byte
		n, err := unix.Read(in, buf[:])
		if err != nil || n == 0 {
			break
		}
		answer = append(answer, buf[:n]...)
		if p, done := protocolOfAnswer(string(answer)); done {
			return p
		}
	}
	return protocolNone
}

// readable reports whether there is something to read within a time.
func readable(fd int, wait time.Duration) bool {
	deadline := time.Now().Add(wait)
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
		n, err := unix.Poll(fds, int(max(0, time.Until(deadline).Milliseconds())))
		if err != unix.EINTR {
			return err == nil && n > 0
		}
	}
}

// window is how wide the terminal is, in pixels and in columns; 0 where that is not known.
func (p *pictures) window() (width, columns int) {
	fd, ok := terminalFd(p.terminal)
	if !ok {
		return 0, 0
	}
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Xpixel), int(size.Col)
}
