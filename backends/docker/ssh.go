package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sshDialer connects to an engine through ssh, as the docker command does: `docker system dial-stdio` there joins its own
// input and output to the engine's socket.
func sshDialer(host string) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	u, err := url.Parse(host)
	if err != nil || u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") {
		return nil, fmt.Errorf("docker: host %q: use ssh://USER@HOST[:PORT]", host)
	}
	args := []string{"-o", "ConnectTimeout=30", "-T"}
	if name := u.User.Username(); name != "" {
		args = append(args, "-l", name)
	}
	if port := u.Port(); port != "" {
		args = append(args, "-p", port)
	}
	args = append(args, "--", u.Hostname(), "docker", "system", "dial-stdio")
	return func(context.Context, string, string) (net.Conn, error) { return dialCommand("ssh", args...) }, nil
}

// commandConn is a connection to a program's input and output. Close ends the program.
type commandConn struct {
	net.Conn
	cmd    *exec.Cmd
	stderr bytes.Buffer // complete once the program has ended
	close  sync.Once
	ended  chan struct{}
}

func dialCommand(name string, args ...string) (net.Conn, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(ends[0])
	unix.CloseOnExec(ends[1])
	ours, theirs := os.NewFile(uintptr(ends[0]), "ours"), os.NewFile(uintptr(ends[1]), "theirs")
	defer func() { _ = errors.Join(ours.Close(), theirs.Close()) }()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	c := &commandConn{Conn: conn, cmd: exec.Command(name, args...), ended: make(chan struct{})}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr, c.cmd.WaitDelay = theirs, theirs, &c.stderr, time.Second
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), conn.Close())
	}
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait()
	}()
	return c, nil
}

// Read tells what the program had to say when it ends early.
func (c *commandConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		select {
		case <-c.ended:
			if said := strings.TrimSpace(c.stderr.String()); said != "" {
				return n, fmt.Errorf("%w: %s: %s", err, c.cmd.Args[0], said[:min(len(said), maxDiagnosis)])
			}
		default:
		}
	}
	return n, err
}

// CloseWrite ends the program's input.
func (c *commandConn) CloseWrite() error { return c.Conn.(*net.UnixConn).CloseWrite() }

// Close ends the connection, and the program if it does not end by itself.
func (c *commandConn) Close() error {
	err := net.ErrClosed
	c.close.Do(func() {
		err = c.Conn.Close()
		select {
		case <-c.ended:
		case <-time.After(time.Second):
			_ = c.cmd.Process.Kill()
			<-c.ended
		}
	})
	return err
}
