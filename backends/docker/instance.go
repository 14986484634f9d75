package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// instance is one container, and the host's side of its agent.
type instance struct {
	backend *Backend
	id      string
	image   *image
	agent   upload
	limits  backends.Limits
	by      map[backends.LimitName]backends.Enforcer // of the limits that the engine holds
	client  *remote.Client
	inner   *remote.Instance

	changing  sync.Mutex // held while it is made or destroyed; guards what follows
	destroyed bool
	guarded   bool // its network has rules

	mu        sync.Mutex     // guards what follows
	container string         // its id at the engine; empty until it is made
	snapping  bool           // a snapshot of ours has paused it for a moment
	frozen    bool           // somebody else has paused it
	wrong     *end           // set once, when it has ended
	closing   sync.WaitGroup // of the connection, once it has ended
}

// Bounds of a start.
const (
	startTime = time.Minute
	// bootTime is how long an agent may take until it answers.
	bootTime = 30 * time.Second
	// patience is how long calls wait for an agent that does not answer while its container runs: the engine may be starting anew, or
	// a snapshot being made.
	patience = time.Minute
)

// make makes the container, starts it and sets its agent up. What it made before an error is removed again.
func (in *instance) make(ctx context.Context, spec backends.Spec) (err error) {
	b := in.backend
	spec.Container = b.config.merge(spec.Container)
	if err := refuse(spec); err != nil {
		return err
	}
	if in.image, err = b.engine.findImage(ctx, spec.Container.Image); err != nil {
		return err
	}
	if in.agent, err = b.engine.agentFor(in.image, b.config.Agent); err != nil {
		return err
	}
	s, err := b.settings(spec, in.image)
	if err != nil {
		return err
	}
	if err := b.prepare(ctx, spec.Container.Network, in.image, s.host); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("the container was not ready within %v", startTime))
	defer cancel()
	id, err := b.make(ctx, spec, s, in.image, in.agent)
	if err != nil {
		return orCause(ctx, err)
	}
	in.limits, in.by = spec.Limits, s.by
	in.mu.Lock()
	in.container = id
	in.mu.Unlock()
	defer func() {
		if err != nil {
			in.drop()
			err = errors.Join(in.withLog(err), in.unprotect(context.WithoutCancel(ctx)), b.remove(context.WithoutCancel(ctx), id))
		}
	}()
	if err := b.engine.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return orCause(ctx, startError(err))
	}
	if err := in.protectNetwork(ctx, spec.Container.Network); err != nil {
		return orCause(ctx, err)
	}
	if err := in.configure(ctx, spec); err != nil {
		return err
	}
	return in.explain(ctx, in.sign(ctx, b.owner.id, spec.Spare))
}

// configure opens the connection to the agent and tells it whose it is.
func (in *instance) configure(ctx context.Context, spec backends.Spec) error {
	b := in.backend
	booting, cancel := context.WithTimeoutCause(ctx, bootTime, fmt.Errorf("the agent did not answer within %v", bootTime))
	defer cancel()
	err := in.connect(booting)
	if err == nil {
		limits := spec.Limits
		limits.CPUs = 0 // the engine's alone
		err = in.setUp(booting, remote.Setup{
			ID: spec.ID, Env: spec.Env, Limits: limits, NoForkServer: b.config.NoForkServer, Preload: b.config.Preload, Silence: b.config.Silence,
			RelayBudget: relayBudget,
		})
	}
	return in.explain(booting, err)
}

// connectTries is how often a connection is tried that breaks at once: for a moment the engine may not know that the container has ended.
const connectTries = 5

// connect opens the connection to the agent.
func (in *instance) connect(ctx context.Context) error {
	for try := 1; ; try++ {
		client, err := remote.Open(ctx, in.dial, in.backend.remoteOptions())
		if err == nil {
			return in.join(client)
		}
		if version := new(remote.VersionError); try == connectTries || in.fate() != nil || errors.As(err, &version) {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * 20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// join makes a connection to the agent the instance's: from then on it ends with the container.
func (in *instance) join(client *remote.Client) error {
	in.mu.Lock()
	in.client = client
	if in.frozen {
		client.Freeze()
	}
	wrong := in.wrong
	in.mu.Unlock()
	if wrong != nil { // meanwhile
		return errors.Join(wrong.err, client.Close())
	}
	return nil
}

// setUp tells the agent whose it is.
func (in *instance) setUp(ctx context.Context, setup remote.Setup) error {
	if err := in.client.Configure(ctx, setup); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.inner = in.client.Instance()
	if in.wrong != nil {
		return in.wrong.err
	}
	return nil
}

// drop ends the connection, if there is one, and waits for that.
func (in *instance) drop() {
	in.endWith(&end{err: backends.ErrDestroyed})
	in.closing.Wait()
}

func (b *Backend) remoteOptions() *remote.Options {
	return &remote.Options{Logger: b.config.Logger, Trace: b.config.Trace, Patience: patience}
}

// refuse says what a container can't have.
func refuse(spec backends.Spec) error {
	switch {
	case spec.Isolation != "" && spec.Isolation != backends.IsolationContainer:
		return fmt.Errorf("isolation %q: %w: it is %q; use the local backend for others", spec.Isolation, backends.ErrUnsupported,
			backends.IsolationContainer)
	case spec.WorkspacePath != "":
		return fmt.Errorf("WorkspacePath: %w: a container has files of its own; upload the folder, mount it to read (Container.Mounts), or "+
			"use the local backend", backends.ErrUnsupported)
	case len(spec.AllowedRoots) > 0:
		return fmt.Errorf("AllowedRoots: %w: mount the folders to read (Container.Mounts), or use the local backend", backends.ErrUnsupported)
	}
	return nil
}

// startError says what to do about a container that did not start.
func startError(err error) error {
	text := bare(err)
	switch {
	case strings.Contains(text, "exec format error"):
		return fmt.Errorf("%s: the agent is for another architecture than the engine's machine: build it for that", text)
	case strings.Contains(text, "OCI runtime") && strings.Contains(text, "executable file not found"):
		return fmt.Errorf("%s: the image lacks the program", text)
	}
	return err
}

// dial reaches the agent: a bridge to its socket, started by the engine.
func (in *instance) dial(ctx context.Context) (net.Conn, error) {
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		conn, err := in.backend.engine.dialExec(ctx, in.containerID(), agentPath, "bridge")
		if err == nil {
			conn.(*execConn).bridge = true
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		wrong, paused, lookErr := in.backend.inspect(ctx, in.containerID(), in.limits)
		switch {
		case wrong != nil:
			in.endWith(wrong)
			return nil, wrong.err
		case paused:
			return nil, ErrFrozen
		case lookErr != nil:
			return nil, errors.Join(err, lookErr)
		case !busy(err): // of a container that is just being started
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (in *instance) containerID() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.container
}

// look finds out whether the container still runs, and ends what waits for it if it does not.
func (in *instance) look(ctx context.Context) {
	id := in.containerID()
	if id == "" {
		return
	}
	wrong, paused, err := in.backend.inspect(ctx, id, in.limits)
	switch {
	case err != nil:
		in.backend.config.Logger.Debug("look at container", "sandbox", in.id, "error", err)
	case wrong != nil:
		in.endWith(wrong)
	default:
		in.freeze(paused)
	}
}

// freeze notes that somebody else has paused the container, or lets it go on. A frozen agent does not answer, and is not lost for that.
func (in *instance) freeze(paused bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.frozen == paused || paused && in.snapping {
		return
	}
	in.frozen = paused
	switch {
	case in.client == nil:
	case paused:
		in.client.Freeze()
	default:
		in.client.Thaw()
	}
}

// endWith notes that the container has ended, and ends the connection: what waits for the agent hears of it.
func (in *instance) endWith(wrong *end) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.wrong != nil {
		return
	}
	in.wrong = wrong
	if in.inner != nil {
		in.inner.Forsake(wrong.limit)
	}
	if in.client != nil {
		in.closing.Go(func() { _ = in.client.Close() }) // which waits for a dial, and that may be who tells us
	}
}

// check is state, once more asked for where it may be that the container goes on and we have not heard of it yet.
func (in *instance) check(ctx context.Context) error {
	err := in.state()
	if errors.Is(err, ErrFrozen) {
		in.look(ctx)
		err = in.state()
	}
	return err
}

// state tells why nothing can be asked of the container; nil when it can.
func (in *instance) state() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.wrong != nil:
		return in.wrong.err
	case in.frozen:
		return ErrFrozen
	}
	return nil
}

// fate is how the container ended; nil while it runs.
func (in *instance) fate() *end {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.wrong
}

// explain is an error of the connection with what the engine knows about the container.
func (in *instance) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	in.look(context.WithoutCancel(ctx))
	if wrong := in.fate(); wrong != nil {
		return wrong.err
	}
	return err
}

// maxLog bounds what is shown of a container's log, bytes.
const maxLog = 2 << 10

// withLog is the error of a start with what the agent has printed.
func (in *instance) withLog(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	if text := in.backend.engine.log(ctx, in.containerID()); text != "" {
		return fmt.Errorf("%w\nthe agent said: %s", err, text)
	}
	return err
}

// ID is the sandbox's.
func (in *instance) ID() string { return in.id }

// Workspace is the code's home.
func (in *instance) Workspace() string { return in.inner.Workspace() }

// Isolation is IsolationContainer.
func (in *instance) Isolation() backends.Isolation { return backends.IsolationContainer }

// Files are the agent's.
func (in *instance) Files() backends.FileSystem { return in.inner.Files() }

// Enforcement is the engine's where it holds a limit, else the agent's.
func (in *instance) Enforcement() map[backends.LimitName]backends.Enforcer {
	by := in.inner.Enforcement()
	maps.Copy(by, in.by)
	return by
}

// Stats are the engine's figures, with the agent's of processes and disk.
func (in *instance) Stats(ctx context.Context) (backends.Stats, error) {
	if err := in.check(ctx); err != nil {
		return backends.Stats{}, err
	}
	stats, err := in.inner.Stats(ctx)
	if err != nil {
		return stats, in.lost(err)
	}
	figures, err := in.backend.engine.figures(ctx, in.containerID())
	if err != nil {
		return stats, in.explain(ctx, orCause(ctx, err))
	}
	add(&stats, figures)
	return stats, nil
}

// StartKernel starts a kernel.
func (in *instance) StartKernel(ctx context.Context, cfg backends.KernelConfig) (backends.KernelProcess, error) {
	if err := in.check(ctx); err != nil {
		return nil, err
	}
	k, err := in.inner.StartKernel(ctx, cfg)
	if err != nil {
		return nil, in.lost(err)
	}
	return k, nil
}

// StartCommand starts a program.
func (in *instance) StartCommand(ctx context.Context, cmd backends.Cmd) (backends.Command, error) {
	if err := in.check(ctx); err != nil {
		return nil, err
	}
	c, err := in.inner.StartCommand(ctx, cmd)
	if err != nil {
		return nil, in.lost(err)
	}
	return c, nil
}

// lost is an error of a call or, if that came of it, how the container ended or that it is paused.
func (in *instance) lost(err error) error {
	if state := in.state(); state != nil && (errors.Is(err, remote.ErrLost) || errors.Is(err, remote.ErrClosed) ||
		errors.Is(err, backends.ErrDestroyed) || errors.Is(err, backends.ErrPaused)) {
		return state
	}
	return err
}

// Snapshot keeps the files as an image.
func (in *instance) Snapshot(ctx context.Context) (string, error) {
	in.changing.Lock()
	defer in.changing.Unlock()
	if in.destroyed {
		return "", backends.ErrDestroyed
	}
	if err := in.check(ctx); err != nil {
		return "", fmt.Errorf("docker: snapshot %s: %w", in.id, err)
	}
	in.setSnapping(true) // calls wait for the moment, see patience
	id, err := in.backend.snapshot(ctx, in)
	in.setSnapping(false)
	in.look(context.WithoutCancel(ctx))
	if err != nil {
		return "", fmt.Errorf("docker: snapshot %s: %w", in.id, in.explain(ctx, err))
	}
	return id, nil
}

func (in *instance) setSnapping(on bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.snapping = on
}

// Destroy ends and removes the container; ctx does not cut it short. After an error it may be called again.
func (in *instance) Destroy(ctx context.Context) error {
	in.changing.Lock()
	defer in.changing.Unlock()
	if in.destroyed {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	helper := make(chan error, 1)
	go func() { helper <- in.unprotect(ctx) }()
	err := errors.Join(in.backend.remove(ctx, in.containerID()), <-helper)
	in.drop()
	if err != nil {
		return fmt.Errorf("docker: destroy %s: %w", in.id, err)
	}
	in.destroyed = true
	in.backend.forget(in)
	return nil
}

// Pause stops what the code has started; the agent goes on, so that files and figures are there.
func (in *instance) Pause(ctx context.Context) error {
	if err := in.check(ctx); err != nil {
		return err
	}
	return in.lost(in.inner.Pause(ctx))
}

// Resume lets it go on.
func (in *instance) Resume(ctx context.Context) error {
	if err := in.check(ctx); err != nil {
		return err
	}
	return in.lost(in.inner.Resume(ctx))
}

// SetEnv gives every process that is started from now on further variables.
func (in *instance) SetEnv(env map[string]string) { in.inner.SetEnv(env) }
