package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ds-sandbox/ds-sandbox/backends/local/pyenv"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server"
)

// serveOptions of the subcommand serve. What the daemon itself is told is in package server, by the same names in all places.
type serveOptions struct {
	file          string
	check, asJSON bool
}

func newServe(s *streams, c *common) *cobra.Command {
	o := new(serveOptions)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve sandboxes on one port: E2B's clients, Jupyter's, a page",
		Long: `Serve sandboxes on one port: E2B's clients, Jupyter's, a page.

The first start makes a key, and every start prints the lines to paste. Each setting is a flag, a variable (--max-timeout is
DS_SANDBOX_SERVE_MAX_TIMEOUT) and a line of a YAML file (max_timeout: 2h); flags win over variables, and these over the file. A file
can have further keys, with limits of their own, and templates:

  keys:
    - {name: ada, key_file: ada.key, sandboxes: 20, memory: 16G, creates_per_minute: 60, streams: 200}
  templates:
    - {id: big, image: "ds-sandbox-kernel:latest", memory: 8G}

SIGTERM and Ctrl-C let requests under way end, for at most --drain, and then kill all sandboxes; a second one does not wait.`,
		Args: noArguments,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) (err error) {
			c.variables, err = fromEnvironment(commonFlags(cmd.Flags()))
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), s, c, o, cmd.Flags()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.file, "config", "", "a YAML `file` with settings (DS_SANDBOX_SERVE_CONFIG)")
	flags.BoolVar(&o.check, "check", false, "check the settings, print them, and end")
	flags.BoolVar(&o.asJSON, "json", false, "log JSON objects, for programs (DS_SANDBOX_SERVE_JSON=1)")
	for _, option := range server.Options() {
		if !isCommon(option.Name) {
			flags.String(option.Name, "", fmt.Sprintf("%s (%s)", option.Usage, option.Variable()))
		}
	}
	return cmd
}

// isCommon reports whether a flag is one of every command's.
func isCommon(name string) bool {
	return name == "python" || name == "backend" || name == "workspace-base"
}

// commonFlags are those that are read from variables as with every command; the daemon's own have variables of their own.
func commonFlags(all *pflag.FlagSet) *pflag.FlagSet {
	some := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, name := range []string{"trace-wire", "verbose"} {
		some.AddFlag(all.Lookup(name))
	}
	return some
}

func serve(ctx context.Context, s *streams, c *common, o *serveOptions, flags *pflag.FlagSet) error {
	config, err := o.load(flags)
	if err != nil {
		return err
	}
	if o.check {
		return pipeError(printConfig(s.out, &config))
	}
	config.Logger = o.logger(s.err, c.verbose)
	slog.SetDefault(config.Logger)
	config.Engine.Logger = config.Logger
	stopTrace := func() {}
	if c.traceWire {
		t := newTrace(s.err)
		config.Engine.Trace, stopTrace = t.add, t.close
	}
	defer stopTrace()

	ctx, drain := context.WithCancel(ctx)
	defer drain()
	hurry, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer watchSignals(s.signals, func(_ os.Signal, n int) {
		drain()
		if n > 1 {
			cut()
		}
	})()
	engine, err := sandbox.Open(ctx, config.Engine)
	if err != nil {
		return err
	}
	daemon, err := server.New(ctx, engine, config)
	if err == nil {
		defer context.AfterFunc(hurry, daemon.Hurry)()
		if err = pipeError(daemon.Banner(s.out)); err != nil {
			drain()
		}
		err = errors.Join(err, daemon.Serve(ctx))
	}
	return errors.Join(mistake(err), engine.Close(context.WithoutCancel(ctx)))
}

// load reads all settings.
func (o *serveOptions) load(flags *pflag.FlagSet) (server.Config, error) {
	if o.file == "" {
		o.file = os.Getenv("DS_SANDBOX_SERVE_CONFIG")
	}
	given := make(map[string]string)
	for _, option := range server.Options() {
		if f := flags.Lookup(option.Name); f.Changed {
			given[option.Name] = f.Value.String()
		}
	}
	config, err := server.Load(server.Sources{
		Base: server.Config{DataDir: filepath.Join(pyenv.DataDir(""), "serve")}, File: o.file, Lookup: os.LookupEnv, Flags: given,
	})
	if err == nil {
		err = config.Check()
	}
	if err != nil {
		err = &usageError{err}
	}
	return config, err
}

// mistake is a usageError where the error is about a setting.
func mistake(err error) error {
	var option *server.OptionError
	if errors.As(err, &option) {
		return &usageError{err}
	}
	return err
}

func (o *serveOptions) logger(w io.Writer, verbose bool) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		options.Level = slog.LevelDebug
	}
	if o.asJSON || os.Getenv("DS_SANDBOX_SERVE_JSON") == "1" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// printConfig prints all settings as they took effect.
func printConfig(w io.Writer, config *server.Config) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, option := range server.Options() {
		value := option.Value(config)
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(table, "%s\t%s\n", option.Key(), value)
	}
	for _, key := range config.Keys {
		l := key.Owner.Limits
		fmt.Fprintf(table, "key of %s\tsandboxes %d, memory %d, creates a minute %d, streams %d (0 is no limit)\n",
			key.Owner.Name, l.Sandboxes, l.Memory, l.CreatesPerMinute, l.Streams)
	}
	for _, t := range config.Templates {
		fmt.Fprintf(table, "template %s\timage %q, aliases %v\n", t.ID, t.Image, t.Aliases)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "the settings are in order")
	return err
}
