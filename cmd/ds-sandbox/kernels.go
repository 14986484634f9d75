package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

func newKernels(s *streams, c *common) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "kernels",
		Short: "List the kernels that code can run in",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return listKernels(cmd.Context(), s, c, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// kernelJSON is a kernel as a program reads it.
type kernelJSON struct {
	Name        string   `json:"name"`
	Language    string   `json:"language"`
	DisplayName string   `json:"display_name"`
	Folder      string   `json:"folder,omitempty"` // of its kernel.json; none for a kernel that needs none
	Argv        []string `json:"argv"`
}

func listKernels(ctx context.Context, s *streams, c *common, asJSON bool) (err error) {
	ctx, stop := cancelOnSignal(ctx, s.signals)
	defer stop()
	engine, closeAll, err := c.open(ctx, s.err)
	if err != nil {
		return signalCause(ctx, err)
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	specs, err := engine.KernelSpecs(ctx)
	if err != nil {
		return signalCause(ctx, err)
	}
	skipped, err := engine.SkippedKernelSpecs(ctx)
	if err != nil {
		return signalCause(ctx, err)
	}
	for _, spec := range skipped {
		fmt.Fprintln(s.err, spec)
	}
	return pipeError(printKernels(s.out, specs, asJSON))
}

func printKernels(w io.Writer, specs []messaging.KernelSpec, asJSON bool) error {
	if asJSON {
		list := make([]kernelJSON, 0, len(specs))
		for _, spec := range specs {
			list = append(list, kernelJSON{spec.Name, spec.Language, spec.DisplayName, spec.ResourceDir, spec.Argv})
		}
		return json.NewEncoder(w).Encode(list)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tLANGUAGE\tDESCRIPTION\tFOLDER")
	for _, spec := range specs {
		fmt.Fprintln(table, strings.Join([]string{spec.Name, spec.Language, spec.DisplayName, spec.ResourceDir}, "\t"))
	}
	return table.Flush()
}
