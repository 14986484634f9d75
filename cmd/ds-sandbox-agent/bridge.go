package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"os"

	"github.com/ds-sandbox/ds-sandbox/agent/daemon"
)

// bridge joins its standard input and output to the agent's socket, until either ends. It is what an engine's exec starts.
func bridge(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bridge", flag.ContinueOnError)
	socket := flags.String("socket", daemon.DefaultSocket, "`path` of the agent's socket")
	if err := flags.Parse(args); err != nil {
		return err
	}
	daemon.Expendable() // the host makes another
	conn, err := dialAgent(ctx, *socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return join(conn, os.Stdin, os.Stdout)
}

// join copies both ways until either side ends. The process ends with it, which ends the copy that is left.
func join(conn net.Conn, in io.Reader, out io.Writer) error {
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, in)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(out, conn)
		ended <- err
	}()
	if err := <-ended; err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
