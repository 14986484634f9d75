package kernel_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/kernel/kerneltest"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// numbered is text of some bytes that begins with its number.
func numbered(n, size int) string {
	head := fmt.Sprintf("%d:", n)
	return head + strings.Repeat("x", size-len(head))
}

// countSpooled is how many files of a spool this process has open.
func countSpooled(t *testing.T) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	require.NoError(t, err)
	n := 0
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.Contains(target, "ds-sandbox-spool") {
			n++
		}
	}
	return n
}

// flood answers to its name with messages of a size: text, a figure with buffers each hundred, and at last an error.
func flood(fake *kerneltest.Kernel, name string, messages, size int) {
	fake.On(name, func(c *kerneltest.Call) {
		for i := range messages {
			if i%100 == 99 {
				data := messaging.MIMEBundle{}
				data.SetText("text/plain", numbered(i, size))
				m := c.Message(messaging.IOPub, &messaging.DisplayData{Data: data})
				m.Buffers = [][]byte{[]byte("buffer"), {}}
				c.Send(m)
			} else {
				c.Stream("stdout", numbered(i, size))
			}
		}
		c.Error("ValueError", "at the end")
	})
}

// readFlood reads a flood to its end: what came in its order, and how much was lost.
func readFlood(t *testing.T, e *kernel.Execution, between func(n int)) (seen []int, lost kernel.Truncated) {
	t.Helper()
	failed := false
	for {
		event, err := e.Next(t.Context())
		if errors.Is(err, io.EOF) {
			require.True(t, failed, "the error came")
			return seen, lost
		}
		require.NoError(t, err)
		text := ""
		switch c := event.Content.(type) {
		case *messaging.Stream:
			text = c.Text
			require.Equal(t, e.ID(), event.Message.ParentID())
		case *messaging.DisplayData:
			text, _ = c.Data.Text("text/plain")
			require.Equal(t, [][]byte{[]byte("buffer"), {}}, event.Message.Buffers)
		case *kernel.Truncated:
			lost.Bytes += c.Bytes
			lost.Messages += c.Messages
		case *messaging.ErrorOutput:
			failed = true
		}
		if text != "" {
			var n int
			_, err := fmt.Sscanf(text, "%d:", &n)
			require.NoError(t, err)
			require.Equal(t, strings.Repeat("x", 20), text[len(text)-20:])
			seen = append(seen, n)
			between(n)
		}
	}
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestWhatIsNotReadInTimeWaitsOnDisk(t *testing.T) {
	dir := t.TempDir()
	spool := &kernel.Spool{Dir: dir}
	bubble(t, &kernel.Options{QueueBytes: 1 << 20, Spool: spool}, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		flood(fake, "flood", 1700, 50_000) // more than a segment
		e := execute(t, conn, "flood")
		_, err := e.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, countSpooled(t))
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, "files have no name")
		seen, lost := readFlood(t, e, func(n int) {
			if n == 1600 {
				require.Equal(t, 1, countSpooled(t), "what was read is off the disk")
			}
		})
		require.Equal(t, upTo(1700), seen)
		require.Zero(t, lost)
		require.Zero(t, e.Truncated())
		require.Zero(t, countSpooled(t))
	})
}

func TestASlowReaderOfAFlood(t *testing.T) {
	spool := &kernel.Spool{Dir: t.TempDir()}
	bubble(t, &kernel.Options{QueueBytes: 100_000, Spool: spool}, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
		const count = 5000
		fake.On("flood", func(c *kerneltest.Call) {
			for i := range count {
				c.Stream("stdout", numbered(i, 1000+i%7*3000))
				if i%50 == 0 {
					time.Sleep(40 * time.Millisecond) // of the bubble's time
				}
			}
			c.Error("ValueError", "at the end")
		})
		// Behind, caught up, and behind again.
		seen, lost := readFlood(t, execute(t, conn, "flood"), func(n int) {
			if n%1000 < 500 {
				time.Sleep(time.Millisecond)
			}
		})
		require.Equal(t, upTo(count), seen)
		require.Zero(t, lost)
		require.Zero(t, countSpooled(t))
	})
}

func TestAFullSpoolLeavesOut(t *testing.T) {
	full := &kernel.Spool{Dir: t.TempDir(), Bytes: 8 << 20} // of which a run has 2 MiB
	for name, spool := range map[string]*kernel.Spool{"full": full, "no disk": {Dir: "/dev/null/none"}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, &kernel.Options{QueueBytes: 1 << 20, Spool: spool}, func(t *testing.T, fake *kerneltest.Kernel, conn *kernel.Conn) {
				const count, size = 1000, 10_000
				flood(fake, "flood", count, size)
				var before []int
				for range 3 { // and each run finds the room again
					e := execute(t, conn, "flood")
					_, err := e.Wait(t.Context())
					require.NoError(t, err)
					seen, lost := readFlood(t, e, func(int) {})
					require.IsIncreasing(t, seen)
					require.Equal(t, count, len(seen)+lost.Messages)
					require.Equal(t, e.Truncated(), lost.Bytes)
					if spool == full {
						require.InDelta(t, 4<<20/size, len(seen), 25, "two budgets of memory and the run's share of the disk")
					}
					require.Subset(t, seen, []int{99, 199, 299, 399}, "figures stay when there is text to leave out")
					if before != nil {
						require.Equal(t, before, seen)
					}
					before = seen
					require.Zero(t, countSpooled(t))
				}
				abandoned := execute(t, conn, "flood")
				_, err := abandoned.Wait(t.Context())
				require.NoError(t, err)
				require.NoError(t, abandoned.Close())
				require.Zero(t, countSpooled(t))
				e := execute(t, conn, "flood")
				seen, _ := readFlood(t, e, func(int) {})
				require.GreaterOrEqual(t, len(seen), len(before))
			})
		})
	}
}
