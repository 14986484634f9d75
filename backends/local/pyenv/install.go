package pyenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/agent"
)

// oldest is the oldest Python 3 the pinned packages support.
const oldest = 11

// debianPackages are what Debian has of the list.
var debianPackages = []string{
	"python3-ipykernel", "python3-numpy", "python3-pandas", "python3-matplotlib", "python3-sklearn", "python3-pil",
}

// debianPython is the interpreter Debian's packages are for.
const debianPython = "/usr/bin/python3"

// baseNames are the interpreters an environment is made from, in this order.
var baseNames = []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", debianPython}

// canInstall reports whether Debian's packages may be installed. A variable for tests, which install none.
var canInstall = func() bool {
	_, err := os.Stat("/etc/debian_version")
	return err == nil && os.Geteuid() == 0
}

// install brings the packages into the environment.
func (m *maker) install(ctx context.Context) error {
	list := filepath.Join(managedDir(m.data), "requirements.txt")
	if err := os.WriteFile(list, []byte(m.wanted()), 0o644); err != nil {
		return err
	}
	m.opts.Progress("installing " + strings.Join(packageNames(m.wanted()), ", "))
	python := managedPython(m.data)
	// Wheels only: building scipy from source takes an hour and ends in a riddle.
	err := m.run(ctx, python, "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
		"--only-binary", ":all:", "--retries", "2", "--timeout", "15", "-r", list)
	if err != nil {
		return fmt.Errorf("install packages: %w", err)
	}
	// Installed is not importable: a wheel may want a library or a processor that is not there.
	if err := m.run(ctx, python, "-I", "-c", "import ipykernel, matplotlib, numpy, pandas, PIL, sklearn"); err != nil {
		return fmt.Errorf("try the packages: %w", err)
	}
	return nil
}

// venv makes an empty environment, unless one that starts is there.
func (m *maker) venv(ctx context.Context) error {
	dir := managedDir(m.data)
	if p, err := agent.Probe(ctx, managedPython(m.data)); err == nil && p.Packages["pip"] != "" && atLeast(p.Version, oldest) {
		return nil
	}
	base, err := m.basePython(ctx)
	if err != nil {
		return err
	}
	m.opts.Progress("making an environment in " + dir + " with " + base)
	if err := m.run(ctx, base, "-I", "-m", "venv", "--clear", dir); err == nil || ctx.Err() != nil {
		return err
	} else if !canInstall() {
		return errors.Join(fmt.Errorf("make environment: %w; %s needs its modules venv and ensurepip (on Debian: package python3-venv)",
			err, base), os.RemoveAll(dir))
	}
	m.opts.Progress("installing Debian's python3-venv")
	if err := m.apt(ctx, "python3-venv"); err != nil {
		return err
	}
	if err := m.run(ctx, base, "-I", "-m", "venv", "--clear", dir); err != nil {
		return errors.Join(fmt.Errorf("make environment: %w", err), os.RemoveAll(dir))
	}
	return nil
}

// basePython is a Python that is new enough: the one asked for, or the first on PATH, or one with a version in its name.
func (m *maker) basePython(ctx context.Context) (string, error) {
	names := baseNames
	if m.opts.Python != "" {
		names = []string{named(m.opts.Python)}
	}
	found, tried := newEnough(ctx, names)
	if found == "" && m.opts.Python == "" && canInstall() {
		m.opts.Progress("installing Debian's python3")
		if err := m.apt(ctx, "python3", "python3-venv"); err != nil {
			return "", err
		}
		found, tried = newEnough(ctx, names)
	}
	if found == "" {
		return "", fmt.Errorf("no Python 3.%d or later found (tried %s): install one", oldest, strings.Join(tried, ", "))
	}
	return found, nil
}

// newEnough is the first of names that will do, or else what is wrong with each.
func newEnough(ctx context.Context, names []string) (found string, tried []string) {
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			tried = append(tried, name+": not found")
			continue
		}
		p, err := probe(ctx, path)
		if err != nil {
			tried = append(tried, err.Error())
			continue
		}
		if atLeast(p.Version, oldest) {
			return p.Executable, nil
		}
		tried = append(tried, path+": is "+p.Version)
	}
	return "", tried
}

// apt installs Debian packages.
func (m *maker) apt(ctx context.Context, packages ...string) error {
	if err := m.run(ctx, "apt-get", "-o", "Acquire::Retries=2", "update", "-qq"); err != nil {
		m.opts.Progress("note: apt-get update: " + err.Error()) // what is known already may do
	}
	args := append([]string{"-o", "Acquire::Retries=2", "install", "-y", "-qq", "--no-install-recommends"}, packages...)
	if err := m.run(ctx, "apt-get", args...); err != nil {
		return fmt.Errorf("apt-get install: %w", err)
	}
	return nil
}
