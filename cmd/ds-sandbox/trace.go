package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// traceLines is how many lines may wait for a slow reader.
const traceLines = 4096

// trace writes a line per message. It never makes the wire wait: lines that nobody reads in time are counted.
type trace struct {
	start time.Time
	lines chan string
	done  chan struct{}

	mu     sync.Mutex
	lost   int
	closed bool
}

func newTrace(w io.Writer) *trace {
	t := &trace{start: time.Now(), lines: make(chan string, traceLines), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		for line := range t.lines {
			fmt.Fprintln(w, line)
		}
		if t.lost > 0 {
			fmt.Fprintf(w, "trace: %d lines were left out\n", t.lost)
		}
	}()
	return t
}

func (t *trace) add(direction string, m *messaging.Message) {
	line := fmt.Sprintf("%9.3fms %s", float64(time.Since(t.start).Microseconds())/1000, messaging.Describe(direction, m))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	select {
	case t.lines <- line:
	default:
		t.lost++
	}
}

// close writes what waits.
func (t *trace) close() {
	t.mu.Lock()
	t.closed = true
	close(t.lines)
	t.mu.Unlock()
	<-t.done
}
