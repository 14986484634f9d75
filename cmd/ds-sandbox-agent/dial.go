package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// The agent may be starting while its first host is there already.
const (
	dialPatience = 10 * time.Second
	dialPause    = 5 * time.Millisecond
)

// dialAgent connects to the agent's socket, and waits for it to be there.
func dialAgent(ctx context.Context, socket string) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialPatience, fmt.Errorf("no agent within %v", dialPatience))
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
		select {
		case <-time.After(dialPause):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
