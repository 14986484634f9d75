package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Bounds of a start.
const (
	startTime = time.Minute
	// bootTime is how long an agent may take until it answers.
	bootTime = 30 * time.Second
	// patience is how long calls wait for an agent that does not answer while its container runs: the engine may be starting anew, or
	// a snapshot being made.
	patience = time.Minute
	// heartbeat is how often an agent is told that we live, or oftener where it waits only a little.
	heartbeat = 5 * time.Second
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
const connectTries = 3

// connect opens the connection to the agent.
func (in *instance) connect(ctx context.Context) error {
	for try := 1; ; try++ {
		client, err := remote.Open(ctx, in.dial, in.backend.remoteOptions())
		if err == nil {
			return in.join(client)
		}
		version := new(remote.VersionError)
		if try == connectTries || in.fate() != nil || errors.As(err, &version) || errors.Is(err, remote.ErrNoAnswer) {
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

func (b *Backend) remoteOptions() *remote.Options {
	return &remote.Options{
		Logger: b.config.Logger, Trace: b.config.Trace, Patience: patience,
		Heartbeat: min(heartbeat, b.config.Silence/4), // else an agent would miss a host that lives
	}
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
