package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/network"
)

// replaceTime bounds one change of rules, beside the caller's context.
const replaceTime = 30 * time.Second

// ErrNoHelper says that no helper keeps rules for a container.
var ErrNoHelper = errors.New("no helper keeps this container's network rules")

// Apply starts the helper of a running container that was prepared with a network, and puts its rules in force. No code may run there
// before Apply has returned: until then the network is open. Where there is a helper its rules are replaced; one that died is made anew.
// A container with network none has no helper.
func (g *Guard) Apply(ctx context.Context, containerID string, n backends.Network) error {
	rules, mode, err := g.compile(ctx, n)
	if err != nil || mode == backends.NetworkNone {
		return err
	}
	if _, err := g.change(ctx, containerID, rules); !errors.Is(err, ErrNoHelper) {
		return err
	}
	if err := g.Remove(ctx, containerID); err != nil { // one that is dead
		return err
	}
	helper, err := g.start(ctx, containerID)
	if err != nil {
		return fmt.Errorf("network helper of %.12s: %w", containerID, err)
	}
	if _, err := g.replace(ctx, helper, rules); err != nil {
		return errors.Join(fmt.Errorf("network rules of %.12s: %w", containerID, err), g.remove(ctx, helper))
	}
	return nil
}

// Change replaces the rules of a container that has a helper, and returns how many connections were cut. Mode none admits nothing from
// then on, not even names. On an error the former rules are in force, unless it says that it was only about ending connections.
// Errors: ErrNoHelper, mistakes in n.
func (g *Guard) Change(ctx context.Context, containerID string, n backends.Network) (cut int, err error) {
	rules, _, err := g.compile(ctx, n)
	if err != nil {
		return 0, err
	}
	return g.change(ctx, containerID, rules)
}

func (g *Guard) change(ctx context.Context, containerID string, rules netrules.Rules) (int, error) {
	helpers, err := g.helpers(ctx, containerID)
	if err != nil {
		return 0, err
	}
	for _, h := range helpers {
		if h.State == container.StateRunning {
			return g.replace(ctx, h.ID, rules)
		}
	}
	return 0, ErrNoHelper
}

func (g *Guard) compile(ctx context.Context, n backends.Network) (netrules.Rules, backends.NetworkMode, error) {
	policy, err := network.Parse(n)
	if err != nil {
		return netrules.Rules{}, "", err
	}
	var facts netrules.Facts
	if policy.Mode != backends.NetworkNone {
		if facts, err = g.learn(ctx); err != nil {
			return netrules.Rules{}, "", err
		}
	}
	return policy.Compile(facts), policy.Mode, nil
}

func (g *Guard) start(ctx context.Context, containerID string) (string, error) {
	image, err := g.helperImage(ctx)
	if err != nil {
		return "", err
	}
	host := hardened()
	host.NetworkMode = container.NetworkMode("container:" + containerID)
	host.CapAdd = []string{"NET_ADMIN", "NET_BIND_SERVICE"}
	host.Tmpfs = map[string]string{"/run": "size=64k,mode=0700,noexec,nosuid,nodev"}
	host.AutoRemove = true // it ends by itself when the sandbox is gone
	made, err := g.api.ContainerCreate(ctx, &container.Config{
		Image: image, Cmd: []string{"resolver"}, Labels: map[string]string{LabelHelper: containerID},
		Env: []string{"GOMEMLIMIT=48MiB"},
	}, host, nil, nil, "")
	if err != nil {
		return "", err
	}
	if err := g.api.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		return "", errors.Join(err, g.remove(ctx, made.ID))
	}
	return made.ID, nil
}

// replace runs the agent's `firewall` in the helper.
func (g *Guard) replace(ctx context.Context, helper string, rules netrules.Rules) (cut int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, replaceTime, fmt.Errorf("no answer within %v", replaceTime))
	defer cancel()
	text, err := json.Marshal(rules)
	if err != nil {
		return 0, err
	}
	made, err := g.api.ContainerExecCreate(ctx, helper, container.ExecOptions{
		Cmd: []string{agentPath, "firewall"}, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // it ended since it was listed
			return 0, fmt.Errorf("%w: %w", ErrNoHelper, err)
		}
		return 0, err
	}
	stream, err := g.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, stream.Close)
	defer stop()
	if _, err := stream.Conn.Write(text); err != nil {
		return 0, cause(ctx, err)
	}
	if err := stream.CloseWrite(); err != nil {
		return 0, cause(ctx, err)
	}
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, io.LimitReader(stream.Reader, 1<<20)); err != nil {
		return 0, cause(ctx, err)
	}
	var result struct {
		Cut   int
		Error string
	}
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return 0, fmt.Errorf("the helper gave no answer: %s", bytes.TrimSpace(stderr.Bytes()))
	}
	if result.Error != "" {
		return 0, errors.New(result.Error)
	}
	return result.Cut, nil
}

func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (g *Guard) helpers(ctx context.Context, containerID string) ([]container.Summary, error) {
	label := LabelHelper
	if containerID != "" {
		label += "=" + containerID
	}
	return g.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", label))})
}

// Remove ends the helpers of a container, whether or not that still exists.
func (g *Guard) Remove(ctx context.Context, containerID string) error {
	helpers, err := g.helpers(ctx, containerID)
	if err != nil {
		return err
	}
	for _, h := range helpers {
		err = errors.Join(err, g.remove(ctx, h.ID))
	}
	return err
}

// remove takes away a container; that it is gone, or going, is no error. It does so also when ctx is done.
func (g *Guard) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replaceTime)
	defer cancel()
	err := g.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return err
}

// Sweep removes helpers whose container is gone or has ended, of whatever program, and returns how many.
func (g *Guard) Sweep(ctx context.Context) (removed int, err error) {
	helpers, err := g.helpers(ctx, "")
	if err != nil {
		return 0, err
	}
	for _, h := range helpers {
		orphan := h.State != container.StateRunning && time.Since(time.Unix(h.Created, 0)) > replaceTime
		if of := h.Labels[LabelHelper]; of == "facts" {
			orphan = time.Since(time.Unix(h.Created, 0)) > replaceTime
		} else if sandbox, e := g.api.ContainerInspect(ctx, of); errdefs.IsNotFound(e) {
			orphan = true
		} else if e == nil && !sandbox.State.Running { // paused ones are running
			orphan = true
		}
		if orphan {
			if e := g.remove(ctx, h.ID); e != nil {
				err = errors.Join(err, e)
				continue
			}
			removed++
		}
	}
	return removed, err
}
