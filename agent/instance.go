package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Place is where a sandbox lives: folders that the caller made and removes.
type Place struct {
	ID        string            // ^[a-z0-9]+$
	Workspace string            // the workspace
	Private   string            // its environment, caches and temporary files, beside the workspace
	Runtime   string            // its sockets and connection files; a short path
	Env       map[string]string // of every process
}

// Instance is one sandbox. The caller ends it with Close.
type Instance struct {
	agent *Agent
	place Place
	env   *overlay
	files *files

	mu      sync.Mutex
	keeper  *keeper // started with the first process
	kernels int     // started so far
	tails   []*tail
	closed  bool
}

// Open makes the sandbox's own environment in its place. Nothing is started before it is needed.
func (a *Agent) Open(place Place) (*Instance, error) {
	files, err := openFiles(place.Workspace)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	env, err := makeOverlay(filepath.Join(place.Private, "venv"), a.config.Python)
	if err == nil {
		err = os.MkdirAll(filepath.Join(place.Private, "tmp"), 0o700)
	}
	if err == nil {
		err = copyFontCache(a.config.Python.FontCache, filepath.Join(place.Private, "matplotlib"))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("agent: %w", err), files.Close())
	}
	return &Instance{agent: a, place: place, env: env, files: files}, nil
}

// ID is the sandbox's.
func (in *Instance) ID() string { return in.place.ID }

// Workspace is the absolute path of the workspace.
func (in *Instance) Workspace() string { return in.place.Workspace }

// Files is the workspace.
func (in *Instance) Files() backends.FileSystem { return in.files }

// MarkVariable names the environment variable by which a sandbox's processes can be told.
const MarkVariable = "DS_SANDBOX_ID"

// environment is what a process of the sandbox gets: little, and nothing of the host program's own but the path, language
// and terminal.
func (in *Instance) environment(extra ...map[string]string) map[string]string {
	private := func(name string) string { return filepath.Join(in.place.Private, name) }
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	env := map[string]string{
		"PATH": in.env.bin + ":" + filepath.Dir(in.agent.config.Python.Executable) + ":" + path,
		"HOME": in.place.Workspace,
		"LANG": "C.UTF-8",
		"TERM": "xterm-256color",

		MarkVariable:  in.place.ID,
		"VIRTUAL_ENV": in.env.dir,
		// Caches and settings go beside the workspace, so that this holds only what the code put there.
		"TMPDIR":             private("tmp"),
		"IPYTHONDIR":         private("ipython"),
		"MPLCONFIGDIR":       private("matplotlib"),
		"XDG_CACHE_HOME":     private("cache"),
		"JUPYTER_CONFIG_DIR": private("jupyter"),
		"JUPYTER_DATA_DIR":   private("jupyter"),
		// Debian's debugger warns of frozen modules on standard error.
		"PYDEVD_DISABLE_FILE_VALIDATION": "1",
	}
	for _, name := range []string{"LANG", "TERM", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value := os.Getenv(name); value != "" {
			env[name] = value
		}
	}
	maps.Copy(env, in.place.Env)
	for _, e := range extra {
		maps.Copy(env, e)
	}
	return env
}

// currentKeeper is the keeper; it is started when first needed, and never twice: with it everything has ended.
func (in *Instance) currentKeeper(ctx context.Context) (*keeper, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, backends.ErrDestroyed
	}
	if in.keeper == nil {
		k, err := in.agent.startKeeper(ctx, in.place.ID)
		if err != nil {
			return nil, err
		}
		in.keeper = k
	}
	return in.keeper, nil
}

// newKernelDir makes a folder for a kernel's sockets and connection file.
func (in *Instance) newKernelDir() (string, error) {
	in.mu.Lock()
	in.kernels++
	dir := filepath.Join(in.place.Runtime, strconv.Itoa(in.kernels))
	in.mu.Unlock()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, nil
}

// watchOutput keeps a process's tail until the instance closes; it returns the end to write to.
func (in *Instance) watchOutput() (*tail, *os.File, error) {
	t, w, err := newTail()
	if err != nil {
		return nil, nil, err
	}
	in.mu.Lock()
	closed := in.closed
	if !closed {
		in.tails = append(in.tails, t)
	}
	in.mu.Unlock()
	if closed {
		_ = w.Close()
		t.close()
		return nil, nil, backends.ErrDestroyed
	}
	return t, w, nil
}

// forgetOutput drops a tail whose process has ended. Orphans may still hold the other end.
func (in *Instance) forgetOutput(t *tail) {
	t.close()
	in.mu.Lock()
	defer in.mu.Unlock()
	for i, other := range in.tails {
		if other == t {
			in.tails = append(in.tails[:i], in.tails[i+1:]...)
			return
		}
	}
}

// killPatience bounds how long ending everything may take before harder means are used.
const killPatience = 2 * time.Second

// Close ends every process that was started here, whatever it has become since. It leaves the folders. It is idempotent.
func (in *Instance) Close(ctx context.Context) error {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return nil
	}
	in.closed = true
	k, tails := in.keeper, in.tails
	in.keeper, in.tails = nil, nil
	in.mu.Unlock()

	var err error
	if k != nil {
		limited, cancel := context.WithTimeout(ctx, killPatience)
		defer cancel()
		if killErr := k.killAll(limited); killErr != nil {
			// The code may have stopped or killed its keeper. What carries our mark is ended here.
			in.agent.config.Logger.Warn("keeper did not end its processes", "sandbox", in.place.ID, "error", killErr)
			err = KillMarked(in.place.ID)
		}
		k.wire.close()
	}
	for _, t := range tails {
		t.close()
	}
	return errors.Join(err, in.files.Close())
}
