package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// maxCode bounds a script, bytes.
const maxCode = 64 << 20

// runOptions of the subcommand run.
type runOptions struct {
	session  sessionOptions
	code     string
	timeout  string
	out      string
	images   string
	asJSON   bool
	hasCode  bool // -c was given, maybe with an empty text
	argument string
	args     []string // of the script
}

func newRun(s *streams, c *common) *cobra.Command {
	o := new(runOptions)
	cmd := &cobra.Command{
		Use:   "run [flags] SCRIPT [ARGUMENT...] | -c CODE | - [ARGUMENT...]",
		Short: "Run a script in a sandbox of its own",
		Long: `Run a script in a sandbox of its own, and print what it prints as it comes, then the last value.

The code runs in the sandbox's workspace, an empty folder that goes away with it. The script's own folder is not
visible inside: --file copies in what the script needs, and --out takes out what it shows: result-1.png, table-2.csv and so
on, each result in its order, and report.html with all of it. What the script is to find in sys.argv follows its name,
after a -- where it begins with a dash. input() reads standard input.

Ctrl-C interrupts the code; a second one kills the sandbox.`,
		Example: `  ds-sandbox run analysis.py --file data.csv --out figures
  ds-sandbox run train.py data.csv -- --epochs 3
  ds-sandbox run -c 'import pandas; pandas.__version__'
  echo 'print(6 * 7)' | ds-sandbox run -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.hasCode = cmd.Flags().Changed("code")
			if len(args) > 0 {
				o.argument, o.args = args[0], args[1:]
			}
			return run(cmd.Context(), s, c, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.code, "code", "c", "", "run this code instead of a script")
	flags.StringVar(&o.timeout, "timeout", "", "how long the code may run: seconds, or a form like 90s or 1h30m, or none (default 3600)")
	flags.StringVar(&o.out, "out", "", "folder to save in what the code shows, and a report of it; made when absent")
	imagesFlag(flags, &o.images)
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON event a line instead")
	o.session.flags(flags, c)
	return cmd
}

// run does what the subcommand says, and reports the end to the sink whatever it was.
func run(ctx context.Context, s *streams, c *common, o *runOptions) error {
	timeout, err := parseTimeout(o.timeout)
	if err != nil {
		return err
	}
	code, err := readCode(s, o)
	if err != nil {
		return err
	}
	if err := o.session.check(); err != nil {
		return err
	}
	pictures, err := newPictures(s, o.images)
	if err != nil {
		return err
	}
	var sink sink
	results := &resultFolder{dir: o.out}
	if err := results.check(); err != nil {
		return err
	}
	if o.asJSON {
		sink = newJSONSink(s.out, results)
	} else {
		sink = newTextSink(s, results, pictures)
	}
	execution, err := runInSandbox(ctx, s, c, o, code, timeout, sink, results)
	if err == nil && execution.Error != nil {
		err = raisedExit(execution.Error)
	}
	exit, _ := exitCode(err)
	return errors.Join(err, pipeError(sink.end(execution, exit, err)))
}

// argv is what the code finds in sys.argv. Its first is the script's name where the sandbox would have it.
func (o *runOptions) argv() []string {
	name := o.argument
	switch {
	case o.hasCode:
		name = "-c"
	case name != "-":
		name = filepath.Base(name)
	}
	return append([]string{name}, o.args...)
}

// title is what a report of the run is called.
func (o *runOptions) title() string {
	if o.hasCode || o.argument == "-" {
		return "Run"
	}
	return filepath.Base(o.argument)
}

// raisedExit is how a script ends that raised: with code 1, or as sys.exit says.
func raisedExit(e *sandbox.ExecutionError) error {
	if code, ok := systemExit(e); ok {
		if code == 0 {
			return nil
		}
		return &exitError{code}
	}
	return &exitError{exitRaised}
}

func parseTimeout(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := sandbox.ParseDuration(text)
	if err != nil {
		return 0, usagef("--timeout: %w", err)
	}
	if d <= 0 {
		return 0, usagef("--timeout: %q is not a positive duration", text)
	}
	return d, nil
}

// readCode reads the code from where the arguments say.
func readCode(s *streams, o *runOptions) (string, error) {
	switch {
	case o.hasCode && o.argument != "":
		return "", usagef("run: give either a script or -c, not both")
	case o.hasCode:
		return o.code, nil
	case o.argument == "":
		return "", usagef("run: give a script, or -c CODE, or - for standard input")
	case o.argument == "-":
		return readLimited(s.in, "standard input")
	}
	f, err := os.Open(o.argument)
	if err != nil {
		return "", usagef("run: %w", err)
	}
	defer func() { _ = f.Close() }()
	return readLimited(f, o.argument)
}

func readLimited(r io.Reader, name string) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxCode+1))
	if err != nil {
		return "", usagef("run: read %s: %w", name, err)
	}
	if len(data) > maxCode {
		return "", usagef("run: %s is larger than %d MB", filepath.Base(name), maxCode>>20)
	}
	return strings.TrimPrefix(string(data), "\ufeff"), nil
}
