package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ds-sandbox/ds-sandbox/notebook"
)

func newNotebook(s *streams, c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notebook",
		Short: "Run notebooks, convert them from and to scripts, and make pages of them",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newNotebookRun(s, c), newNotebookNew(s), newNotebookToScript(s), newNotebookToHTML(s))
	return cmd
}

// oneFile is what a command that takes one file accepts.
func oneFile(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return usagef("%s: give a file, or - for standard input", cmd.CommandPath())
	case 1:
		return nil
	}
	return usagef("%s takes one file; unexpected %q", cmd.CommandPath(), args[1])
}

func newNotebookNew(s *streams) *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use:   "new [flags] SCRIPT | -",
		Short: "Make a notebook of a script",
		Long: `Make a notebook of a script whose cells begin with lines like

  # %%
  # %% [markdown]
  # %% Optional title tags=["parameters"]

A script without such lines becomes a notebook of one cell.`,
		Args: oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			nb, err := readScript(s, args[0])
			if err != nil {
				return err
			}
			return convert(s, args[0], out, ".ipynb", nb.Write)
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "",
		"the notebook to write, - for standard output (default the script's name with .ipynb, if there is none)")
	return cmd
}

func newNotebookToScript(s *streams) *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use:   "to-script [flags] NOTEBOOK | -",
		Short: "Make a script of a notebook",
		Long: `Make a script of a notebook, with "# %%" between its cells. Text becomes comments, and so do magics; "notebook new" makes
the same cells of it again. Outputs stay behind.`,
		Args: oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			nb, err := readNotebook(s, args[0])
			if err != nil {
				return err
			}
			text, err := nb.Script()
			if err != nil {
				return err
			}
			return convert(s, args[0], out, ".py", func(w io.Writer) error {
				_, err := io.WriteString(w, text)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "",
		"the script to write, - for standard output (default the notebook's name with .py, if there is none)")
	return cmd
}

func readScript(s *streams, name string) (*notebook.Notebook, error) {
	text, err := readCode(s, &runOptions{argument: name})
	if err != nil {
		return nil, err
	}
	nb, err := notebook.FromScript(text)
	if err != nil {
		return nil, usagef("%s: %w", name, err)
	}
	return nb, nil
}

// largeNotebook is from how many bytes on memory is worth more than time.
const largeNotebook = 64 << 20

// readNotebook reads a notebook and says what had to be mended.
func readNotebook(s *streams, name string) (*notebook.Notebook, error) {
	var nb *notebook.Notebook
	var err error
	if name == "-" {
		nb, err = notebook.Read(s.in)
	} else {
		if info, err := os.Stat(name); err == nil && info.Size() > largeNotebook {
			debug.SetGCPercent(30)
		}
		nb, err = notebook.ReadFile(name)
	}
	if err != nil {
		return nil, usagef("%w", err)
	}
	for _, repair := range nb.Repairs {
		fmt.Fprintf(s.err, "[ds-sandbox] %s: %s\n", filepath.Base(name), repair)
	}
	return nb, nil
}

// convert writes a file made from another. Without a name for it, it stands beside the other and must be new.
func convert(s *streams, from, to, ext string, write func(io.Writer) error) error {
	if to == "-" || to == "" && from == "-" {
		return pipeError(write(s.out))
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if to == "" {
		to = strings.TrimSuffix(from, filepath.Ext(from)) + ext
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(to, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usagef("%s exists: give another name with --out, or the same to replace it", to)
	}
	if err != nil {
		return usagef("%w", err)
	}
	return errors.Join(write(f), f.Close())
}
