package gatekeeper

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent/firewall"
	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
	"github.com/ds-sandbox/ds-sandbox/agent/resolver"
)

// Listen is where the resolver listens inside the sandbox's network.
const Listen = "127.0.0.1:53"

const (
	maxRequest  = 4 << 20 // bytes of rules
	requestTime = 15 * time.Second
	watchEvery  = 10 * time.Second
)

// ErrSandboxGone says that the engine took the network away, which it does when the sandbox's container has ended.
var ErrSandboxGone = errors.New("the sandbox is gone")

// Result is what came of rules.
type Result struct {
	Cut   int    `json:"cut"`             // connections that were ended
	Error string `json:"error,omitempty"` // why the former rules are still in force
}

// Run keeps the rules of this network namespace until ctx is done or the sandbox is gone. Until the first Replace it admits nothing.
// What hinders it is also told to whoever comes to the socket first.
func Run(ctx context.Context, socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer listener.Close() //nolint:errcheck // the container ends with it
	if err := os.Chmod(socket, 0o600); err != nil {
		return err
	}
	wall, server, err := open(ctx)
	if err != nil {
		tell(listener, err)
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		listener.Close() //nolint:errcheck // its acceptor tells
	})
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { cancel(watch(ctx)) })
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				cancel(err)
				return
			}
			serve(conn, func(rules netrules.Rules) (int, error) { return wall.Apply(rules) })
		}
	})
	err = server.Serve(ctx)
	cancel(err)
	wg.Wait()
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

func open(ctx context.Context) (*firewall.Firewall, *resolver.Server, error) {
	wall, err := firewall.Open()
	if err != nil {
		return nil, nil, err
	}
	dialer := net.Dialer{Control: firewall.Mark}
	server := &resolver.Server{Gate: wall, Dial: dialer.DialContext}
	return wall, server, resolver.Listen(ctx, Listen, server)
}

// tell waits for the first request and answers it with err.
func tell(listener net.Listener, err error) {
	stop := time.AfterFunc(requestTime, func() {
		listener.Close() //nolint:errcheck // the acceptor tells
	})
	defer stop.Stop()
	if conn, acceptErr := listener.Accept(); acceptErr == nil {
		serve(conn, func(netrules.Rules) (int, error) { return 0, err })
	}
}

// serve answers one request: rules as JSON, ended by closing the way there.
func serve(conn net.Conn, apply func(netrules.Rules) (int, error)) {
	defer conn.Close() //nolint:errcheck // the answer was written or its reader is gone
	if conn.SetDeadline(time.Now().Add(requestTime)) != nil {
		return
	}
	var result Result
	var rules netrules.Rules
	err := json.NewDecoder(io.LimitReader(conn, maxRequest)).Decode(&rules)
	if err == nil {
		result.Cut, err = apply(rules)
	}
	if err != nil {
		result.Error = err.Error()
	}
	json.NewEncoder(conn).Encode(result) //nolint:errcheck // its reader is gone, which is its own business
}

// watch returns when the namespace has lost its interfaces.
func watch(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		interfaces, err := net.Interfaces()
		if err != nil {
			continue
		}
		outside := 0
		for _, i := range interfaces {
			if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
				outside++
			}
		}
		if outside == 0 {
			return ErrSandboxGone
		}
	}
}
