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
	dir      string // of its sockets
	output   *tail
	maxFrame int64
}

var _ backends.KernelProcess = (*kernelProcess)(nil)

// StartKernel starts a kernel's process.
func (in *Instance) StartKernel(ctx context.Context, cfg backends.KernelConfig) (backends.KernelProcess, error) {
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

func (in *Instance) startKernel(ctx context.Context, spec *messaging.KernelSpec, cfg backends.KernelConfig) (*kernelProcess, error) {
	dir, err := in.newKernelDir()
	if err != nil {
		return nil, err
	}
	cwd, err := in.files.folder(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("working directory %q: %w", cfg.Dir, err)
	}
	k := &kernelProcess{in: in, spec: spec, dir: dir, maxFrame: cfg.MaxFrame}
	connectionFile, err := k.writeConnection()
	if err != nil {
		return nil, err
	}
	keeper, err := in.currentKeeper(ctx)
	if err != nil {
		return nil, err
	}
	output, write, err := in.watchOutput()
	if err != nil {
		return nil, err
	}
	defer func() { _ = write.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	env := in.environment()
	env = in.environment(spec.ExpandEnv(env), cfg.Env)
	process, err := keeper.start(ctx, in.agent.command(spec, in.env, connectionFile), env, cwd, null, write, write)
	if err != nil {
		in.forgetOutput(output)
		return nil, err
	}
	k.process, k.output = process, output
	return k, nil
}

// writeConnection makes a connection file with a fresh key, over unix sockets: these have no ports to race for, and their
// folder is the user's alone.
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
	if n := len(k.info.IP) + 2; n > maxSocketPath {
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

// Spec is the kernel's recipe.
func (k *kernelProcess) Spec() messaging.KernelSpec { return *k.spec }

// Diagnose is the tail of the kernel's own output.
func (k *kernelProcess) Diagnose(context.Context) string { return strings.TrimSpace(k.output.text()) }

// Connect waits for the kernel's sockets to appear and connects to them.
func (k *kernelProcess) Connect(ctx context.Context) (messaging.Transport, error) {
	t, err := k.connect(ctx)
	if err == nil {
		return t, nil
	}
	start := &backends.StartError{Kernel: k.spec.Name, Stage: "connect", Err: err, Diagnosis: k.Diagnose(ctx)}
	if exit := new(backends.ExitError); errors.As(err, &exit) {
		exit.Output = "" // it stands in the diagnosis
		start.Remedy = k.remedy(start.Diagnosis)
	}
	return nil, start
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

func (k *kernelProcess) connect(ctx context.Context) (messaging.Transport, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch for sockets: %w", err)
	}
	defer func() { _ = watcher.Close() }()
	if err := watcher.Add(k.dir); err != nil {
		return nil, fmt.Errorf("watch for sockets: %w", err)
	}
	opts := &zmtp.TransportOptions{
		MaxFrame: k.maxFrame, Trace: k.in.agent.config.Trace,
		OnError: func(err error) {
			k.in.agent.config.Logger.Warn("skip message of kernel", "sandbox", k.in.place.ID, "error", err)
		},
	}
	for {
		again := (<-chan time.Time)(nil)
		if k.bound() {
			t, err := zmtp.Connect(ctx, k.info, opts)
			if err == nil {
				return t, nil
			}
			if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT) {
				return nil, err
			}
			again = time.After(time.Millisecond) // bound but not listening yet: the next step of the kernel
		}
		select {
		case <-watcher.Events:
		case err := <-watcher.Errors: // an overflow: look again
			k.in.agent.config.Logger.Debug("watch for sockets", "error", err)
		case <-again:
		case <-k.done:
			if k.err != nil {
				return nil, k.err
			}
			return nil, &backends.ExitError{Status: k.status}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// bound reports whether all sockets we need are there.
func (k *kernelProcess) bound() bool {
	for port := 1; port <= 4; port++ {
		if _, err := os.Lstat(k.info.IP + "-" + strconv.Itoa(port)); err != nil {
			return false
		}
	}
	return true
}
