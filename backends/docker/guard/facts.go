package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
)

// factsAge is how old facts may be: a laptop changes its network.
const factsAge = 5 * time.Minute

// learn is what the engine's machine says about itself. The engine is asked rather than this machine, which may be another: by a
// helper in the host's network for addresses, and by one on the engine's default bridge for the resolvers that containers are given there
// (never one on the host's loopback).
func (g *Guard) learn(ctx context.Context) (netrules.Facts, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.learned.IsZero() && time.Since(g.learned) < factsAge {
		return g.facts, nil
	}
	image, err := g.helperImageLocked(ctx)
	if err != nil {
		return netrules.Facts{}, err
	}
	facts, err := g.factsOf(ctx, image, "host")
	if err != nil {
		return netrules.Facts{}, fmt.Errorf("addresses of the engine's machine: %w", err)
	}
	facts.Host = append(facts.Host, g.options.Host...)
	if len(g.options.Upstreams) > 0 {
		facts.Upstreams = g.options.Upstreams
	} else if given, err := g.factsOf(ctx, image, "bridge"); err == nil && len(given.Upstreams) > 0 {
		facts.Upstreams = given.Upstreams
	}
	g.facts, g.learned = facts, time.Now()
	return facts, nil
}

func (g *Guard) factsOf(ctx context.Context, image, mode string) (facts netrules.Facts, err error) {
	host := hardened()
	host.NetworkMode = container.NetworkMode(mode)
	made, err := g.api.ContainerCreate(ctx, &container.Config{
		Image: image, Cmd: []string{"network-facts"}, Labels: map[string]string{LabelHelper: "facts"},
	}, host, nil, nil, "")
	if err != nil {
		return facts, err
	}
	defer func() { err = errors.Join(err, g.remove(ctx, made.ID)) }()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, failed := g.api.ContainerWait(waiting, made.ID, container.WaitConditionNextExit)
	if err := g.api.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		cancel()
		select { // the client's goroutine hands over one of both, and stays until then
		case <-ended:
		case <-failed: //nolint:errcheck // the start is what failed
		}
		return facts, err
	}
	var status int64
	select {
	case end := <-ended:
		status = end.StatusCode
	case err := <-failed:
		return facts, err
	}
	logs, err := g.api.ContainerLogs(ctx, made.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return facts, err
	}
	defer logs.Close() //nolint:errcheck // all was read
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, logs); err != nil {
		return facts, err
	}
	if status != 0 {
		return facts, fmt.Errorf("network-facts ended with code %d: %s", status, bytes.TrimSpace(stderr.Bytes()))
	}
	return facts, json.Unmarshal(stdout.Bytes(), &facts)
}

// hardened is what all helpers have in common.
func hardened() *container.HostConfig {
	pids := int64(64)
	return &container.HostConfig{
		CapDrop:        []string{"ALL"},
		SecurityOpt:    []string{"no-new-privileges"},
		ReadonlyRootfs: true,
		Resources:      container.Resources{Memory: helperMemory, MemorySwap: helperMemory, PidsLimit: &pids},
		LogConfig:      container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "64k", "max-file": "1"}},
	}
}

const helperMemory = 64 << 20
