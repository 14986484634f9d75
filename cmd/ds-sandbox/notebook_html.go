package main

import (
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ds-sandbox/ds-sandbox/report"
)

func newNotebookToHTML(s *streams) *cobra.Command {
	out, title := "", ""
	cmd := &cobra.Command{
		Use:   "to-html [flags] NOTEBOOK | -",
		Short: "Make a web page of a notebook",
		Long: `Make a web page of a notebook as it stands: one file that needs no other and no network, light or dark as the reader's
system is. What the notebook's code produced can't reach the page: its HTML and scripts have frames of their own.`,
		Args: oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			nb, err := readNotebook(s, args[0])
			if err != nil {
				return err
			}
			if title == "" && args[0] != "-" {
				title = filepath.Base(args[0])
			}
			return convert(s, args[0], out, ".html", func(w io.Writer) error {
				return report.Write(w, nb, &report.Options{Title: title})
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "",
		"the page to write, - for standard output (default the notebook's name with .html, if there is none)")
	cmd.Flags().StringVar(&title, "title", "", "of the page (default the notebook's name)")
	return cmd
}
