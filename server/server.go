package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Server is a daemon. The caller ends it by Serve's context, or by Close when Serve was never called.
type Server struct {
	config   Config // complete
	keys     *access.Keys
	own      http.Handler // health, figures, description
	ownKey   ownKey
	fleet    *fleet.Fleet
	dialects Dialects
	metrics  *metrics
	tracing  *tracing
	conns    *conns
	listener net.Listener
	secure   bool   // it speaks TLS
	tlsFile  string // certificate of our own; "" when it is none of ours
	http     *http.Server

	hurried context.Context // ends when nobody wants to wait for the drain
	hurry   context.CancelFunc

	life context.Context // of all requests; ends when the time to drain is over
	end  context.CancelFunc

	mu       sync.Mutex // guards what follows
	requests int        // under way, websockets too
	draining bool
	idle     chan struct{} // closed when draining and none is under way
}

// New makes a daemon that stands on an engine, and has it listen; it answers once Serve is called. Errors: *OptionError, what is wrong
// with keys, the certificate, the address.
func New(ctx context.Context, engine *sandbox.Engine, config Config) (_ *Server, err error) {
	config, err = config.complete()
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &Server{config: config, metrics: newMetrics(), conns: newConns(config.Connections), idle: make(chan struct{})}
	s.hurried, s.hurry = context.WithCancel(context.Background())
	if s.keys, s.ownKey, err = config.keys(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	certificate, file, err := config.certificate()
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.secure, s.tlsFile = certificate != nil, file
	if s.tracing, err = newTracing(ctx); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s.fleet, err = fleet.New(engine, &fleet.Options{
		Sandboxes: config.Sandboxes, Timeout: config.Timeout, MaxTimeout: config.MaxTimeout, Streams: config.Streams,
		Templates: config.Templates, Images: config.Images, SnapshotBytes: config.SnapshotBytes,
		SnapshotDir: filepath.Join(config.DataDir, "snapshots"), Observer: s.metrics.observer(), Logger: config.Logger,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("server: %w", err), s.tracing.close(ctx))
	}
	if err := s.listen(ctx, certificate); err != nil {
		return nil, errors.Join(fmt.Errorf("server: %w", err), s.fleet.Close(ctx), s.tracing.close(ctx))
	}
	s.metrics.watch(s.fleet, s.conns)
	s.own = s.ownRoutes()
	s.speak()
	return s, nil
}

// listen takes the address and makes ready what serves it.
func (s *Server) listen(ctx context.Context, certificate *tls.Certificate) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return &OptionError{Option: "listen", Problem: fmt.Sprintf("%v; name another address, such as 127.0.0.1:0 for any port", err)}
	}
	s.listener = listener
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.handle), ReadHeaderTimeout: headerTime, MaxHeaderBytes: headerSize, IdleTimeout: idleTime,
		ConnState: s.conns.note, BaseContext: func(net.Listener) context.Context { return s.life },
		ErrorLog: log.New(quietLog{s.config.Logger}, "", 0),
	}
	if certificate != nil {
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}
	}
	return nil
}

// quietLog takes what net/http has to say of connections, most of it about clients that went away.
type quietLog struct{ logger *slog.Logger }

func (q quietLog) Write(p []byte) (int, error) {
	q.logger.Debug("http", "message", string(p[:max(0, len(p)-1)]))
	return len(p), nil
}

// Fleet is the daemon's sandboxes.
func (s *Server) Fleet() *fleet.Fleet { return s.fleet }

// Keys are those that the daemon knows.
func (s *Server) Keys() *access.Keys { return s.keys }

// Domain is what clients make the host names of sandboxes' ports from; "" when there is none.
func (s *Server) Domain() string { return s.config.Domain }

// Logger is the daemon's.
func (s *Server) Logger() *slog.Logger { return s.config.Logger }

// Addr is where the daemon listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL is the address of the daemon for clients on this machine, or of its domain.
func (s *Server) URL() string {
	scheme := "http"
	if s.secure {
		scheme = "https"
		if s.config.Domain != "" {
			return scheme + "://" + s.config.Domain
		}
	}
	host, port, _ := net.SplitHostPort(s.listener.Addr().String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// Serve answers until ctx ends, and then drains: no connection is taken any more, requests under way have Config.Drain to end, what
// is left is cut off, and all sandboxes are killed. It returns when nothing of the daemon is left but its engine. More than one call is
// a mistake.
func (s *Server) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() {
		if s.secure {
			served <- s.http.ServeTLS(s.listener, "", "")
		} else {
			served <- s.http.Serve(s.listener)
		}
	}()
	var err error
	select {
	case err = <-served: // the listener broke
		served <- err
	case <-ctx.Done():
	}
	err = errors.Join(ignoreClosed(err), s.Close(context.WithoutCancel(ctx)))
	return errors.Join(err, ignoreClosed(<-served))
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// endTime bounds what comes after the drain: the end of handlers that were cut off, and of sandboxes.
const endTime = 30 * time.Second

// Close does what the end of Serve's context does. When ctx ends before that, nothing is waited for any more.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		if s.requests == 0 {
			close(s.idle)
		}
	}
	s.mu.Unlock()
	s.config.Logger.Info("draining", "at most", s.config.Drain)
	drain, cancel := context.WithTimeout(ctx, s.config.Drain)
	defer cancel()
	defer context.AfterFunc(s.hurried, cancel)()
	_ = s.http.Shutdown(drain) // what is left then is cut off
	s.end()                    // websockets, which Shutdown knows nothing of, and all else
	ending, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancelEnd()
	var err error
	if s.dialects.Close != nil {
		err = s.dialects.Close(ending)
	}
	err = errors.Join(err, s.fleet.Close(ending))
	_ = s.http.Close()
	_ = s.listener.Close() // if it was never served
	select {
	case <-s.idle:
	case <-ending.Done():
		err = errors.Join(err, errors.New("server: requests are still under way: a fault of the daemon"))
	}
	return errors.Join(err, s.tracing.close(ending))
}

// Hurry has Close wait for no request any more.
func (s *Server) Hurry() { s.hurry() }

// enter counts a request in; ok is false when the daemon is ending.
func (s *Server) enter() (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, false
	}
	s.requests++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.requests--; s.requests == 0 && s.draining {
			close(s.idle)
		}
	}, true
}

// Banner is what whoever starts the daemon is to know: the lines to paste for E2B's clients, and the page's address.
func (s *Server) Banner(w io.Writer) error {
	choice := s.fleet.Engine().Choice()
	text := fmt.Sprintf("ds-sandbox listens on %s (backend %s: %s)\n\n", s.URL(), choice.Backend, choice.Reason)
	text += fmt.Sprintf("export E2B_API_URL=%s\nexport E2B_SANDBOX_URL=%s\n", s.URL(), s.URL())
	key := s.ownKey.secret
	if key != "" {
		text += fmt.Sprintf("export E2B_API_KEY=%s\n", key)
	} else {
		text += "export E2B_API_KEY=...   # one of the configured keys\n"
	}
	if s.config.Domain != "" {
		text += fmt.Sprintf("export E2B_DOMAIN=%s\n", s.config.Domain)
	}
	if s.tlsFile != "" {
		text += fmt.Sprintf("export NODE_EXTRA_CA_CERTS=%s SSL_CERT_FILE=%s   # the certificate is of our own\n", s.tlsFile, s.tlsFile)
	}
	text += fmt.Sprintf("\npage: %s/?token=%s\n", s.URL(), cmp.Or(key, "..."))
	if s.ownKey.made {
		text += fmt.Sprintf("the key was made just now and is kept in %s\n", s.ownKey.file)
	}
	_, err := io.WriteString(w, text)
	return err
}
