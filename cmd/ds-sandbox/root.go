package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// execute runs the command line and returns its exit code.
func execute(ctx context.Context, args []string, s *streams) int {
	c := new(common)
	root := newRoot(s, c)
	root.SetArgs(args)
	err := c.blame(root.ExecuteContext(ctx))
	code, say := exitCode(err)
	if say {
		fmt.Fprintf(s.err, "ds-sandbox: %s\n", strings.TrimPrefix(err.Error(), "sandbox: "))
	}
	if code == exitUsage {
		fmt.Fprintln(s.err, "see `ds-sandbox help`")
	}
	return code
}

// common are the options of every command that opens an engine.
type common struct {
	python, backend, workspaceBase string
	image, agent, profile, network string // of containers
	traceWire, verbose             bool

	variables []string // flags that were not given but set by their variables
}

// blame names the variable where a mistake is in a flag that it set.
func (c *common) blame(err error) error {
	var usage *usageError
	if !errors.As(err, &usage) {
		return err
	}
	for _, flag := range c.variables {
		if rest, ok := strings.CutPrefix(usage.Error(), "--"+flag+": "); ok {
			return usagef("%s: %s", variableFor(flag), rest)
		}
	}
	return err
}

func newRoot(s *streams, c *common) *cobra.Command {
	root := &cobra.Command{
		Use:   "ds-sandbox",
		Short: "Run data-science code in stateful sandboxes",
		Long: `Run data-science code in stateful sandboxes.

Every flag can be given by a variable too: DS_SANDBOX_ and its name in capitals,
for instance DS_SANDBOX_TIMEOUT for --timeout.

Exit codes: 0 success, 1 the code raised or reached a limit, 2 wrong usage, 3 the sandbox failed,
124 the run timed out, 130 interrupted, 141 the output's reader went away, 143 terminated;
and n when the code ended by sys.exit(n).`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) (err error) {
			c.variables, err = fromEnvironment(cmd.Flags())
			return err
		},
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&c.python, "python", "", "the Python that sandboxes run on; an interpreter or the folder of an environment")
	flags.StringVar(&c.backend, "backend", "", "where sandboxes live: auto, local or docker (default auto)")
	flags.StringVar(&c.workspaceBase, "workspace-base", "", "folder that holds the workspaces (default in the temporary folder)")
	flags.BoolVar(&c.traceWire, "trace-wire", false, "print every message to and from kernels on standard error")
	flags.BoolVarP(&c.verbose, "verbose", "v", false, "say on standard error what the engine does")
	root.AddCommand(
		newRun(s, c), newREPL(s, c), newShell(s, c), newNotebook(s, c), newKernels(s, c), newSetup(s, c), newImage(s, c), newDoctor(s, c),
		newServe(s, c), newVersion(s),
	)
	return root
}

// containerFlags are those of commands that make a sandbox.
func (c *common) containerFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.image, "image", "", "what a container is made from: an `image`, or a snapshot (default that of ds-sandbox image build)")
	flags.StringVar(&c.profile, "profile", "", "how far code may go in its container: hardened or compatible (default hardened)")
}

// docker is the configuration of what speaks to the engine without a sandbox.
func (c *common) docker() docker.Config {
	return docker.Config{Agent: c.agent, Defaults: backends.Container{Image: c.image}}
}

// auto reports whether nobody has said where sandboxes live.
func (c *common) auto() bool {
	if c.backend != "" {
		return c.backend == "auto"
	}
	for _, name := range []string{"DS_SANDBOX_BACKEND", "SANDBOX_BACKEND_TYPE", "DSLIGHTING_SANDBOX_BACKEND_TYPE"} {
		if value := os.Getenv(name); value != "" {
			return value == "auto"
		}
	}
	return true
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s: unexpected %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// engineFlags are those whose variables the engine reads itself, and then says so.
var engineFlags = []string{"python", "backend", "workspace-base", "image", "agent", "profile", "network"}

// fromEnvironment sets the flags that were not given from their variables, and tells which. One that is a list has an item a line.
func fromEnvironment(flags *pflag.FlagSet) (set []string, err error) {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || slices.Contains(engineFlags, f.Name) {
			return
		}
		name := variableFor(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return
		}
		set = append(set, f.Name)
		values := []string{value}
		if _, isList := f.Value.(pflag.SliceValue); isList {
			values = strings.Split(strings.TrimSpace(value), "\n")
		}
		for _, v := range values {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, usagef("%s: %w", name, err))
			}
		}
	})
	return set, errors.Join(errs...)
}

// variableFor names the variable of a flag.
func variableFor(flag string) string {
	return "DS_SANDBOX_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// journalBytes bounds what a command remembers of its context, for a report or a notebook; there are no others beside it.
const journalBytes = 256 << 20

// open opens an engine. The result of close waits for it and what the trace has to say.
func (c *common) open(ctx context.Context, err io.Writer) (engine *sandbox.Engine, closeAll func() error, _ error) {
	config := sandbox.Config{
		Python: c.python, DefaultBackend: c.backend, WorkspaceBaseDir: c.workspaceBase,
		Image: c.image, AgentBinary: c.agent, Profile: backends.Profile(c.profile), Network: backends.NetworkMode(c.network),
		NoForkServer: true, MaxSpares: sandbox.NoSpares, // for one sandbox these would come too late
	}
	if os.Getenv("DS_SANDBOX_JOURNAL_BYTES") == "" {
		config.JournalBytes = journalBytes
	}
	if c.verbose {
		config.Logger = slog.New(slog.NewTextHandler(err, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	stopTrace := func() {}
	if c.traceWire {
		t := newTrace(err)
		config.Trace, stopTrace = t.add, t.close
	}
	engine, openErr := sandbox.Open(ctx, config)
	if openErr != nil {
		stopTrace()
		return nil, nil, openErr
	}
	return engine, func() error {
		defer stopTrace()
		return engine.Close(context.WithoutCancel(ctx))
	}, nil
}
