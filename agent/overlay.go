package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A sandbox has a virtual environment of its own that shows the packages of the chosen Python and takes what pip
// installs. pip never changes packages outside the environment it runs in, so the chosen Python stays as it is,
// and a newer version installed in one sandbox hides the shared one there only. It is written as files, in well
// under a millisecond, where `python -m venv` takes seconds.

// overlay is such an environment.
type overlay struct {
	dir    string
	bin    string
	python string // its interpreter
	shared string // the interpreter it stands over
	site   string // where pip installs to
}

// pipScript runs pip with the interpreter beside it.
const pipScript = "#!/bin/sh\nexec \"${0%/*}/python\" -m pip \"$@\"\n"

// makeOverlay writes the environment to dir. One that is there, in an instance made from a snapshot, keeps what was installed.
func makeOverlay(dir string, python *Python) (*overlay, error) {
	minor := strings.Join(strings.SplitN(python.Version, ".", 3)[:2], ".")
	site := filepath.Join(dir, "lib", "python"+minor, "site-packages")
	o := &overlay{
		dir: dir, bin: filepath.Join(dir, "bin"), python: filepath.Join(dir, "bin", "python"), shared: python.Executable,
		site: site,
	}
	for _, d := range []string{site, o.bin} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("make environment: %w", err)
		}
	}
	// addsitedir rather than a plain path: it reads the .pth files of the shared packages too.
	var shared strings.Builder
	for _, d := range python.SiteDirs {
		quoted, err := json.Marshal(d) // a JSON string of a path is a Python string
		if err != nil {
			return nil, fmt.Errorf("make environment: %w", err)
		}
		fmt.Fprintf(&shared, "import site; site.addsitedir(%s)\n", quoted)
	}
	config := fmt.Sprintf("home = %s\ninclude-system-site-packages = false\nversion = %s\n",
		filepath.Dir(python.BaseExecutable), python.Version)
	for name, text := range map[string]string{
		filepath.Join(dir, "pyvenv.cfg"):           config,
		filepath.Join(site, "ds_sandbox_base.pth"): shared.String(),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("make environment: %w", err)
		}
	}
	// Every name that pip has: those of the shared environment come later on PATH, and would change it.
	for _, name := range []string{"pip", "pip3", "pip" + minor} {
		if err := os.WriteFile(filepath.Join(o.bin, name), []byte(pipScript), 0o700); err != nil {
			return nil, fmt.Errorf("make environment: %w", err)
		}
	}
	for _, name := range []string{"python", "python3", "python" + minor} {
		if err := link(python.BaseExecutable, filepath.Join(o.bin, name)); err != nil {
			return nil, fmt.Errorf("make environment: %w", err)
		}
	}
	return o, nil
}

// link makes a link, or makes one that is there lead to target.
func link(target, name string) error {
	if at, err := os.Readlink(name); err == nil && at == target {
		return nil
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(target, name)
}

// maxFontList bounds a font list, bytes; real ones have some 50 kB.
const maxFontList = 8 << 20

// copyFontCache gives a sandbox matplotlib's list of fonts, which takes seconds to make. A copy, never a link: code in
// the sandbox may write to it.
func copyFontCache(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	lists, err := filepath.Glob(filepath.Join(from, "fontlist-*.json"))
	if from == "" || err != nil {
		return err
	}
	for _, name := range lists {
		if err := copyFile(name, filepath.Join(to, filepath.Base(name))); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, maxFontList))
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}
