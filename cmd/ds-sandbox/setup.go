package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ds-sandbox/ds-sandbox/agent"
	"github.com/ds-sandbox/ds-sandbox/backends/local/pyenv"
)

// setupOptions of the subcommand setup.
type setupOptions struct {
	managed, tests, quiet, asJSON bool
}

func newSetup(s *streams, c *common) *cobra.Command {
	o := new(setupOptions)
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Find the Python that sandboxes run on, or make one",
		Long: `Find the Python that sandboxes run on, or make one.

The first of these that has ipykernel is taken: --python; the active virtual environment; the managed environment; each
python3 on PATH; the system's. When there is none, the managed environment is made from a pinned list of packages,
through PyPI, or, where that is out of reach, as root on Debian, from Debian's packages. It lives in ds-sandbox in the
user's data folder, or where DS_SANDBOX_DATA_DIR says.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return setup(cmd.Context(), s, c, o) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.managed, "managed", false,
		"make or mend the managed environment even if another Python would do; --python is what it is made from")
	flags.BoolVar(&o.tests, "tests", false, "with what this project's tests need")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but the interpreter's path")
	flags.BoolVar(&o.asJSON, "json", false, "print a JSON object")
	_ = flags.MarkHidden("tests") // it exists
	return cmd
}

func setup(ctx context.Context, s *streams, c *common, o *setupOptions) error {
	ctx, stop := cancelOnSignal(ctx, s.signals)
	defer stop()
	p := newProgress(s.err)
	if o.quiet {
		p = newProgress(nil)
	}
	python, err := pyenv.Setup(ctx, pyenv.Options{Python: c.python, Managed: o.managed, Tests: o.tests, Progress: p.line})
	p.end()
	if err != nil {
		return signalCause(ctx, err)
	}
	switch {
	case o.asJSON:
		err = json.NewEncoder(s.out).Encode(newPythonJSON(python))
	case o.quiet:
		_, err = fmt.Fprintln(s.out, python.Executable)
	default:
		_, err = fmt.Fprint(s.out, readyText(python))
	}
	return pipeError(err)
}

// pythonJSON is an interpreter as a program reads it.
type pythonJSON struct {
	Executable string            `json:"executable"`
	Version    string            `json:"version"`
	Packages   map[string]string `json:"packages"`
	Missing    []string          `json:"missing"` // of the list that sandboxes should have
}

func newPythonJSON(p *agent.Python) pythonJSON {
	missing := pyenv.Missing(p)
	if missing == nil {
		missing = []string{}
	}
	return pythonJSON{p.Executable, p.Version, p.Packages, missing}
}

// readyText is the last word of a setup.
func readyText(p *agent.Python) string {
	text := fmt.Sprintf("ready: %s (Python %s, ipykernel %s)\n", p.Executable, p.Version, p.Packages["ipykernel"])
	if missing := pyenv.Missing(p); len(missing) > 0 {
		text += fmt.Sprintf("it has no %s; `ds-sandbox setup --managed` makes an environment that has all\n", strings.Join(missing, ", "))
	}
	return text
}
