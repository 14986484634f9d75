package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Setup is what Configure tells an agent about its sandbox.
type Setup struct {
	ID        string // ^[a-z0-9]{1,40}$
	Env       map[string]string
	Limits    backends.Limits // that the agent is to hold itself
	Roots     []string        // absolute folders there into which links of the workspace may lead
	Isolation backends.Isolation
	// Silence is how long the agent goes on without a host; 0 is its own choice, 60 s.
	Silence time.Duration
	// Preload and NoForkServer are those of agent.Config.
	Preload      []string
	NoForkServer bool
	RelayBudget  int64 // bytes kept of what a kernel says while no host fetches it; 0 is the agent's own choice, 64 MiB
}

// configureTime bounds Configure, which may have to wait for a Python to be looked at.
var configure = kind{limit: time.Minute}

// Configure names the sandbox, once; the same id again is no error. Instance is of use after it.
func (c *Client) Configure(ctx context.Context, setup Setup) error {
	answer, err := call(ctx, c, configure, c.host.Configure, &agentpb.ConfigureRequest{
		Id: setup.ID, Env: setup.Env, Limits: agentpb.NewLimits(setup.Limits), Roots: setup.Roots, Silence: int64(setup.Silence),
		Preload: setup.Preload, NoForkServer: setup.NoForkServer, RelayBudget: setup.RelayBudget,
	})
	if err != nil {
		return fmt.Errorf("remote: configure agent: %w", err)
	}
	if !path.IsAbs(answer.Workspace) || len(answer.Workspace) > 4096 || len(answer.Enforcement) > 64 {
		return fmt.Errorf("remote: configure agent: %w: workspace %.100q", ErrProtocol, answer.Workspace)
	}
	in := &Instance{
		c: c, id: setup.ID, workspace: path.Clean(answer.Workspace), isolation: cmp.Or(setup.Isolation, backends.IsolationContainer),
		enforcement: make(map[backends.LimitName]backends.Enforcer),
	}
	for name, by := range answer.Enforcement {
		in.enforcement[backends.LimitName(short(name))] = backends.Enforcer(short(by))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.instance == nil {
		c.instance = in
	}
	return nil
}

// Instance is the sandbox, nil before Configure.
func (c *Client) Instance() *Instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.instance
}

// KernelSpecs lists the kernels that can be started.
func (c *Client) KernelSpecs(ctx context.Context) ([]messaging.KernelSpec, error) {
	answer, err := call(ctx, c, quick, c.host.ListSpecs, &agentpb.ListSpecsRequest{})
	if err != nil {
		return nil, fmt.Errorf("remote: list kernels: %w", err)
	}
	specs := make([]messaging.KernelSpec, 0, len(answer.Specs))
	for _, x := range answer.Specs {
		spec, err := x.Value()
		if err != nil {
			return nil, fmt.Errorf("remote: list kernels: %w: %w", ErrProtocol, err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// Instance is a sandbox whose agent is elsewhere.
type Instance struct {
	c           *Client
	id          string
	workspace   string
	isolation   backends.Isolation
	enforcement map[backends.LimitName]backends.Enforcer

	destroying sync.Mutex // held while it is destroyed

	mu        sync.Mutex // guards what follows
	destroyed bool
	limit     *backends.LimitError // for which the sandbox was ended as a whole; nil when for none
}

var (
	_ backends.Instance  = (*Instance)(nil)
	_ backends.Pauser    = (*Instance)(nil)
	_ backends.EnvSetter = (*Instance)(nil)
	_ backends.Warmer    = (*Instance)(nil)
)

// ID is the sandbox's.
func (in *Instance) ID() string { return in.id }

// Workspace is the path of the workspace there.
func (in *Instance) Workspace() string { return in.workspace }

// Isolation is what Setup said.
func (in *Instance) Isolation() backends.Isolation { return in.isolation }

// Enforcement tells what makes each limit hold that the agent holds.
func (in *Instance) Enforcement() map[backends.LimitName]backends.Enforcer {
	return maps.Clone(in.enforcement)
}

// gone is the error of an instance that was destroyed.
func (in *Instance) gone() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.destroyed {
		return backends.ErrDestroyed
	}
	return nil
}

// lost reports whether an error is what is to be expected of an agent whose instance was destroyed.
func (in *Instance) lost(err error) bool {
	return in.gone() != nil && (errors.Is(err, ErrLost) || errors.Is(err, ErrClosed) || errors.Is(err, backends.ErrDestroyed) ||
		errors.Is(err, backends.ErrNotFound))
}

// Stats tells what the instance uses.
func (in *Instance) Stats(ctx context.Context) (backends.Stats, error) {
	if err := in.gone(); err != nil {
		return backends.Stats{}, err
	}
	answer, err := call(ctx, in.c, quick, in.c.host.Stats, &agentpb.StatsRequest{})
	if err != nil {
		return backends.Stats{}, fmt.Errorf("remote: stats: %w", err)
	}
	return answer.Value(), nil
}

// Pause stops every process of the sandbox, but not the agent.
func (in *Instance) Pause(ctx context.Context) error {
	if err := in.gone(); err != nil {
		return err
	}
	_, err := call(ctx, in.c, change, in.c.host.Pause, &agentpb.PauseRequest{})
	return wrap("pause", err)
}

// Resume lets the processes go on.
func (in *Instance) Resume(ctx context.Context) error {
	if err := in.gone(); err != nil {
		return err
	}
	_, err := call(ctx, in.c, change, in.c.host.Resume, &agentpb.ResumeRequest{})
	return wrap("resume", err)
}

// SetEnv gives every process that is started from now on further variables.
func (in *Instance) SetEnv(env map[string]string) {
	if _, err := call(context.Background(), in.c, change, in.c.host.SetEnv, &agentpb.SetEnvRequest{Env: env}); err != nil {
		in.c.opts.Logger.Warn("set variables of sandbox", "sandbox", in.id, "error", err)
	}
}

// Warm waits until kernels can be forked.
func (in *Instance) Warm(ctx context.Context) error {
	_, err := call(ctx, in.c, kind{limit: 3 * time.Minute}, in.c.host.Warm, &agentpb.WarmRequest{})
	return wrap("warm", err)
}

// Destroy ends every process of the sandbox. The agent itself, and the files, are the caller's to remove.
func (in *Instance) Destroy(ctx context.Context) error {
	in.destroying.Lock()
	defer in.destroying.Unlock()
	if in.gone() != nil {
		return nil
	}
	_, err := call(context.WithoutCancel(ctx), in.c, change, in.c.host.Destroy, &agentpb.DestroyRequest{})
	if err != nil {
		return wrap("destroy", err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.destroyed = true
	return nil
}

// Forsake says that the sandbox was removed by other means: what is asked of it from now on answers as after Destroy. limit is what
// it was ended for, if a limit was; the processes that ended with it say so.
func (in *Instance) Forsake(limit *backends.LimitError) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.destroyed {
		in.destroyed, in.limit = true, limit
	}
}

// lastStatus is how what lived has ended with the sandbox, when nobody is left to say.
func (in *Instance) lastStatus() backends.ExitStatus {
	in.mu.Lock()
	defer in.mu.Unlock()
	status := backends.ExitStatus{Code: -1, Signal: "SIGKILL", Time: time.Now(), Limit: in.limit}
	if in.limit != nil {
		status.LimitsHit = []*backends.LimitError{in.limit}
	}
	return status
}

func wrap(act string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("remote: %s: %w", act, err)
}

// PutState keeps a value, at most 64 KiB, with the agent: it is there for a host program that is started again. An empty one is removed.
func (c *Client) PutState(ctx context.Context, key string, value []byte) error {
	_, err := call(ctx, c, change, c.host.PutState, &agentpb.PutStateRequest{Key: key, Value: value})
	return wrap("put state", err)
}

// GetState returns what PutState kept. Error: backends.ErrNotFound.
func (c *Client) GetState(ctx context.Context, key string) ([]byte, error) {
	answer, err := call(ctx, c, quick, c.host.GetState, &agentpb.GetStateRequest{Key: key})
	if err != nil {
		return nil, wrap("get state", err)
	}
	if len(answer.Value) > agentpb.MaxStateValue {
		return nil, wrap("get state", ErrProtocol)
	}
	return answer.Value, nil
}

// ListState lists the keys of what PutState kept.
func (c *Client) ListState(ctx context.Context) ([]string, error) {
	answer, err := call(ctx, c, quick, c.host.ListState, &agentpb.ListStateRequest{})
	if err != nil {
		return nil, wrap("list state", err)
	}
	return slices.Sorted(slices.Values(answer.Keys)), nil
}
