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
	program, err := exec.LookPath(args[3])
	if err != nil {
		return fmt.Errorf("as-user: %w", err)
	}
	if err := daemon.BecomeUser(int(uid), int(gid)); err != nil {
		return fmt.Errorf("as-user: %w", err)
	}
	return fmt.Errorf("as-user: execute %s: %w", program, unix.Exec(program, args[3:], os.Environ()))
}
