package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// maxSpecFile bounds a kernel.json, bytes.
const maxSpecFile = 1 << 20

// nativeKernel is the name of the spec that every Python with ipykernel has, even without a kernel.json.
const nativeKernel = "python3"

var specName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// KernelSpecs lists the kernels of this machine, by name. Of several with one name the first found counts, see
// specFolders.
func (a *Agent) KernelSpecs() []messaging.KernelSpec {
	specs, _, _ := a.findSpecs()
	return specs
}

// SkippedSpecs lists the kernelspecs that can't be read.
func (a *Agent) SkippedSpecs() []backends.SkippedSpec {
	_, _, skipped := a.findSpecs()
	return skipped
}

// FindSpec finds a kernel by name, whatever its case. "python" is python3. Error: *backends.SpecNotFoundError.
func (a *Agent) FindSpec(name string) (*messaging.KernelSpec, error) {
	want := strings.ToLower(name)
	if want == "" || want == "python" {
		want = nativeKernel
	}
	specs, searched, skipped := a.findSpecs()
	var found []string
	for _, spec := range specs {
		if spec.Name == want {
			return &spec, nil
		}
		found = append(found, spec.Name)
	}
	return nil, &backends.SpecNotFoundError{Name: name, Found: found, Searched: searched, Skipped: skipped}
}

// findSpecs reads all kernelspecs and tells which folders were searched, and what was found there that can't be read.
func (a *Agent) findSpecs() (specs []messaging.KernelSpec, searched []string, skipped []backends.SkippedSpec) {
	known := make(map[string]bool)
	for _, folder := range a.specFolders() {
		searched = append(searched, folder)
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue // most of them do not exist
		}
		for _, entry := range entries {
			name := strings.ToLower(entry.Name())
			if known[name] || !specName.MatchString(name) {
				continue
			}
			spec, err := readSpec(filepath.Join(folder, entry.Name()))
			if err != nil {
				if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
					skipped = append(skipped, backends.SkippedSpec{Path: filepath.Join(folder, entry.Name(), "kernel.json"), Reason: reason(err)})
					a.config.Logger.Warn("skip kernelspec", "folder", filepath.Join(folder, entry.Name()), "error", err)
				}
				continue
			}
			spec.Name = name
			known[name] = true
			specs = append(specs, *spec)
		}
	}
	if !known[nativeKernel] && a.config.Python.HasKernel() {
		specs = append(specs, messaging.KernelSpec{
			Name: nativeKernel, DisplayName: "Python 3 (ipykernel)", Language: "python", InterruptMode: "signal",
			Argv: []string{a.config.Python.Executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"},
		})
	}
	slices.SortFunc(specs, func(x, y messaging.KernelSpec) int { return strings.Compare(x.Name, y.Name) })
	return specs, searched, skipped
}

// reason is an error without the path that it is said of.
func reason(err error) string {
	var ofPath *fs.PathError
	if errors.As(err, &ofPath) {
		err = ofPath.Err
	}
	return strings.TrimPrefix(err.Error(), "messaging: ")
}

func readSpec(folder string) (*messaging.KernelSpec, error) {
	path := filepath.Join(folder, "kernel.json")
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSpecFile {
		return nil, backends.ErrNotRegular
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	spec, err := messaging.ParseKernelSpec(data)
	if err != nil {
		return nil, err
	}
	spec.ResourceDir = folder
	return spec, nil
}

// specFolders lists where kernelspecs are looked for, first hit wins, in the order of jupyter_core: JUPYTER_PATH, then the
// user's folders and the environment's (the environment's first when it is virtual or JUPYTER_PREFER_ENV_PATH says so),
// then the system's, then IPython's.
func (a *Agent) specFolders() []string {
	var folders []string
	add := func(parts ...string) {
		if parts[0] != "" {
			if f := filepath.Join(append(parts, "kernels")...); !slices.Contains(folders, f) {
				folders = append(folders, f)
			}
		}
	}
	for _, p := range filepath.SplitList(os.Getenv("JUPYTER_PATH")) {
		add(p)
	}
	python := a.config.Python
	user := func() {
		add(userDataDir())
		add(python.UserBase, "share", "jupyter")
	}
	env := func() { add(python.Prefix, "share", "jupyter") }
	if preferEnv(python) {
		env()
		user()
	} else {
		user()
		env()
	}
	add("/usr/local/share/jupyter")
	add("/usr/share/jupyter")
	if dir := os.Getenv("IPYTHONDIR"); dir != "" {
		add(dir)
	} else if home, err := os.UserHomeDir(); err == nil {
		add(home, ".ipython")
	}
	return folders
}

// preferEnv reports whether the kernels of the Python's environment come before the user's: as
// JUPYTER_PREFER_ENV_PATH says, else if it is virtual, or one of conda's but its base, and the user's own.
func preferEnv(python *Python) bool {
	switch strings.ToLower(os.Getenv("JUPYTER_PREFER_ENV_PATH")) {
	case "":
	case "0", "0.0", "no", "n", "off", "false":
		return false
	default:
		return true
	}
	virtual := python.Prefix != python.BasePrefix
	if conda := os.Getenv("CONDA_PREFIX"); conda != "" && strings.HasPrefix(python.Prefix, conda) {
		name := os.Getenv("CONDA_DEFAULT_ENV")
		virtual = virtual || name != "" && name != "base"
	}
	if !virtual {
		return false
	}
	info, err := os.Stat(python.Prefix)
	if err != nil {
		return false
	}
	owner := ownerOf(info)
	return owner == os.Geteuid() || owner == os.Getuid()
}

// userDataDir is Jupyter's data folder of the user.
func userDataDir() string {
	if dir := os.Getenv("JUPYTER_DATA_DIR"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Jupyter")
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "jupyter")
	}
	return filepath.Join(home, ".local", "share", "jupyter")
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
