package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// The exit codes, see the package's documentation.
const (
	exitRaised      = 1
	exitUsage       = 2
	exitFailed      = 3
	exitTimeout     = 124
	exitInterrupted = 130
	exitPipe        = 141
	exitTerminated  = 143
)

// usageError is a mistake in the arguments.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// exitError carries an exit code without anything to say: it has been said.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// signalError says that a signal ended a command.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return e.signal.String() }

// errPipe says that nobody reads our output any more.
var errPipe = errors.New("the reader of the output went away")

// pipeError is errPipe when err says that a pipe is closed, and else err.
func pipeError(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return errPipe
	}
	return err
}

// exitCode is the code for a command's error, and whether there is something to say about it.
func exitCode(err error) (code int, say bool) {
	var exit *exitError
	var usage *usageError
	var sig *signalError
	var raised *sandbox.ExecutionError
	var noKernel *backends.SpecNotFoundError
	var config *sandbox.ConfigError
	var limit *sandbox.LimitError
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &exit):
		return exit.code, false
	case errors.As(err, &usage), errors.As(err, &noKernel), errors.As(err, &config), errors.Is(err, sandbox.ErrInvalidCode),
		errors.Is(err, backends.ErrOutside), errors.Is(err, backends.ErrInvalidName):
		return exitUsage, true
	case errors.As(err, &sig):
		if sig.signal == syscall.SIGTERM || sig.signal == syscall.SIGHUP {
			return exitTerminated, false
		}
		return exitInterrupted, false
	case errors.Is(pipeError(err), errPipe):
		return exitPipe, false
	case errors.Is(err, sandbox.ErrTimeout):
		return exitTimeout, true
	case errors.Is(err, context.Canceled):
		return exitInterrupted, false
	case errors.As(err, &raised), errors.As(err, &limit):
		return exitRaised, true
	}
	return exitFailed, true
}
