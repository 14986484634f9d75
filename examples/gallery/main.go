// Command gallery draws one chart of every kind with every plotting library that the sandbox has, and writes gallery.html: a
// page that stands alone, with the pictures, what is interactive, and each chart in words. It also saves the notebook. Both are in the
// folder that it is given, or else in out.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/notebook"
	"github.com/ds-sandbox/ds-sandbox/report"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

//go:embed gallery.py
var script string

func main() {
	dir := "out"
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	if err := run(context.Background(), dir); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dir string) error {
	nb, err := notebook.FromScript(script)
	if err != nil {
		return err
	}
	sbx, err := sandbox.Create(ctx, nil)
	if err != nil {
		return err
	}
	defer sbx.Kill(ctx) //nolint:errcheck // the program ends here
	missing, err := missingLibraries(ctx, sbx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		fmt.Println("not installed:", missing)
	}
	nb.Cells = slices.DeleteFunc(nb.Cells, func(c *notebook.Cell) bool { return slices.ContainsFunc(missing, c.HasTag) })

	start := time.Now()
	if err := notebook.Execute(ctx, nb, sbx.DefaultContext(), nil); err != nil {
		return err
	}
	fmt.Printf("%d cells in %.1f s\n", len(nb.Cells), time.Since(start).Seconds())
	for _, c := range nb.Cells {
		for _, o := range c.Outputs {
			if o.Caption != "" {
				fmt.Printf("%s: %s\n", strings.Join(c.Tags(), " "), o.Caption)
			}
		}
	}
	if err := nb.WriteFile(filepath.Join(dir, "gallery.ipynb")); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, "gallery.html"))
	if err != nil {
		return err
	}
	err = report.Write(file, nb, &report.Options{Title: "A gallery of charts", Time: start})
	return errors.Join(err, file.Close())
}

// missingLibraries lists the libraries of the gallery that the sandbox's Python does not have.
func missingLibraries(ctx context.Context, sbx *sandbox.Sandbox) ([]string, error) {
	const code = `
from importlib.metadata import distributions
installed = {d.name.lower() for d in distributions()}
print(*({"matplotlib", "pandas", "seaborn", "plotly", "altair", "bokeh"} - installed))`
	out, err := sbx.RunCode(ctx, code, nil)
	if err == nil {
		err = out.Err()
	}
	if err != nil {
		return nil, err
	}
	return strings.Fields(out.Stdout()), nil
}
