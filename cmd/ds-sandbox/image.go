package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ds-sandbox/ds-sandbox/backends/docker"
)

func newImage(s *streams, c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Make, list and check the images that sandboxes in containers are made from",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&c.agent, "agent", "",
		"the file of ds-sandbox-agent, or the folder of one for each architecture (default what is built in)")
	cmd.AddCommand(newImageBuild(s, c), newImageList(s, c), newImageCheck(s, c), newImageRemove(s, c))
	return cmd
}

// imageBuildOptions of the subcommand image build.
type imageBuildOptions struct {
	base, ca string
	args     []string
	noCache  bool
	asJSON   bool
}

func newImageBuild(s *streams, c *common) *cobra.Command {
	o := new(imageBuildOptions)
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Make the image " + docker.ImageName + " on the engine",
		Long: `Make the image ` + docker.ImageName + ` on the engine.

The build gets these variables where they are set: ` + strings.Join(docker.BuildVariables, ", ") + `.
APT_MIRROR is a host to take Debian's packages from instead of the one that the base names.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return imageBuild(cmd.Context(), s, c, o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.base, "base", "", "image to start from, like Debian (default debian:bookworm-slim)")
	flags.StringVar(&o.ca, "ca", "", "certificates to trust during the build (default those of PIP_CERT, REQUESTS_CA_BUNDLE or SSL_CERT_FILE)")
	flags.StringArrayVar(&o.args, "build-arg", nil, "NAME=VALUE for the build; repeatable")
	flags.BoolVar(&o.noCache, "no-cache", false, "make every layer anew")
	flags.BoolVar(&o.asJSON, "json", false, "print a JSON object")
	return cmd
}

func imageBuild(ctx context.Context, s *streams, c *common, o *imageBuildOptions) error {
	ctx, stop := cancelOnSignal(ctx, s.signals)
	defer stop()
	args := make(map[string]string)
	for _, item := range o.args {
		name, value, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return usagef("--build-arg: %q: use NAME=VALUE", item)
		}
		args[name] = value
	}
	p := newProgress(s.err)
	begun := time.Now()
	info, err := docker.Build(ctx, c.docker(), &docker.BuildOptions{Base: o.base, CA: o.ca, Args: args, NoCache: o.noCache, Progress: p.line})
	p.end()
	if err != nil {
		return signalCause(ctx, err)
	}
	if o.asJSON {
		return pipeError(json.NewEncoder(s.out).Encode(info))
	}
	_, err = fmt.Fprintf(s.out, "ready: %s (%d MB, in %.0f s)\n", strings.Join(info.Names, ", "), info.Size/1e6, time.Since(begun).Seconds())
	return pipeError(err)
}

func newImageList(s *streams, c *common) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the images of ours and the snapshots of sandboxes",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := cancelOnSignal(cmd.Context(), s.signals)
			defer stop()
			list, err := docker.Images(ctx, c.docker())
			if err != nil {
				return signalCause(ctx, err)
			}
			return pipeError(printImages(s.out, list, asJSON))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func printImages(w io.Writer, list []docker.ImageInfo, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(list)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "IMAGE\tKIND\tSIZE\tMADE\tNOTE")
	for _, image := range list {
		note := ""
		switch {
		case image.Kind == "snapshot":
			note = "of " + image.From
		case image.Current:
			note = "current"
		default:
			note = "of another version"
		}
		names := strings.Join(image.Names, ", ")
		if names == "" {
			names = image.ID
		}
		fmt.Fprintf(table, "%s\t%s\t%d MB\t%s\t%s\n", names, image.Kind, image.Size/1e6, image.Created.Format("2006-01-02 15:04"), note)
	}
	return table.Flush()
}

func newImageCheck(s *streams, c *common) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether sandboxes can be made in containers here, and try it",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := cancelOnSignal(cmd.Context(), s.signals)
			defer stop()
			return signalCause(ctx, imageCheck(ctx, s, c))
		},
	}
	cmd.Flags().StringVar(&c.image, "image", "", "the image to check (default "+docker.ImageName+")")
	return cmd
}

func imageCheck(ctx context.Context, s *streams, c *common) (err error) {
	reason, err := docker.Available(ctx, c.docker())
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(s.out, reason); err != nil {
		return pipeError(err)
	}
	c.backend = "docker"
	seen, err := tryEngine(ctx, s, c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\nkernel %s: ready in %.0f ms, 1 + 1 took %.1f ms\n",
		seen.How, seen.KernelInfo, seen.CreateSeconds*1000, seen.RunSeconds*1000)
	return pipeError(err)
}

func newImageRemove(s *streams, c *common) *cobra.Command {
	return &cobra.Command{
		Use:   "rm IMAGE...",
		Short: "Remove snapshots, or images of ours",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("image rm: name the images, see `ds-sandbox image list`")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := cancelOnSignal(cmd.Context(), s.signals)
			defer stop()
			var errs []error
			for _, name := range args {
				errs = append(errs, docker.RemoveImage(ctx, c.docker(), name))
			}
			return signalCause(ctx, errors.Join(errs...))
		},
	}
}
