package gatekeeper

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// Replace hands the rules of in to the process of Run, waiting until it listens, and copies its Result to out.
func Replace(ctx context.Context, socket string, in io.Reader, out io.Writer) error {
	rules, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
	if err != nil {
		return err
	}
	if len(rules) > maxRequest {
		return fmt.Errorf("rules have more than %d bytes", maxRequest)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	conn, err := dial(ctx, socket)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // all was read
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write(rules); err != nil {
		return err
	}
	_, err = io.Copy(out, conn)
	return err
}

func dial(ctx context.Context, socket string) (net.Conn, error) {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", socket)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the process that keeps the network's rules doesn't answer: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
