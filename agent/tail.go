package agent

import (
	"os"
	"strings"
	"sync"
)

// tailSize is how much of a process's output is remembered, bytes.
const tailSize = 16 << 10

// tail reads a process's output and remembers the end of it.
type tail struct {
	file *os.File      // the reading end of a pipe
	done chan struct{} // closed when there is nothing more to read

	mu   sync.Mutex
	last []byte
}

// newTail returns a tail and the end of its pipe to write to, which the caller closes.
func newTail() (*tail, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	t := &tail{file: r, done: make(chan struct{})}
	go t.read()
	return t, w, nil
}

func (t *tail) read() {
	defer close(t.done)
	defer func() { _ = t.file.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := t.file.Read(buf)
		t.mu.Lock()
		t.last = append(t.last, buf[:n]...)
		if extra := len(t.last) - tailSize; extra > 0 {
			t.last = append(t.last[:0], t.last[extra:]...)
		}
		t.mu.Unlock()
		if err != nil { // io.EOF, or closed by us
			return
		}
	}
}

// text is what is remembered, as valid UTF-8.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.last), "\uFFFD")
}

// close stops reading, even while orphans hold the other end, and waits for the reader.
func (t *tail) close() {
	_ = t.file.Close()
	<-t.done
}
