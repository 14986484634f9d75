package kerneltest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// processVariable tells a program that it is to play a kernel; its value is the network.
const processVariable = "KERNELTEST_SERVE"

// Process is a fake kernel in a process of its own, for measuring and for killing. The caller ends it with Close.
type Process struct {
	Info   *messaging.ConnectionInfo
	cmd    *exec.Cmd
	stdin  io.Closer
	folder string // of its sockets; a killed process leaves them
	once   sync.Once
	err    error
}

// ServeIfChild plays the kernel, and then ends the program, if it was started by StartProcess; else it does nothing. A
// program that calls StartProcess calls it first thing in main or TestMain.
func ServeIfChild() {
	network := os.Getenv(processVariable)
	if network == "" {
		return
	}
	if err := serveChild(network); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serveChild(network string) error {
	k := New(nil)
	defer k.Close()
	info, err := Listen(k, network)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(info); err != nil {
		return fmt.Errorf("kerneltest: %w", err)
	}
	// The end of the standard input is the end of the parent, however it came.
	parent := make(chan struct{})
	go func() {
		defer close(parent)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	select {
	case <-parent:
	case <-k.Done():
	}
	return nil
}

// StartProcess starts this same program as a fake kernel on network "unix" or "tcp"; see ServeIfChild. It runs what needs no
// script: echo and FloodCode. It ends with Close, with this program, or by a shutdown_request. ctx bounds the start.
func StartProcess(ctx context.Context, network string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("kerneltest: %w", err)
	}
	folder, err := os.MkdirTemp("", "kt")
	if err != nil {
		return nil, fmt.Errorf("kerneltest: %w", err)
	}
	cmd := exec.Command(self) // not bound to ctx, which it outlives
	cmd.Env = append(os.Environ(), processVariable+"="+network, "TMPDIR="+folder)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("kerneltest: %w", errors.Join(err, os.RemoveAll(folder)))
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("kerneltest: %w", errors.Join(err, stdin.Close(), os.RemoveAll(folder)))
	}
	if err := cmd.Start(); err != nil { // closes both pipes
		return nil, fmt.Errorf("kerneltest: %w", errors.Join(err, os.RemoveAll(folder)))
	}
	p := &Process{cmd: cmd, stdin: stdin, folder: folder}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		p.Info, err = messaging.ParseConnection(line)
	}
	if err != nil {
		return nil, fmt.Errorf("kerneltest: start process: %w", errors.Join(err, p.Close()))
	}
	return p, nil
}

// Kill kills the process; Close is still wanted.
func (p *Process) Kill() error { return p.cmd.Process.Kill() }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Close ends the process, waits for it and removes its sockets. That it was killed is no error. It is idempotent.
func (p *Process) Close() error {
	p.once.Do(func() {
		_ = p.stdin.Close() // the process may be gone already
		err := p.cmd.Wait()
		if exit := new(exec.ExitError); errors.As(err, &exit) && !exit.Exited() {
			err = nil
		}
		if err = errors.Join(err, os.RemoveAll(p.folder)); err != nil {
			p.err = fmt.Errorf("kerneltest: %w", err)
		}
	})
	return p.err
}
