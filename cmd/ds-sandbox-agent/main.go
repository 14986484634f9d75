// Command ds-sandbox-agent is what runs in a container beside the code: see package daemon.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/agent/daemon"
)

// version is set by the build.
var version = "unknown"

// commands are the subcommands, each in a file of its own. They return when they are over; an error is their last word.
var commands = map[string]func(ctx context.Context, args []string) error{
	"serve":   serve,
	"bridge":  bridge,
	"as-user": asUser,
	"as-root": asRoot,
	"reserve": func(context.Context, []string) error { return daemon.Reserve() },
	"version": func(context.Context, []string) error {
		_, err := fmt.Println(describe())
		return err
	},
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ds-sandbox-agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var names []string
	for name := range commands {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(args) == 0 || commands[args[0]] == nil {
		return fmt.Errorf("usage: ds-sandbox-agent %s", strings.Join(names, "|"))
	}
	return commands[args[0]](ctx, args[1:])
}
