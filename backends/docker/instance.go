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
	inner   remote.Instance

	changing  sync.Mutex // held while it is made or destroyed; guards destroyed
	destroyed bool

	mu        sync.Mutex // guards what follows
	container string     // its id at the engine; empty until it is made
	pausing   bool       // a pause of ours is under way or holds
	wrong     *end       // set once, when ended is closed
	ended     chan struct{}
}

// Bounds of a start.
const (
	startTime = time.Minute
	// bootTime is how long an agent may take until it answers.
	bootTime = 30 * time.Second
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
			err = in.withLog(err)
			if in.client != nil {
				err = errors.Join(err, in.client.Close())
			}
			err = errors.Join(err, b.remove(context.WithoutCancel(ctx), id))
		}
	}()
	if err := b.engine.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return orCause(ctx, startError(err))
	}
	return in.configure(ctx, spec)
}

// configure opens the connection to the agent and tells it whose it is.
func (in *instance) configure(ctx context.Context, spec backends.Spec) (err error) {
	b := in.backend
	booting, cancel := context.WithTimeoutCause(ctx, bootTime, fmt.Errorf("the agent did not answer within %v", bootTime))
	defer cancel()
	in.client, err = remote.Open(booting, in.dial, remote.Options{Logger: b.config.Logger, Trace: b.config.Trace})
	if err != nil {
		return in.explain(booting, err)
	}
	limits := spec.Limits
	limits.CPUs = 0 // the engine's alone
	err = in.client.Configure(booting, remote.Setup{
		ID: spec.ID, Env: spec.Env, Limits: limits, NoForkServer: b.config.NoForkServer, Preload: b.config.Preload, Silence: b.config.Silence,
	})
	if err != nil {
		return in.explain(booting, err)
	}
	in.inner = in.client.Instance()
	return nil
}

// refuse says what a container can't have.
func refuse(spec backends.Spec) error {
	switch {
	case spec.Isolation != "" && spec.Isolation != backends.IsolationContainer:
		return fmt.Errorf("isolation %q: %w: it is %q; use the local backend for others", spec.Isolation, backends.ErrUnsupported, backends.IsolationContainer)
	case spec.WorkspacePath != "":
		return fmt.Errorf("WorkspacePath: %w: a container has files of its own; upload the folder, mount it to read (Container.Mounts), or use the local backend",
			backends.ErrUnsupported)
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
	wrong, _, err := in.backend.inspect(ctx, id, in.limits)
	if err != nil {
		in.backend.config.Logger.Debug("look at container", "sandbox", in.id, "error", err)
		return
	}
	if wrong != nil {
		in.endWith(wrong)
	}
}

// endWith notes that the container has ended, and ends the connection: what waits for the agent learns why.
func (in *instance) endWith(wrong *end) {
	in.mu.Lock()
	first := in.wrong == nil
	if first {
		in.wrong = wrong
		close(in.ended)
	}
	in.mu.Unlock()
	if first && in.client != nil {
		in.client.Fail(wrong.err)
	}
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
		if wrong.limit != nil {
			return errors.Join(wrong.limit, wrong.err)
		}
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
	stats, err := in.inner.Stats(ctx)
	if err != nil {
		return stats, err
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
	k, err := in.inner.StartKernel(ctx, cfg)
	if err != nil {
		return nil, in.lost(ctx, err)
	}
	return k, nil
}

// StartCommand starts a program.
func (in *instance) StartCommand(ctx context.Context, cmd backends.Cmd) (backends.Command, error) {
	c, err := in.inner.StartCommand(ctx, cmd)
	if err != nil {
		return nil, in.lost(ctx, err)
	}
	return c, nil
}

// lost is an error of a start, with how the container ended if it has.
func (in *instance) lost(ctx context.Context, err error) error {
	if wrong := in.fate(); wrong != nil && wrong.limit != nil {
		return errors.Join(err, wrong.limit)
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
	id, err := in.backend.snapshot(ctx, in)
	if err != nil {
		return "", fmt.Errorf("docker: snapshot %s: %w", in.id, in.explain(ctx, err))
	}
	return id, nil
}

// Destroy ends and removes the container; ctx does not cut it short. After an error it may be called again.
func (in *instance) Destroy(ctx context.Context) error {
	in.changing.Lock()
	defer in.changing.Unlock()
	if in.destroyed {
		return nil
	}
	err := in.backend.remove(context.WithoutCancel(ctx), in.containerID())
	in.endWith(&end{err: backends.ErrDestroyed})
	err = errors.Join(err, in.client.Close())
	if err != nil {
		return fmt.Errorf("docker: destroy %s: %w", in.id, err)
	}
	in.destroyed = true
	in.backend.forget(in)
	return nil
}
