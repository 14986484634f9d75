package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// maxDialled bounds connections to ports at a time. With the windows of newHTTP2 those whose servers do not read hold up no
// other stream.
const maxDialled = 512

// dialPort connects to a port here, and passes on what comes from either side until the server closes, or the host goes.
func (d *Daemon) dialPort(t *transfer) error {
	port, err := t.number("port", 10)
	if err != nil {
		return err
	}
	if !d.dialled.TryAcquire(1) {
		return errors.New("too many connections to ports of the sandbox are open: close some first")
	}
	defer d.dialled.Release(1)
	s, err := d.current()
	if err != nil {
		return err
	}
	conn, err := s.instance.DialContext(t.ctx, "tcp", net.JoinHostPort("localhost", strconv.FormatInt(port, 10)))
	if err != nil {
		return err
	}
	defer context.AfterFunc(t.ctx, func() { _ = conn.Close() })()
	t.began = true
	flusher := http.NewResponseController(t.w)
	if err := flusher.Flush(); err != nil {
		return errors.Join(err, conn.Close())
	}
	var up sync.WaitGroup
	up.Go(func() {
		if _, err := io.Copy(conn, t.r.Body); err != nil {
			_ = conn.Close() // the host is gone, or the server does not listen to it any more
			return
		}
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	err = pass(t, flusher, conn)
	_ = conn.Close()
	_ = t.r.Body.Close()
	up.Wait()
	return err
}

// pass sends what a server says as soon as it is there.
func pass(t *transfer, flusher *http.ResponseController, from io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := t.Write(buf[:n]); err != nil {
				return err
			}
			if err := flusher.Flush(); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
