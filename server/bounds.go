package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
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
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.allow()
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (n int, err error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	for {
		piece := p[n:min(len(p), n+pieceSize)]
		w.allow()
		m, err := w.ResponseWriter.Write(piece)
		n += m
		w.written += int64(m)
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// finish is called when the handler has returned: what it wrote may still have to be sent.
func (w *response) finish() {
	if !w.hijacked {
		w.allow()
	}
}

// allow gives the next piece its time. A writer that has no deadlines, as in a test, needs none.
func (w *response) allow() { _ = w.control.SetWriteDeadline(time.Now().Add(w.patience)) }

// Flush sends what was written.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush, for http.ResponseController.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.allow()
	return w.control.Flush()
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

// timedBody is a body whose every piece must come in time.
type timedBody struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration
	read     int64
}

func (b *timedBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.patience))
	n, err := b.ReadCloser.Read(p)
	// At the body's end net/http goes on reading, to notice that the client leaves; that has all the time there is.
	_ = b.control.SetReadDeadline(time.Time{})
	b.read += int64(n)
	return n, err
}
