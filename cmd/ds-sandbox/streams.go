package main

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// streams is what a command talks to.
type streams struct {
	in       io.Reader
	out, err io.Writer
	signals  <-chan os.Signal
}

func standardStreams(signals <-chan os.Signal) *streams {
	return &streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, signals: signals}
}

// catchSignals takes the signals that end programs, so that sandboxes are cleaned up first. SIGPIPE among them: with
// it a write to a closed pipe is an error rather than our end.
func catchSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	return c, func() {
		signal.Stop(c)
		signal.Stop(pipe)
	}
}

// terminalFd is the descriptor of a stream that is a terminal; ok is false for all others.
func terminalFd(stream any) (fd int, ok bool) {
	f, isFile := stream.(*os.File)
	if !isFile {
		return 0, false
	}
	fd = int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// colours reports whether colours may be written to a stream: see no-color.org.
func colours(stream any) bool {
	_, ok := terminalFd(stream)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
