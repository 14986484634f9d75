package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxLine bounds one message of the supervisor or a keeper, bytes.
const maxLine = 1 << 20

// errWireClosed says that the other end of a control socket is gone.
var errWireClosed = errors.New("control socket closed")

// wire is the host's end of a control socket: JSON lines with file descriptors beside them, as
// dskernel/README.md has it. Requests may come from several goroutines; answers are found by their id.
type wire struct {
	conn    *net.UnixConn
	onEvent func(event)
	done    chan struct{} // closed when the reader has ended

	writing sync.Mutex // held while a request is written

	mu      sync.Mutex // guards what follows
	next    int
	waiting map[int]waiter
	closed  bool
}

// waiter takes the answer to one request.
type waiter struct {
	answer chan response  // of one element
	late   func(response) // instead, once nobody waits any more; called on the reader's goroutine
}

// request is what the host asks.
type request struct {
	ID     int               `json:"id"`
	Op     string            `json:"op"`
	Name   string            `json:"name,omitempty"`
	Argv   []string          `json:"argv,omitempty"`
	Env    map[string]string `json:"env"` // of start
	Cwd    string            `json:"cwd,omitempty"`
	PID    int               `json:"pid,omitempty"`
	Signal string            `json:"signal,omitempty"`
	Group  bool              `json:"group,omitempty"`
	TTY    bool              `json:"tty,omitempty"`  // of start: the standard input is a terminal, to be the controlling one
	Fork   bool              `json:"fork,omitempty"` // of start: go on as a Python kernel instead of executing
	// Confine shuts in what start starts.
	Confine *confinement   `json:"confine,omitempty"`
	Limits  *programLimits `json:"limits,omitempty"`
	Apart   bool           `json:"apart,omitempty"` // of adopt: it belongs to another instance
	// Freezer is the file that stops a control group.
	Freezer string `json:"freezer,omitempty"`

	FDs int `json:"fds,omitempty"`
}

// response is the answer to a request.
type response struct {
	ID     int    `json:"id"`
	PID    int    `json:"pid"`
	PIDs   []int  `json:"pids"`
	Left   int    `json:"left"`
	Error  string `json:"error"`
	Errno  int    `json:"errno"`
	Stage  string `json:"stage"`
	closed bool
}

// event is what happened by itself.
type event struct {
	Event  string `json:"event"` // "exit", "keeper_exit" or "warm"
	PID    int    `json:"pid"`
	Code   int    `json:"code"`
	Signal string `json:"signal"`

	Missing map[string]string `json:"missing"` // of warm: reasons by module
	Seconds float64           `json:"seconds"` // of warm
	Error   string            `json:"error"`   // of warm
}

// socketPair returns our end, and the other as a file to give away. The caller closes both.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	conn, err := net.FileConn(ours)
	_ = ours.Close() // FileConn has its own
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}

// newWire starts reading; onEvent is called on the reader's goroutine. onEnd is called there when the other end is gone.
func newWire(conn *net.UnixConn, onEvent func(event), onEnd func()) *wire {
	w := &wire{conn: conn, onEvent: onEvent, done: make(chan struct{}), waiting: make(map[int]waiter)}
	go w.read(onEnd)
	return w
}

func (w *wire) read(onEnd func()) {
	defer close(w.done)
	lines := bufio.NewScanner(w.conn)
	lines.Buffer(make([]byte, 4096), maxLine)
	for lines.Scan() {
		var kind struct {
			Event string `json:"event"`
		}
		if json.Unmarshal(lines.Bytes(), &kind) != nil {
			break // not our supervisor any more
		}
		if kind.Event != "" {
			var e event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				w.onEvent(e)
			}
			continue
		}
		var r response
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			w.answer(r)
		}
	}
	_ = w.conn.Close() // tells the other end, if it is what broke
	w.mu.Lock()
	w.closed = true
	for _, waiting := range w.waiting {
		if waiting.late == nil {
			waiting.answer <- response{closed: true}
		}
	}
	clear(w.waiting)
	w.mu.Unlock()
	onEnd()
}

func (w *wire) answer(r response) {
	w.mu.Lock()
	waiting, ok := w.waiting[r.ID]
	delete(w.waiting, r.ID)
	if ok && waiting.late == nil {
		waiting.answer <- r // under the lock, so that ask finds it here or the request still waiting
	}
	w.mu.Unlock()
	if ok && waiting.late != nil {
		waiting.late(r)
	}
}

// call sends a request with files and waits for its answer. An answer with an error is no error here.
func (w *wire) call(ctx context.Context, r request, files ...*os.File) (response, error) {
	return w.ask(ctx, r, nil, files)
}

// ask is call; late gets the answer if it comes after ctx was done. It may be nil.
func (w *wire) ask(ctx context.Context, r request, late func(response), files []*os.File) (response, error) {
	if ctx.Err() != nil {
		return response{}, context.Cause(ctx)
	}
	answer := make(chan response, 1)
	id, err := w.expect(waiter{answer: answer})
	if err != nil {
		return response{}, err
	}
	r.ID, r.FDs = id, len(files)
	if err := w.send(r, files); err != nil {
		w.mu.Lock()
		delete(w.waiting, id)
		w.mu.Unlock()
		return response{}, err
	}
	var a response
	select {
	case a = <-answer:
	case <-ctx.Done():
		w.mu.Lock()
		_, pending := w.waiting[id]
		if pending && late != nil {
			w.waiting[id] = waiter{late: late}
		} else {
			delete(w.waiting, id)
		}
		w.mu.Unlock()
		if pending {
			return response{}, context.Cause(ctx)
		}
		a = <-answer // it came just now
	}
	if a.closed {
		return response{}, errWireClosed
	}
	return a, nil
}

// expect registers a waiter under a new id.
func (w *wire) expect(waiting waiter) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, errWireClosed
	}
	w.next++
	w.waiting[w.next] = waiting
	return w.next, nil
}

// post sends a request whose answer nobody needs.
func (w *wire) post(r request) {
	w.mu.Lock()
	w.next++
	r.ID = w.next
	w.mu.Unlock()
	_ = w.send(r, nil) // a wire that breaks ends its keeper, which is what a lost request would have to do
}

// writePatience bounds one write: a keeper that was stopped by the code it keeps does not read. A caller's context does
// not: half a line breaks the wire, and with it the sandbox.
const writePatience = 5 * time.Second

func (w *wire) send(r request, files []*os.File) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	w.writing.Lock()
	defer w.writing.Unlock()
	_ = w.conn.SetWriteDeadline(time.Now().Add(writePatience))
	n := 0
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		if n, _, err = w.conn.WriteMsgUnix(line, syscall.UnixRights(fds...), nil); err != nil {
			return w.broken(err)
		}
	}
	if _, err := w.conn.Write(line[n:]); err != nil {
		return w.broken(err)
	}
	return nil
}

// broken ends the wire: after half a line nothing can follow.
func (w *wire) broken(err error) error {
	_ = w.conn.Close()
	return fmt.Errorf("%w: %w", errWireClosed, err)
}

// over reports whether the other end is gone.
func (w *wire) over() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// close ends the wire and waits for its reader.
func (w *wire) close() {
	_ = w.conn.Close()
	<-w.done
}
