package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// notebookOptions of the subcommand notebook run.
type notebookOptions struct {
	session     sessionOptions
	in, out     string
	params      []string
	paramsFile  string
	timeout     string
	allowErrors bool
}

func newNotebookRun(s *streams, c *common) *cobra.Command {
	o := new(notebookOptions)
	cmd := &cobra.Command{
		Use:   "run [flags] NOTEBOOK | -",
		Short: "Run a notebook in a sandbox of its own",
		Long: `Run a notebook's cells in order, in a sandbox of its own, and store what they showed.

The result is saved after every cell, and is a whole notebook at any time. Parameters are set in a cell of their own, after
the one tagged "parameters". Cells tagged "skip-execution" are not run, those tagged "raises-exception" may raise.

The code runs in the sandbox's workspace: --file copies in what it needs. Ctrl-C interrupts the cell under way and ends
the run; a second one kills the sandbox. Exit codes are those of ` + "`ds-sandbox run`.",
		Example: `  ds-sandbox notebook run in.ipynb -o out.ipynb -p alpha=0.1 -p 'names=["a", "b"]'
  ds-sandbox notebook run report.ipynb -o - --params monday.yaml --file data.csv > out.ipynb`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.in = args[0]
			return runNotebook(cmd.Context(), s, c, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.out, "out", "o", "", "the notebook to write, - for standard output; may be the one that is run (required)")
	flags.StringArrayVarP(&o.params, "param", "p", nil, "NAME=VALUE, a parameter; the value is JSON, or else text; repeatable")
	flags.StringVar(&o.paramsFile, "params", "", "a YAML or JSON file of parameters; --param goes before it")
	flags.StringVar(&o.timeout, "timeout", "", "how long each cell may run: seconds, or a form like 90s or 1h30m (default no limit)")
	flags.BoolVar(&o.allowErrors, "allow-errors", false, "go on after a cell that raised")
	o.session.flags(flags, c)
	flags.Lookup("kernel").Usage = "a kernel's name or language, see `ds-sandbox kernels` (default the notebook's)"
	return cmd
}

// runNotebook does what the subcommand says.
func runNotebook(ctx context.Context, s *streams, c *common, o *notebookOptions) error {
	if o.out == "" {
		return usagef("notebook run: give the notebook to write with --out")
	}
	timeout, err := parseTimeout(o.timeout)
	if err != nil {
		return err
	}
	if err := o.session.check(); err != nil {
		return err
	}
	nb, err := o.read(s)
	if err != nil {
		return err
	}
	save := func(nb *notebook.Notebook) error { return nb.WriteFile(o.out) }
	if o.out == "-" {
		save = func(*notebook.Notebook) error { return nil }
	}
	if err := save(nb); err != nil { // before anything is started for nothing
		return usagef("--out: %w", err)
	}
	p := newCellProgress(s.err, nb)
	err = o.execute(ctx, s, c, nb, &notebook.ExecuteOptions{
		Timeout: timeout, AllowErrors: o.allowErrors, Progress: true, OnCell: p.cell, Save: save,
	})
	p.end()
	if o.out == "-" {
		err = errors.Join(err, pipeError(nb.Write(s.out)))
	}
	return o.report(s, err, p)
}

// read reads the notebook and sets its parameters.
func (o *notebookOptions) read(s *streams) (*notebook.Notebook, error) {
	nb, err := readNotebook(s, o.in)
	if err != nil {
		return nil, err
	}
	if o.session.kernel == "" {
		o.session.kernel = nb.Kernel()
	}
	var parameters []notebook.Parameter
	if o.paramsFile != "" {
		data, err := os.ReadFile(o.paramsFile)
		if err != nil {
			return nil, usagef("--params: %w", err)
		}
		if parameters, err = notebook.ParseParameters(string(data)); err != nil {
			return nil, usagef("--params: %s: %w", o.paramsFile, err)
		}
	}
	for _, text := range o.params {
		p, err := notebook.ParseParameter(text)
		if err != nil {
			return nil, usagef("--param: %w", err)
		}
		parameters = slices.DeleteFunc(parameters, func(other notebook.Parameter) bool { return other.Name == p.Name })
		parameters = append(parameters, p)
	}
	warnOfParameters(s, nb, parameters)
	nb.SetPaths(o.in, o.out)
	if err := nb.SetParameters(parameters); err != nil {
		return nil, usagef("%w", err)
	}
	return nb, nil
}

// warnOfParameters says which parameters the notebook has no default for; they may be misspelt.
func warnOfParameters(s *streams, nb *notebook.Notebook, parameters []notebook.Parameter) {
	names, tagged := nb.Parameters()
	if !tagged && len(parameters) > 0 {
		fmt.Fprintln(s.err, `[ds-sandbox] no cell is tagged "parameters": they are set at the top`)
		return
	}
	for _, p := range parameters {
		if !slices.Contains(names, p.Name) {
			fmt.Fprintf(s.err, "[ds-sandbox] the notebook has no parameter %q; it has: %s\n", p.Name, strings.Join(names, ", "))
		}
	}
}

// execute runs the notebook in a sandbox that lives as long.
func (o *notebookOptions) execute(
	ctx context.Context, s *streams, c *common, nb *notebook.Notebook, opts *notebook.ExecuteOptions,
) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	k := new(killer)
	defer watchSignals(s.signals, func(sig os.Signal, n int) {
		cancel(&signalError{sig}) // the cell is interrupted
		if n > 1 || sig != os.Interrupt {
			k.kill()
		}
	})()
	defer func() { err = signalCause(ctx, err) }()
	session, err := o.session.start(ctx, s, c)
	if err != nil {
		if errors.Is(err, backends.ErrNotFound) && nb.Kernel() == o.session.kernel {
			err = fmt.Errorf("%w; --kernel runs the notebook on another kernel than its own", err)
		}
		return err
	}
	defer func() { err = errors.Join(err, session.close()) }()
	k.aim(session.sandbox)
	return notebook.Execute(ctx, nb, session.context, opts)
}

// report says how the run ended, and with what exit code.
func (o *notebookOptions) report(s *streams, err error, p *cellProgress) error {
	if err == nil {
		p.note("%d cells in %v, saved as %s", p.done, p.took(), filepath.Base(o.out))
		return nil
	}
	var cell *notebook.CellError
	var raised *sandbox.ExecutionError
	if !errors.As(err, &cell) || !errors.As(err, &raised) {
		return err
	}
	if code, ok := systemExit(raised); ok && code == 0 {
		p.note("the notebook ended itself after %d cells in %v, saved as %s", p.done, p.took(), filepath.Base(o.out))
		return nil
	}
	sink := newTextSink(s, nil, nil)
	if err := sink.raised(raised); err != nil {
		return err
	}
	p.note("%v", cell)
	return raisedExit(raised)
}
