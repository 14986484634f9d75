package agent

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// confinement is what a process may touch, as dskernel/confine.py enforces it: nothing that is not listed.
type confinement struct {
	Read    []string `json:"read"`    // files and folders to read and to execute
	Write   []string `json:"write"`   // folders to use in every way
	Devices []string `json:"devices"` // to read, write and control
	Shared  []string `json:"shared"`  // folders to have files of one's own in, without a list of them
}

// systemFolders hold programs, their data and settings, and what the system tells about itself. Of those that change all
// the time (/run, /var) only what programs need: the rest is other people's mail, sockets and databases.
var systemFolders = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/proc", "/sys",
	"/nix", "/gnu", "/snap", "/home/linuxbrew/.linuxbrew",
	"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/opengl-driver",
	"/var/cache/fontconfig", "/var/lib/alternatives", "/var/lib/ca-certificates", "/var/lib/dpkg", "/var/lib/texmf",
}

// movingLinks are links to almost anywhere, and now here, now there.
var movingLinks = []string{"/etc/resolv.conf", "/run/current-system"}

// harmlessDevices hold nothing of anybody's, but for terminals; processors of graphics are for computing.
var harmlessDevices = []string{
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts",
	"/dev/nvidia*", "/dev/dri", "/dev/kfd", "/dev/dxg",
}

// sharedMemory is where the C library keeps shared memory and the semaphores of multiprocessing.
const sharedMemory = "/dev/shm"

// bounds are what the processes of one instance may touch. They only ever grow. A nil one is no bounds.
type bounds struct {
	hidden []string // never readable as a part of something else

	mu    sync.Mutex
	rules *confinement // replaced, never changed
}

// newBounds allows a place's own folders, the roots besides, the system's, and those of the chosen Python.
func (a *Agent) newBounds(place Place, roots ...string) *bounds {
	b := &bounds{hidden: hiddenFolders(place, a.config.RuntimeDir), rules: &confinement{
		Write:  append([]string{place.Workspace, place.Private, place.Runtime}, roots...),
		Shared: []string{sharedMemory},
	}}
	for _, pattern := range harmlessDevices {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		b.rules.Devices = append(b.rules.Devices, found...)
	}
	b.readableAsTheyAre(a.systemFolders()...)
	b.readable(movingLinks...)
	return b
}

// systemFolders are what all code may read, without links. They are looked for once: that takes milliseconds.
func (a *Agent) systemFolders() []string {
	a.lookAround.Do(func() {
		paths := append(slices.Clone(systemFolders), a.scripts, os.Getenv("SSL_CERT_FILE"), os.Getenv("SSL_CERT_DIR"))
		for _, path := range append(paths, a.config.Python.folders()...) {
			if real, err := filepath.EvalSymlinks(path); err == nil && filepath.IsAbs(path) && !slices.Contains(a.readable, real) {
				a.readable = append(a.readable, real)
			}
		}
	})
	return a.readable
}

// current is what the next process may touch; nil for everything.
func (b *bounds) current() *confinement {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rules
}

// readable allows reading files and folders that are there, but for what is hidden.
func (b *bounds) readable(paths ...string) {
	var found []string
	for _, path := range paths {
		if real, err := filepath.EvalSymlinks(path); err == nil && filepath.IsAbs(path) {
			found = append(found, real)
		}
	}
	b.readableAsTheyAre(found...)
}

// readableAsTheyAre is readable for paths without links.
func (b *bounds) readableAsTheyAre(paths ...string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	read := b.rules.Read
	for _, real := range paths {
		if real != "/" {
			for _, p := range without(real, b.hidden) {
				if !slices.ContainsFunc(read, func(known string) bool { return within(p, known) }) {
					read = append(slices.Clip(read), p)
				}
			}
		}
	}
	if len(read) > len(b.rules.Read) {
		rules := *b.rules
		rules.Read = read
		b.rules = &rules
	}
}

// hiddenFolders are the homes of the user, and where sandboxes and engines have their folders side by side.
func hiddenFolders(place Place, runtime string) []string {
	folders := []string{
		"/root", filepath.Dir(place.Workspace), filepath.Dir(place.Private), filepath.Dir(place.Runtime), filepath.Dir(runtime),
	}
	homes := []string{os.Getenv("HOME")}
	if u, err := user.Current(); err == nil {
		homes = append(homes, u.HomeDir)
	}
	for _, home := range homes {
		// Users of services have homes such as /usr/sbin, which are not theirs.
		if info, err := os.Stat(home); err == nil && ownerOf(info) == os.Geteuid() && !slices.Contains(systemFolders, home) {
			folders = append(folders, home)
		}
	}
	for i, folder := range folders {
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			folders[i] = real
		}
	}
	return folders
}

// without is a folder, or as much of what is in it as leaves out what is hidden.
func without(folder string, hidden []string) []string {
	if slices.Contains(hidden, folder) {
		return nil
	}
	if !slices.ContainsFunc(hidden, func(h string) bool { return within(h, folder) }) {
		return []string{folder}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	var parts []string
	for _, entry := range entries {
		if entry.Type()&fs.ModeSymlink == 0 { // a rule about a link would be one about its target
			parts = append(parts, without(filepath.Join(folder, entry.Name()), hidden)...)
		}
	}
	return parts
}

// within reports whether path is folder or below it. Both are clean.
func within(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, folder)
	return ok && (rest == "" || rest[0] == '/')
}

// folders are what the interpreter needs to run.
func (p *Python) folders() []string {
	folders := slices.Concat(p.Path, p.SiteDirs, installation(p.Prefix), installation(p.BasePrefix))
	for _, executable := range []string{p.Executable, p.BaseExecutable} {
		folders = append(folders, programFolders(executable)...)
	}
	return folders
}

// installation are the folders below a prefix that hold what is installed there. Not the prefix as a whole, unless it is one of
// conda's: it may be ~/.local, where keys lie beside programs.
func installation(prefix string) []string {
	if _, err := os.Stat(filepath.Join(prefix, "conda-meta")); err == nil {
		return []string{prefix}
	}
	parts := []string{"bin", "lib", "lib32", "lib64", "libexec", "include", "etc", "share/jupyter", "pyvenv.cfg"}
	if filepath.Base(prefix) != ".local" {
		parts = append(parts, "share")
	}
	for i, part := range parts {
		parts[i] = filepath.Join(prefix, part)
	}
	return parts
}

// programFolders are those of a program: its own, and of what was installed with it.
func programFolders(executable string) []string {
	var folders []string
	names := []string{executable}
	if real, err := filepath.EvalSymlinks(executable); err == nil && real != executable {
		names = append(names, real)
	}
	for _, name := range names {
		dir := filepath.Dir(name)
		folders = append(folders, dir, name)
		if filepath.Base(dir) == "bin" {
			folders = append(folders, installation(filepath.Dir(dir))...)
		}
	}
	return folders
}

// namedFolders are what a kernelspec names: its own folder, its program's, and those of the files in its arguments and
// variables.
func namedFolders(spec *messaging.KernelSpec) []string {
	folders := []string{spec.ResourceDir}
	for i, argument := range spec.Argv {
		switch {
		case !filepath.IsAbs(argument):
		case i == 0:
			folders = append(folders, programFolders(argument)...)
		default:
			folders = append(folders, argument, filepath.Dir(argument))
		}
	}
	for _, value := range spec.Env {
		folders = append(folders, filepath.SplitList(value)...)
	}
	return folders
}
