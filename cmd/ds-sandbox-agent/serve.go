package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/ds-sandbox/ds-sandbox/agent/daemon"
)

// serve is the agent itself.
func serve(ctx context.Context, args []string) error {
	var opts daemon.Options
	var python string
	var verbose bool
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&opts.Workspace, "workspace", daemon.DefaultWorkspace, "`folder` of the code's files")
	flags.StringVar(&opts.Private, "private", daemon.DefaultPrivate, "`folder` of environments, caches and temporary files")
	flags.StringVar(&opts.Runtime, "runtime", daemon.DefaultRuntime, "`folder` of kernels' sockets, with a short path")
	flags.StringVar(&opts.Socket, "socket", daemon.DefaultSocket, "`path` of the socket for hosts, in a folder of its own")
	flags.IntVar(&opts.UID, "uid", 1000, "user of the code, when started as root")
	flags.IntVar(&opts.GID, "gid", 1000, "group of the code, when started as root")
	flags.DurationVar(&opts.Silence, "silence", 0, "end after this time without a host (default 60s)")
	flags.StringVar(&python, "python", "", "interpreter `path`s, separated by colons, instead of looking for one")
	flags.BoolVar(&verbose, "verbose", false, "log to standard error what goes on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("serve: unknown argument %q", flags.Arg(0))
	}
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelDebug
	}
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	opts.Pythons = filepath.SplitList(python)
	opts.Build = version
	return daemon.Run(ctx, opts)
}
