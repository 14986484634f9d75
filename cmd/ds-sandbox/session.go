package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// sessionOptions say what sandbox a command wants.
type sessionOptions struct {
	env       []string
	files     []string
	follow    bool // links out of the folders
	skip      bool // what can't be copied
	cwd       string
	kernel    string
	lazy      bool // no kernel is needed
	isolation string
	workspace string
	roots     []string
	limits    limitOptions
	network   networkOptions

	environment map[string]string // env, checked
	uploads     []upload          // files, checked
}

// upload is a file or folder of ours and its place in the workspace.
type upload struct{ from, to string }

func (o *sessionOptions) flags(flags *pflag.FlagSet, c *common) {
	o.placeFlags(flags, c)
	flags.StringVarP(&o.kernel, "kernel", "k", "", "a kernel's name or language, see `ds-sandbox kernels` (default python)")
}

// placeFlags are those of a sandbox without a kernel.
func (o *sessionOptions) placeFlags(flags *pflag.FlagSet, c *common) {
	c.containerFlags(flags)
	o.network.flags(flags, &c.network)
	flags.StringArrayVarP(&o.env, "env", "e", nil, "NAME=VALUE for the code's environment, or NAME to pass ours on; repeatable")
	flags.StringArrayVarP(&o.files, "file", "f", nil, "copy this file or folder into the workspace, PATH or PATH=NAME; repeatable")
	flags.BoolVar(&o.follow, "follow", false, "--file also follows links that lead out of the folder (those inside it always are)")
	flags.BoolVar(&o.skip, "skip-unreadable", false, "name what --file can't copy, and go on without it")
	flags.StringVar(&o.cwd, "cwd", "", "working directory, a folder of the workspace; made when absent")
	flags.StringVar(&o.workspace, "workspace", "", "work in this folder of yours rather than in a new one; it stays")
	flags.StringArrayVar(&o.roots, "allow-root", nil, "a folder into which links in the workspace may lead; repeatable")
	o.limits.flags(flags)
	flags.StringVar(&o.isolation, "isolation", "",
		"what keeps the code from this machine: container, files or none (default the strongest that can be had)")
}

// check reads the options, before anything is started.
func (o *sessionOptions) check() error {
	if err := o.limits.check(); err != nil {
		return err
	}
	if err := o.network.check(); err != nil {
		return err
	}
	switch backends.Isolation(o.isolation) {
	case "", backends.IsolationNone, backends.IsolationFiles, backends.IsolationContainer:
	default:
		return usagef("--isolation: %q: use container, files or none", o.isolation)
	}
	if o.workspace != "" {
		if err := wholeFolder("--workspace", &o.workspace); err != nil {
			return err
		}
	}
	for i := range o.roots {
		if err := wholeFolder("--allow-root", &o.roots[i]); err != nil {
			return err
		}
	}
	o.environment = make(map[string]string)
	for _, item := range o.env {
		name, value, given := strings.Cut(item, "=")
		if name == "" {
			return usagef("--env: %q: use NAME=VALUE or NAME", item)
		}
		if !given {
			var ok bool
			if value, ok = os.LookupEnv(name); !ok {
				return usagef("--env: %s is not set here", name)
			}
		}
		o.environment[name] = value
	}
	for _, item := range o.files {
		from, to, given := strings.Cut(item, "=")
		if _, err := os.Stat(item); err == nil { // a name with "=" in it
			from, given = item, false
		}
		if !given {
			to = filepath.Base(filepath.Clean(from))
		}
		if _, err := os.Stat(from); err != nil {
			return usagef("--file: %w", err)
		}
		o.uploads = append(o.uploads, upload{from, to})
	}
	return nil
}

// wholeFolder makes the path of a folder absolute.
func wholeFolder(flag string, dir *string) error {
	info, err := os.Stat(*dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s: %w", *dir, backends.ErrNotDir)
	}
	if err == nil {
		*dir, err = filepath.Abs(*dir)
	}
	if err != nil {
		return usagef("%s: %w", flag, err)
	}
	return nil
}

// session is an engine with one sandbox and the context that code runs in.
type session struct {
	engine   *sandbox.Engine
	closeAll func() error
	sandbox  *sandbox.Sandbox
	context  *sandbox.Context
}

// start makes a sandbox with files and a context. The caller closes it.
func (o *sessionOptions) start(ctx context.Context, s *streams, c *common) (_ *session, err error) {
	ses := new(session)
	isolation := backends.Isolation(o.isolation)
	local := o.workspace != "" || len(o.roots) > 0 || isolation == backends.IsolationFiles || isolation == backends.IsolationNone
	if local && c.auto() {
		c.backend = "local" // which alone has them
	}
	ses.engine, ses.closeAll, err = c.open(ctx, s.err)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ses.close())
		}
	}()
	ses.sandbox, err = ses.engine.Create(ctx, &sandbox.Options{
		Language: o.kernel, Env: o.environment, TimeToLive: sandbox.NoTimeout, Lazy: o.lazy, Isolation: backends.Isolation(o.isolation),
		WorkspacePath: o.workspace, AllowedRoots: o.roots,
		Limits: o.limits.limits, Container: backends.Container{Network: o.network.network},
	})
	if err != nil {
		return nil, err
	}
	for _, u := range o.uploads {
		if err := o.copy(ctx, s, ses.sandbox.Files(), u); err != nil {
			return nil, err
		}
	}
	ses.context = ses.sandbox.DefaultContext()
	if o.cwd != "" && !o.lazy {
		// A second interpreter, because the directory of the first was settled before there were files.
		ses.context, err = ses.sandbox.CreateContext(ctx, &sandbox.ContextOptions{Language: o.kernel, Dir: o.cwd})
		if err != nil {
			return nil, err
		}
	}
	return ses, nil
}

// close kills the sandbox and ends the engine.
func (ses *session) close() error { return ses.closeAll() }
