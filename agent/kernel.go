package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/messaging/zmtp"
)

// maxSocketPath is the longest path of a unix socket that works everywhere, bytes.
const maxSocketPath = 100

// kernelProcess is a kernel that runs in an instance.
type kernelProcess struct {
	*process
	in       *Instance
	spec     *messaging.KernelSpec
	info     *messaging.ConnectionInfo
	number   string // of the kernel in its instance
	dir      string // of its sockets; removed when the process has ended
	output   *tail
	tree     tree // measures it
	maxFrame int64
	start    backends.StartKind
}

var _ backends.KernelProcess = (*kernelProcess)(nil)

// StartKernel starts a kernel's process.
func (in *Instance) StartKernel(ctx context.Context, cfg backends.KernelConfig) (backends.KernelProcess, error) {
	started, err := in.starts(ctx)
	if err != nil {
		return nil, err
	}
	defer started()
	spec, err := in.agent.FindSpec(cfg.Name)
	if err != nil {
		return nil, err
	}
	k, err := in.startKernel(ctx, spec, cfg)
	if err != nil {
		return nil, in.explain(spec, err)
	}
	return k, nil
}

func (in *Instance) startKernel(ctx context.Context, spec *messaging.KernelSpec, cfg backends.KernelConfig) (_ *kernelProcess, err error) {
	dir, number, err := in.newKernelDir()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = in.removeKernelDir(number)
		}
	}()
	cwd, err := in.files.folder(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("working directory %q: %w", cfg.Dir, err)
	}
	k := &kernelProcess{in: in, spec: spec, number: number, dir: dir, maxFrame: cfg.MaxFrame}
	connectionFile, err := k.writeConnection()
	if err != nil {
		return nil, err
	}
	argv, python, err := in.command(ctx, spec, connectionFile)
	if err != nil {
		return nil, err
	}
	env := in.environment(python, spec.ExpandEnv(in.environment(python, cfg.Env)), cfg.Env)
	if err := in.launch(ctx, k, argv, env, cwd); err != nil {
		return nil, err
	}
	return k, nil
}

// launch starts the kernel's process, with nothing to read and its output going to its tail.
func (in *Instance) launch(ctx context.Context, k *kernelProcess, argv []string, env map[string]string, cwd string) error {
	keeper, err := in.currentKeeper(ctx)
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	output, write, err := newTail()
	if err != nil {
		return err
	}
	defer func() { _ = write.Close() }()
	k.output = output
	k.start = backends.StartCold
	if twin := in.twinOf(ctx, keeper); twin != nil && in.forkable(twin, argv, env) {
		keeper = twin
	}
	fork := in.forkable(keeper, argv, env)
	if fork {
		k.start = backends.StartFork
	}
	k.process, err = keeper.start(ctx, program{argv: argv, env: env, dir: cwd, fork: fork}, null, write, write)
	if err == nil {
		k.tree.pid, k.tree.spare = k.pid, func() []int { return k.keeper.others(in) }
		err = in.adopt(k) // or the keeper has ended it with the instance
	}
	if err != nil {
		output.close()
	}
	return err
}

// writeConnection makes a connection file with a fresh key, over unix sockets if the kernel knows them.
func (k *kernelProcess) writeConnection() (string, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return "", err
	}
	k.info = &messaging.ConnectionInfo{
		ShellPort: 1, IOPubPort: 2, StdinPort: 3, ControlPort: 4, HBPort: 5,
		IP: filepath.Join(k.dir, "s"), Transport: "ipc", Key: hex.EncodeToString(key),
		SignatureScheme: "hmac-sha256", KernelName: k.spec.Name,
	}
	if needsTCP(k.spec) {
		ports, err := freePorts(5)
		if err != nil {
			return "", err
		}
		k.info.Transport, k.info.IP = "tcp", loopback
		k.info.ShellPort, k.info.IOPubPort, k.info.StdinPort, k.info.ControlPort, k.info.HBPort = ports[0], ports[1], ports[2], ports[3], ports[4]
	} else if n := len(k.info.IP) + 2; n > maxSocketPath {
		return "", fmt.Errorf("socket path %s-1 has %d bytes, a unix socket's may have %d: "+
			"set RuntimeDir or DS_SANDBOX_RUNTIME_DIR to a shorter folder", k.info.IP, n, maxSocketPath)
	}
	data, err := json.Marshal(k.info)
	if err != nil {
		return "", err
	}
	path := filepath.Join(k.dir, "kernel.json")
	return path, os.WriteFile(path, data, 0o600)
}

// explain makes a StartError with what to do.
func (in *Instance) explain(spec *messaging.KernelSpec, err error) error {
	start := &backends.StartError{Kernel: spec.Name, Stage: "launch", Err: err}
	if failed := new(startError); errors.As(err, &failed) && failed.stage == "exec" && errors.Is(failed.errno, syscall.ENOENT) {
		start.Remedy = "its kernelspec names a program that does not exist: install it, or the kernel again"
		if spec.ResourceDir != "" {
			start.Remedy = filepath.Join(spec.ResourceDir, "kernel.json") + " names a program that does not exist: install it, or the kernel again"
		}
	}
	return start
}

// ID is the kernel's number in its instance.
func (k *kernelProcess) ID() string { return k.number }

// StartKind is how the kernel came to be.
func (k *kernelProcess) StartKind() backends.StartKind { return k.start }

// Doomed reports whether what is above the kernel's keeper has ended, with which the keeper ends everything.
func (k *kernelProcess) Doomed() bool {
	select {
	case <-k.keeper.lost:
	case <-k.keeper.wire.done:
	default:
		return k.keeper.warm != nil && k.keeper.warm.supervisor.dead()
	}
	return true
}

// Spec is the kernel's recipe.
func (k *kernelProcess) Spec() messaging.KernelSpec { return *k.spec }

// lastWords is how long the output of a process that has ended is waited for; others may hold its other end. It is shorter than
// a conversation waits for the reason of its end.
const lastWords = 50 * time.Millisecond

// Diagnose is the tail of the kernel's own output, complete if it has ended.
func (k *kernelProcess) Diagnose(ctx context.Context) string {
	select {
	case <-k.done:
		timer := time.NewTimer(lastWords)
		defer timer.Stop()
		select {
		case <-k.output.done:
		case <-timer.C:
		case <-ctx.Done():
		}
	default:
	}
	return strings.TrimSpace(k.output.text())
}

// Connect waits for the kernel's sockets to appear and connects to them.
func (k *kernelProcess) Connect(ctx context.Context) (messaging.Transport, error) {
	opts := &zmtp.TransportOptions{
		MaxFrame: k.maxFrame, Trace: k.in.agent.config.Trace,
		OnError: func(err error) {
			k.in.agent.config.Logger.Warn("skip message of kernel", "sandbox", k.in.place.ID, "error", err)
		},
	}
	var t *zmtp.Transport
	err := k.connect(ctx, func() (err error) {
		t, err = zmtp.Connect(ctx, k.info, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Link is Connect for who passes the messages on unread.
func (k *kernelProcess) Link(ctx context.Context) (*zmtp.Link, error) {
	var l *zmtp.Link
	err := k.connect(ctx, func() (err error) {
		l, err = zmtp.DialLink(ctx, k.info, &zmtp.TransportOptions{MaxFrame: k.maxFrame})
		return err
	})
	return l, err
}

// Key is what the kernel's messages are signed with, and by which scheme.
func (k *kernelProcess) Key() (key, scheme string) { return k.info.Key, k.info.SignatureScheme }

// Relayed is what kernels of this package are besides, for who relays them to a host elsewhere.
type Relayed interface {
	backends.KernelProcess
	backends.StartTeller
	PID() int
	Link(ctx context.Context) (*zmtp.Link, error)
	Key() (key, scheme string)
}

var _ Relayed = (*kernelProcess)(nil)

// connect calls dial once the sockets are there. Its error is a *backends.StartError.
func (k *kernelProcess) connect(ctx context.Context, dial func() error) error {
	err := k.dial(ctx, dial)
	if err == nil {
		k.in.agent.heat()
		return nil
	}
	start := &backends.StartError{Kernel: k.spec.Name, Stage: "connect", Err: err, Diagnosis: k.Diagnose(ctx)}
	if exit := new(backends.ExitError); errors.As(err, &exit) {
		exit.Output = "" // it stands in the diagnosis
		start.Remedy = k.remedy(start.Diagnosis)
	}
	return start
}

// remedy says what to do about a kernel that ended while it started.
func (k *kernelProcess) remedy(diagnosis string) string {
	if strings.Contains(diagnosis, "No module named 'ipykernel'") {
		return fmt.Sprintf("install it with `%s -m pip install ipykernel`, or choose another Python with `ds-sandbox setup`",
			k.in.agent.config.Python.Executable)
	}
	if strings.Contains(diagnosis, "No module named") {
		return "install the missing module into the kernel's environment"
	}
	return ""
}

// How often a kernel's sockets are tried again.
const (
	listenPause = time.Millisecond     // bound but not listening yet, which is the next step of the kernel
	pollPause   = 5 * time.Millisecond // where the system does not tell of new files
)

// Why a kernel's sockets can't be dialled yet.
var (
	errNotBound     = errors.New("not all sockets are there")
	errNotListening = errors.New("a socket does not listen")
)

func (k *kernelProcess) dial(ctx context.Context, dial func() error) error {
	err := k.attempt(ctx, dial) // before anything is watched: a fork's sockets are there at once
	if !errors.Is(err, errNotBound) && !errors.Is(err, errNotListening) {
		return err
	}
	appeared, stop := k.watchSockets()
	defer stop()
	for {
		err := k.attempt(ctx, dial)
		var again <-chan time.Time
		switch {
		case !errors.Is(err, errNotBound) && !errors.Is(err, errNotListening):
			return err
		case appeared == nil:
			again = time.After(pollPause)
		case errors.Is(err, errNotListening):
			again = time.After(listenPause)
		}
		select {
		case <-appeared:
		case <-again:
		case <-k.done:
			return k.exit()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// attempt calls dial if the sockets may be there.
func (k *kernelProcess) attempt(ctx context.Context, dial func() error) error {
	if !k.bound() {
		return errNotBound
	}
	err := dial()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return errNotListening
	}
	return k.because(ctx, err)
}

// watchSockets tells when something changes in the folder of the sockets; nil when there is none, and when the system can't, having
// only so many watches for all programs of a user.
func (k *kernelProcess) watchSockets() (appeared <-chan fsnotify.Event, stop func()) {
	if k.info.Transport == "tcp" {
		return nil, func() {}
	}
	watcher, err := fsnotify.NewBufferedWatcher(16)
	if err != nil {
		return nil, func() {}
	}
	stop = func() { go func() { _ = watcher.Close() }() } // which the system takes milliseconds for
	if watcher.Add(k.dir) != nil {
		return nil, stop
	}
	return watcher.Events, stop
}

// exit is the error of a process that has ended.
func (k *kernelProcess) exit() error {
	if k.err != nil {
		return k.err
	}
	return &backends.ExitError{Status: k.status}
}

// because returns the process's end as the reason of a broken connection, if that is what it was.
func (k *kernelProcess) because(ctx context.Context, err error) error {
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-k.done:
		return k.exit()
	case <-timer.C:
	case <-ctx.Done():
	}
	return err
}

// bound reports whether all sockets we need are there, or may be.
func (k *kernelProcess) bound() bool {
	if k.info.Transport == "tcp" {
		return true
	}
	for port := 1; port <= 4; port++ {
		if _, err := os.Lstat(k.info.IP + "-" + strconv.Itoa(port)); err != nil {
			return false
		}
	}
	return true
}
