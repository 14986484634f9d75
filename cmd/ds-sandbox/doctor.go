package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ds-sandbox/ds-sandbox/backends/local/pyenv"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

func newDoctor(s *streams, c *common) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what was found on this machine, and try it by starting a kernel",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := cancelOnSignal(cmd.Context(), s.signals)
			defer stop()
			return signalCause(ctx, doctor(ctx, s, c, asJSON))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// diagnosis is what the doctor found.
type diagnosis struct {
	Version string       `json:"version"`
	System  string       `json:"system"`
	Pythons []pythonSeen `json:"pythons"` // in the order of their choice
	Python  *pythonJSON  `json:"python"`  // the one that is used
	Engine  *engineSeen  `json:"engine"`
	Problem string       `json:"problem,omitempty"`
	problem error
}

// pythonSeen is a candidate.
type pythonSeen struct {
	Path    string `json:"path"`
	Source  string `json:"source"`
	Version string `json:"version,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// engineSeen is what a trial found.
type engineSeen struct {
	Backend       string   `json:"backend"`
	Reason        string   `json:"reason"`
	Isolation     string   `json:"isolation"`        // what sandboxes get
	How           string   `json:"isolation_detail"` // how that is enforced, or why it is not stronger
	WorkspaceBase string   `json:"workspace_base"`
	Kernels       []string `json:"kernels"`
	KernelInfo    string   `json:"kernel_info"`
	CreateSeconds float64  `json:"create_seconds"` // until a sandbox with a kernel is ready
	RunSeconds    float64  `json:"run_seconds"`    // of 1+1

	// NotPreloaded are modules that a fork server of this Python would lack.
	NotPreloaded []string          `json:"not_preloaded,omitempty"`
	Settings     []sandbox.Setting `json:"settings"`
}

// doctor prints a report; a problem is the error.
func doctor(ctx context.Context, s *streams, c *common, asJSON bool) error {
	r := examine(ctx, s, c)
	if r.problem != nil {
		r.Problem = r.problem.Error()
	}
	if asJSON {
		encoder := json.NewEncoder(s.out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			return pipeError(err)
		}
	} else if _, err := io.WriteString(s.out, r.text()); err != nil {
		return pipeError(err)
	}
	return r.problem
}

func examine(ctx context.Context, s *streams, c *common) *diagnosis {
	r := &diagnosis{
		Version: currentVersion(),
		System:  fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
		Pythons: []pythonSeen{},
	}
	for _, a := range pyenv.Survey(ctx, pyenv.Options{Python: c.python}) {
		seen := pythonSeen{Path: a.Path, Source: a.Source}
		if a.Err != nil {
			seen.Problem = a.Err.Error()
		} else {
			seen.Version = a.Python.Version
			if r.Python == nil {
				p := newPythonJSON(a.Python)
				r.Python = &p
			}
		}
		r.Pythons = append(r.Pythons, seen)
	}
	r.Engine, r.problem = tryEngine(ctx, s, c)
	return r
}

// tryEngine starts a kernel and runs code in it.
func tryEngine(ctx context.Context, s *streams, c *common) (seen *engineSeen, err error) {
	engine, closeAll, err := c.open(ctx, s.err)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	choice := engine.Choice()
	seen = &engineSeen{
		Backend: choice.Backend, Reason: choice.Reason,
		Isolation: string(choice.Isolation), How: choice.IsolationDetail, WorkspaceBase: engine.Config().WorkspaceBaseDir, Kernels: []string{},
		Settings: settingsOfCommand(engine.Settings(), c),
	}
	specs, err := engine.KernelSpecs(ctx)
	if err != nil {
		return seen, err
	}
	for _, spec := range specs {
		seen.Kernels = append(seen.Kernels, spec.Name)
	}
	start := time.Now()
	sbx, err := engine.Create(ctx, nil)
	if err != nil {
		return seen, err
	}
	seen.CreateSeconds = time.Since(start).Seconds()
	info := sbx.DefaultContext().Info()
	seen.KernelInfo = fmt.Sprintf("%s %s, protocol %s", info.Implementation, info.ImplementationVersion, info.ProtocolVersion)
	start = time.Now()
	execution, err := sbx.RunCode(ctx, "1 + 1", &sandbox.RunOptions{Timeout: 30 * time.Second})
	seen.RunSeconds = time.Since(start).Seconds()
	switch {
	case err != nil:
		return seen, err
	case execution.Error != nil:
		return seen, fmt.Errorf("the kernel can't compute 1 + 1: %w", execution.Error)
	case execution.Text() != "2":
		return seen, fmt.Errorf("the kernel says that 1 + 1 is %q", execution.Text())
	}
	seen.NotPreloaded, err = notPreloaded(ctx, sbx, engine.Config().Preload)
	return seen, err
}

// missingCode prints which modules of a list there are none of.
const missingCode = `import importlib.util, json
def _found(name):
    try:
        return importlib.util.find_spec(name)
    except ImportError:
        return None
print(json.dumps([name for name in %s if not _found(name)]))`

// notPreloaded looks which modules a fork server would look for in vain. One takes seconds to come up, and doctor needs none.
func notPreloaded(ctx context.Context, sbx *sandbox.Sandbox, preload string) ([]string, error) {
	if preload == "none" {
		return nil, nil
	}
	var names []string
	for name := range strings.SplitSeq(preload, ",") {
		names = append(names, strings.TrimSpace(name))
	}
	list, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	execution, err := sbx.RunCode(ctx, fmt.Sprintf(missingCode, list), &sandbox.RunOptions{Timeout: 30 * time.Second})
	if err == nil {
		err = execution.Err()
	}
	var missing []string
	if err == nil {
		err = json.Unmarshal([]byte(execution.Stdout()), &missing)
	}
	if err != nil {
		return nil, fmt.Errorf("look for the modules to preload: %w", err)
	}
	return missing, nil
}

// settingsOfCommand names flags and this command where the library has only the Config that they made.
func settingsOfCommand(settings []sandbox.Setting, c *common) []sandbox.Setting {
	flags := map[string]struct{ value, source string }{
		"Python": {c.python, "--python"}, "DefaultBackend": {c.backend, "--backend"}, "WorkspaceBaseDir": {c.workspaceBase, "--workspace-base"},
	}
	for i, s := range settings {
		if s.Source != "config" {
			continue
		}
		settings[i].Source = "of the command line, not of the library"
		if flag := flags[s.Name]; flag.value != "" {
			settings[i].Source = flag.source
		}
	}
	return settings
}

// text is the report for a person.
func (r *diagnosis) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ds-sandbox %s on %s\n\nPython, the first that will do is used:\n", r.Version, r.System)
	used := false
	for _, p := range r.Pythons {
		mark, what := "  ", "Python "+p.Version
		if p.Problem != "" {
			mark, what = "- ", p.Problem
		} else if !used {
			mark, used = "* ", true
		}
		fmt.Fprintf(&b, "  %s%s (%s): %s\n", mark, p.Path, p.Source, what)
	}
	if len(r.Pythons) == 0 {
		b.WriteString("  none found\n")
	}
	if r.Python != nil {
		b.WriteString("\nPackages:\n")
		for _, name := range slices.Sorted(maps.Keys(r.Python.Packages)) {
			fmt.Fprintf(&b, "  %s %s\n", name, r.Python.Packages[name])
		}
		if len(r.Python.Missing) > 0 {
			fmt.Fprintf(&b, "  missing: %s; `ds-sandbox setup --managed` makes an environment that has all\n", strings.Join(r.Python.Missing, ", "))
		}
	}
	if e := r.Engine; e != nil {
		fmt.Fprintf(&b, "\nEngine:\n  backend %s (%s)\n  isolation %s (%s)\n  workspaces in %s\n  kernels: %s\n",
			e.Backend, e.Reason, e.Isolation, e.How, e.WorkspaceBase, strings.Join(e.Kernels, ", "))
		if e.KernelInfo != "" {
			fmt.Fprintf(&b, "  kernel %s: ready in %.0f ms, 1 + 1 took %.1f ms\n", e.KernelInfo, e.CreateSeconds*1000, e.RunSeconds*1000)
		}
	}
	if e := r.Engine; e != nil && len(e.NotPreloaded) > 0 {
		fmt.Fprintf(&b, "  not preloaded for lack of them: %s\n", strings.Join(e.NotPreloaded, ", "))
	}
	if r.Engine != nil {
		b.WriteString("\nSettings:\n")
		for _, setting := range r.Engine.Settings {
			fmt.Fprintf(&b, "  %-17s %s (%s)\n", setting.Name, cmp.Or(setting.Value, "-"), setting.Source)
		}
	}
	if r.problem == nil {
		b.WriteString("\nall is well\n")
	}
	return b.String()
}
