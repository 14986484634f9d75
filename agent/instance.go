package agent

import (
	"cmp"
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
	ID        string             // ^[a-z0-9]+$
	Mark      string             // unique for ever; carried by every process in its environment, see KillMarked
	Workspace string             // the workspace, or a link to it
	Roots     []string           // folders outside into which links of the workspace may lead
	Home      string             // of the code, made when absent; the workspace when empty
	Private   string             // its environment, caches and temporary files, beside the workspace
	Runtime   string             // its sockets and connection files; a short path
	Env       map[string]string  // of every process
	Isolation backends.Isolation // of every process; none when empty. See [Confinement]
	Limits    backends.Limits
	Measured  []string // further folders whose contents count as disk
	Family    string   // the Mark of the place that this one was forked from, or the one before that; its own when empty
	// OwnNetwork says that the network is the instance's alone, a container's: what listens on its loopback addresses is its own.
	OwnNetwork bool
	// User whose the processes are, where that is one of a backends.Machine. Commands name no user when it is empty.
	User string
	// Python is the instance whose Python environment is this one's too, and which outlives it; nil for one of its own.
	Python *Instance
}

// Instance is one sandbox. The caller ends it with Close.
type Instance struct {
	agent *Agent
	place Place
	env   *overlay
	files *files

	bounds   *bounds // what code may touch; nil without isolation
	limiter  *limiter
	disk     *disk
	shared   *sharedFiles
	power    power
	starting sync.Mutex // held while the keeper is started

	overlays sync.Mutex          // guards others
	others   map[string]*overlay // of Pythons that are not the chosen one, by interpreter

	mu        sync.Mutex // guards what follows
	keeper    *keeper    // started with the first process
	watchdog  *watchdog  // of the keeper
	kernels   int        // started so far
	saves     int        // of the workspace, so far
	tails     map[*tail]bool
	commands  map[*command]bool // whose pipes are open
	guests    map[*process]bool // kernels that live under the keeper of the instance they were forked from
	finishing sync.WaitGroup    // one for each kernel that lives; added to under mu, not once closed
	closed    bool
}

// Open makes the sandbox's own environment in its place. Nothing is started before it is needed. A limit that can't
// be applied is ErrUnsupported.
func (a *Agent) Open(place Place) (_ *Instance, err error) {
	limiter, err := a.bind(place.Limits, place.Mark)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, limiter.release())
		}
	}()
	files, err := openFiles(place.Workspace, place.Roots...)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	var env *overlay
	if place.Python != nil {
		env = place.Python.env
	} else {
		env, err = makeOverlay(filepath.Join(place.Private, "venv"), a.config.Python)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(place.Private, "tmp"), 0o700)
	}
	place.Family = cmp.Or(place.Family, place.Mark)
	if place.Home == "" {
		place.Home = place.Workspace
	} else if err == nil {
		err = os.MkdirAll(place.Home, 0o700)
	}
	if err == nil {
		err = copyFontCache(a.config.Python.FontCache, filepath.Join(place.Private, "matplotlib"))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("agent: %w", err), files.Close())
	}
	in := &Instance{
		agent: a, place: place, env: env, files: files, limiter: limiter, disk: newDisk(&place, files.real), power: newPower(),
		tails: make(map[*tail]bool), commands: make(map[*command]bool), guests: make(map[*process]bool),
	}
	in.shared = newSharedFiles(append(files.folders(), place.Private, place.Runtime)...)
	in.disk.extra, files.disk = in.nameless, in.disk
	if place.Isolation == backends.IsolationFiles {
		in.bounds = a.newBounds(place, files.folders()...)
	}
	return in, nil
}

// ID is the sandbox's.
func (in *Instance) ID() string { return in.place.ID }

// Agent is the instance itself, for what embeds it.
func (in *Instance) Agent() *Instance { return in }

// Workspace is the absolute path of the workspace.
func (in *Instance) Workspace() string { return in.place.Workspace }

// Isolation is the place's.
func (in *Instance) Isolation() backends.Isolation {
	if in.bounds == nil {
		return backends.IsolationNone
	}
	return backends.IsolationFiles
}

// Files is the workspace.
func (in *Instance) Files() backends.FileSystem { return in.files }

// The variables that name a sandbox to its own code, and by which its processes are found again when all else failed.
const (
	IDVariable   = "DS_SANDBOX_ID"
	MarkVariable = "DS_SANDBOX_MARK"
)

// environment is what a process of the sandbox gets.
func (in *Instance) environment(python *overlay, extra ...map[string]string) map[string]string {
	env := in.place.environment(python, extra...)
	env[IDVariable], env[MarkVariable] = in.place.ID, in.place.Mark
	return env
}

// SetEnv gives every process that is started from now on further variables. Nothing may be starting meanwhile.
func (in *Instance) SetEnv(env map[string]string) {
	all := maps.Clone(in.place.Env)
	if all == nil {
		all = make(map[string]string)
	}
	maps.Copy(all, env)
	in.place.Env = all
}

// currentKeeper is the keeper; it is started when first needed, and never twice: with it everything has ended.
func (in *Instance) currentKeeper(ctx context.Context) (*keeper, error) {
	in.starting.Lock()
	defer in.starting.Unlock()
	if k, err := in.knownKeeper(); k != nil || err != nil {
		return k, err
	}
	k, err := in.agent.startKeeper(ctx, in.place.ID, in.bounds.current)
	if err != nil {
		return nil, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed { // while we started it
		k.wire.close()
		return nil, backends.ErrDestroyed
	}
	in.keeper, k.owner = k, in
	in.agent.shared.begin(in)
	in.watchdog = newWatchdog(in.limiter, k, in.disk, func(msg string, args ...any) {
		in.agent.config.Logger.Warn(msg, append(args, "sandbox", in.place.ID)...)
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.limits, k.rank, k.verdict = in.limiter.program, in.limiter.rank, in.watchdog.verdict
	return k, nil
}

func (in *Instance) knownKeeper() (*keeper, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, backends.ErrDestroyed
	}
	return in.keeper, nil
}

// newKernelDir makes a folder for a kernel's sockets and connection file; number is the kernel's.
func (in *Instance) newKernelDir() (dir, number string, err error) {
	in.mu.Lock()
	closed := in.closed
	in.kernels++
	number = strconv.Itoa(in.kernels)
	in.mu.Unlock()
	if closed {
		return "", "", backends.ErrDestroyed
	}
	dir = filepath.Join(in.place.Runtime, number)
	return dir, number, os.Mkdir(dir, 0o700)
}

// adopt makes the instance wait for a kernel that was started; it refuses after Close.
func (in *Instance) adopt(k *kernelProcess) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return backends.ErrDestroyed
	}
	in.tails[k.output] = true
	in.finishing.Go(func() { in.finish(k) })
	return nil
}

// finish cleans up after a kernel that has ended, so that a sandbox may restart its kernels for ever.
func (in *Instance) finish(k *kernelProcess) {
	<-k.done
	if err := in.removeKernelDir(k.number); err != nil {
		in.agent.config.Logger.Warn("remove kernel's folder", "sandbox", in.place.ID, "error", err)
	}
	<-k.output.done // when the last holder of the other end is gone, or by Close
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.tails, k.output)
}

// removeKernelDir removes what newKernelDir made; the kernel's code may have put anything there.
func (in *Instance) removeKernelDir(number string) error {
	runtime, err := os.OpenRoot(in.place.Runtime)
	if err != nil {
		return err
	}
	defer func() { _ = runtime.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), exitPatience)
	defer cancel()
	return RemoveAll(ctx, runtime, number) // what takes longer is removed with the instance
}

// How long ending everything may take before harder means are used, and how long a keeper may take to exit after that.
const (
	killPatience = 2 * time.Second
	// endPatience is for ends that are certain but may be told late on a machine with no time for its keepers.
	endPatience  = 10 * time.Second
	exitPatience = time.Second
)

// Close ends every process that was started here, whatever it has become since, and waits for that; ctx does not cut it
// short, it takes 15 s at most. It leaves the folders. It is idempotent.
func (in *Instance) Close(ctx context.Context) error {
	in.agent.shared.settle()
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return nil
	}
	in.closed = true
	k, tails, commands, watchdog, guests := in.keeper, in.tails, in.commands, in.watchdog, maps.Clone(in.guests)
	in.keeper, in.tails, in.commands, in.watchdog = nil, make(map[*tail]bool), make(map[*command]bool), nil
	in.mu.Unlock()

	err := in.endGuests(ctx, guests)
	if k != nil {
		err = errors.Join(err, in.closeKeeper(ctx, k))
	}
	for t := range tails {
		t.close()
	}
	for c := range commands {
		c.closeAll()
	}
	err = errors.Join(err, in.finished())
	if watchdog != nil {
		watchdog.end()
	}
	in.agent.shared.end(in)
	in.shared.remove()
	return errors.Join(err, in.limiter.release(), in.files.Close())
}

// finished waits until nothing is left to clean up; not for good, should a keeper never tell of an end.
func (in *Instance) finished() error {
	done := make(chan struct{})
	go func() {
		in.finishing.Wait()
		close(done)
	}()
	patience := time.NewTimer(endPatience)
	defer patience.Stop()
	select {
	case <-done:
		return nil
	case <-patience.C:
		return fmt.Errorf("agent: close: the end of a process was not told within %v", endPatience)
	}
}

func (in *Instance) closeKeeper(ctx context.Context, k *keeper) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancel()
	err := k.killAll(ctx)
	if err == nil && k.outlive() {
		return nil
	}
	// A start that was sent meanwhile is dealt with by the keeper's own end.
	if certain := k.closeBoth(exitPatience); err == nil && certain {
		return nil
	}
	// The code may have stopped or killed its keeper. What carries our mark is ended here.
	in.agent.config.Logger.Warn("keeper did not end its processes", "sandbox", in.place.ID, "error", err)
	return KillMarked(in.place.Mark)
}
