package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// What a client may take its time with.
const (
	headerTime = 10 * time.Second
	headerSize = 64 << 10
	// idleTime is how long a connection is kept that nothing is asked on. Clients keep theirs for 300 s, and must not find one closed that
	// they are about to use.
	idleTime = 640 * time.Second
	// pieceTime is how long a client may take to read pieceSize bytes, or to send any.
	pieceTime = 60 * time.Second
	pieceSize = 256 << 10
	// streamTime is how long the next message of a request that is a stream may take to come.
	streamTime = 10 * time.Minute
)

// What a request may hold, bytes.
const (
	smallBody = 1 << 20
	codeBody  = 64 << 20
)

// bodySize is how large the body of a request of a class may be.
func (s *Server) bodySize(c class) int64 {
	switch c {
	case classEnvd, classPort, classSigned, classBridge:
		return s.config.MaxUpload
	case classInterpreter, classJupyter:
		return codeBody
	}
	return smallBody
}

// bind bounds what a client may do with a request: how large its body is, and how slowly it is sent and its answer read. There is no
// bound on how long an answer takes in all, as that may be the code's own time.
func (s *Server) bind(w http.ResponseWriter, r *http.Request, c class) *response {
	out := &response{ResponseWriter: w, control: http.NewResponseController(w), patience: s.config.pieceTime}
	_ = out.control.SetWriteDeadline(time.Time{}) // that of the connection's last request
	if r.Body != nil && r.Body != http.NoBody {
		patience := s.config.pieceTime
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/connect+") || c == classPort {
			patience = streamTime
		}
		body := &timedBody{ReadCloser: r.Body, control: out.control, patience: patience}
		r.Body = http.MaxBytesReader(w, body, s.bodySize(c))
		out.body = body
	}
	return out
}

// response is a ResponseWriter with a time for every piece that is written. It counts what passes.
type response struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration // for each piece
	body     *timedBody    // nil when there is none
	status   int           // 0 before there is one
	written  int64
	hijacked bool
	duplex   bool // the handler reads while it writes
}

// begin notes the status of the answer, if it has none yet. After an answer that does not wait for the body the connection takes no other
// request: what comes of the body later would be taken for one.
func (w *response) begin(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if w.duplex && status != http.StatusSwitchingProtocols && w.body != nil && !w.body.whole() {
		w.Header().Set("Connection", "close")
	}
}

func (w *response) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.begin(status)
	}
	w.allow()
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (n int, err error) {
	w.begin(http.StatusOK)
	for {
		piece := p[n:min(len(p), n+pieceSize)]
		w.allow()
		sent := w.sending()
		m, err := w.ResponseWriter.Write(piece)
		sent()
		n += m
		w.written += int64(m)
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// sending bounds how long net/http waits for what the handler has left of the body: it reads that before it sends the head of an answer.
// The function that is returned must be called when something was sent.
func (w *response) sending() (sent func()) {
	if w.body == nil || w.duplex || w.body.whole() {
		return func() {}
	}
	w.allowTwice()
	w.body.allow(w.patience)
	return w.body.allowAll
}

// finish is called when the handler has returned: what it wrote may still have to be sent, and net/http reads what is left of the body.
func (w *response) finish() {
	switch {
	case w.hijacked:
	case w.body == nil || w.body.whole():
		w.allow()
	default:
		w.allowTwice()
		w.body.finish(w.patience)
	}
}

// allow gives the next piece its time. A writer that has no deadlines, as in a test, needs none.
func (w *response) allow() { _ = w.control.SetWriteDeadline(time.Now().Add(w.patience)) }

// allowTwice gives time for what is written after the rest of the body was waited for.
func (w *response) allowTwice() { _ = w.control.SetWriteDeadline(time.Now().Add(2 * w.patience)) }

// Flush sends what was written.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush, for http.ResponseController.
func (w *response) FlushError() error {
	w.begin(http.StatusOK)
	w.allow()
	defer w.sending()()
	return w.control.Flush()
}

// EnableFullDuplex is for http.ResponseController.
func (w *response) EnableFullDuplex() error {
	err := w.control.EnableFullDuplex()
	w.duplex = err == nil // over HTTP/2 all is so from the beginning
	return err
}

// Hijack gives the connection away, without a deadline on it.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.hijacked = true
	if w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, rw, errors.Join(conn.SetDeadline(time.Time{}))
}

// Unwrap is the writer that has the deadlines, for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// timedBody is a body whose every piece must come in time. A server in a sandbox may still be sent it when its answer is over.
type timedBody struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration

	mu    sync.Mutex // guards what follows
	read  int64
	ended bool // it has come whole
	over  bool // the handler has returned
}

func (b *timedBody) Read(p []byte) (int, error) {
	b.allow(b.patience)
	n, err := b.ReadCloser.Read(p)
	// At the body's end net/http goes on reading, to notice that the client leaves; that has all the time there is.
	b.allowAll()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read += int64(n)
	b.ended = b.ended || errors.Is(err, io.EOF)
	return n, err
}

// allow gives what is read next its time, unless finish has done that.
func (b *timedBody) allow(patience time.Duration) { b.setDeadline(time.Now().Add(patience)) }

func (b *timedBody) allowAll() { b.setDeadline(time.Time{}) }

func (b *timedBody) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		_ = b.control.SetReadDeadline(t)
	}
}

// finish bounds how long the rest of the body may take to come that no handler wants any more.
func (b *timedBody) finish(patience time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	_ = b.control.SetReadDeadline(time.Now().Add(patience))
}

// whole reports whether there is nothing left of it.
func (b *timedBody) whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// received is how much of it was read.
func (b *timedBody) received() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}
