package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// A process that is killed for memory lets go of its pages first and of its files after, and a file in memory may be all that it
// filled. If anybody in the container asks for a page in between, the system kills once more, and without other code that would be the
// agent: the whole sandbox for a moment's shortage. So a process that does nothing stands before the agent, with memory to give.
const (
	reserveBytes = 8 << 20 // more than the agent asks for until the files are gone
	reservePause = time.Second
)

// keepReserve keeps a reserve until ctx ends: another comes after one that was taken.
func keepReserve(ctx context.Context, launcher []string, logger *slog.Logger) {
	self, err := os.Executable()
	if err != nil {
		logger.Warn("keep memory in reserve", "error", err)
		return
	}
	argv := append(slices.Clone(launcher), self, "reserve")
	for ctx.Err() == nil {
		err := runReserve(ctx, argv)
		logger.Debug("the reserve of memory is gone", "error", err)
		select {
		case <-time.After(reservePause):
		case <-ctx.Done():
		}
	}
}

func runReserve(ctx context.Context, argv []string) error {
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Env = []string{} // nil is ours
	stay, err := c.StdinPipe()
	if err != nil {
		return err
	}
	defer func() { _ = stay.Close() }()
	return c.Run()
}

// Reserve is the reserve itself: it holds memory until its standard input ends.
func Reserve() error {
	agent.BecomeReserve()
	held, err := unix.Mmap(-1, 0, reserveBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// Expendable has the system take this process before the agent when memory is short, and after a reserve.
func Expendable() { agent.BecomeExpendable() }
