package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"

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

func (in *instance) containerID() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.container
}

// ID is the sandbox's.
func (in *instance) ID() string { return in.id }

// Workspace is the code's home.
func (in *instance) Workspace() string { return in.inner.Workspace() }

// Isolation is IsolationContainer.
func (in *instance) Isolation() backends.Isolation { return backends.IsolationContainer }

// Files are the agent's.
func (in *instance) Files() backends.FileSystem { return in.inner.Files() }

// Home is the home folder of a user.
func (in *instance) Home(user string) (string, error) { return in.inner.Home(user) }

// FilesOf are the agent's.
func (in *instance) FilesOf(user string) (backends.FileSystem, error) { return in.inner.FilesOf(user) }

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

// DialContext connects to a port in the container.
func (in *instance) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := in.check(ctx); err != nil {
		return nil, err
	}
	conn, err := in.inner.DialContext(ctx, network, address)
	if err != nil {
		return nil, in.lost(err)
	}
	return conn, nil
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
