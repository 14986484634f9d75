package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ds-sandbox/ds-sandbox/agent/daemon"
)

// asUser becomes a user for good and executes a program: as-user UID GID -- PROGRAM ARGUMENTS. The agent starts its supervisors
// by it: it is root by its real id alone, so that it can't do this itself for a child.
func asUser(_ context.Context, args []string) error {
	if len(args) < 4 || args[2] != "--" {
		return errors.New("usage: ds-sandbox-agent as-user UID GID -- PROGRAM ARGUMENTS")
	}
	uid, err := strconv.ParseUint(args[0], 10, 31)
	if err != nil {
		return fmt.Errorf("as-user: user: %w", err)
	}
	gid, err := strconv.ParseUint(args[1], 10, 31)
	if err != nil {
		return fmt.Errorf("as-user: group: %w", err)
	}
	become := func() error { return daemon.BecomeUser(int(uid), int(gid)) }
	return fmt.Errorf("as-user: %w", execute(args[3:], become))
}

// asRoot becomes root for good, where code may do that too, and executes a program: as-root -- PROGRAM ARGUMENTS.
func asRoot(_ context.Context, args []string) error {
	if len(args) < 2 || args[0] != "--" {
		return errors.New("usage: ds-sandbox-agent as-root -- PROGRAM ARGUMENTS")
	}
	return fmt.Errorf("as-root: %w", execute(args[1:], daemon.BecomeRoot))
}

// execute becomes somebody and executes a program. It returns only when that fails.
func execute(argv []string, become func() error) error {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	if err := become(); err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", program, unix.Exec(program, argv, os.Environ()))
}
