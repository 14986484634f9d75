package daemon

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/agent/agentpb"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

var validID = regexp.MustCompile(`^[a-z0-9]{1,40}$`)

// hostService is the service Host.
type hostService struct{ d *Daemon }

var _ agentpb.HostHandler = (*hostService)(nil)

func (s *hostService) Hello(
	context.Context, *connect.Request[agentpb.HelloRequest],
) (*connect.Response[agentpb.HelloResponse], error) {
	// The host refuses another version than its own: it can say what to do about it.
	answer := &agentpb.HelloResponse{Protocol: agentpb.Protocol, Build: s.d.opts.Build, Boot: s.d.boot}
	if sandbox, err := s.d.current(); err == nil {
		answer.Id = sandbox.id
	}
	return connect.NewResponse(answer), nil
}

func (s *hostService) Configure(
	ctx context.Context, r *connect.Request[agentpb.ConfigureRequest],
) (*connect.Response[agentpb.ConfigureResponse], error) {
	sandbox, err := s.d.configure(ctx, r.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(sandbox.answer), nil
}

func (s *hostService) Heartbeat(
	context.Context, *connect.Request[agentpb.HeartbeatRequest],
) (*connect.Response[agentpb.HeartbeatResponse], error) {
	return connect.NewResponse(&agentpb.HeartbeatResponse{}), nil
}

func (s *hostService) Stats(
	ctx context.Context, _ *connect.Request[agentpb.StatsRequest],
) (*connect.Response[agentpb.StatsResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	stats, err := sandbox.instance.Stats(ctx)
	if err != nil {
		return nil, err
	}
	if err := sandbox.users.add(ctx, &stats); err != nil {
		return nil, err
	}
	return connect.NewResponse(agentpb.NewStats(stats)), nil
}

func (s *hostService) Pause(
	ctx context.Context, _ *connect.Request[agentpb.PauseRequest],
) (*connect.Response[agentpb.PauseResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	if err := sandbox.users.pause(ctx); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.PauseResponse{}), nil
}

func (s *hostService) Resume(
	ctx context.Context, _ *connect.Request[agentpb.ResumeRequest],
) (*connect.Response[agentpb.ResumeResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	if err := sandbox.users.resume(ctx); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.ResumeResponse{}), nil
}

func (s *hostService) SetEnv(
	_ context.Context, r *connect.Request[agentpb.SetEnvRequest],
) (*connect.Response[agentpb.SetEnvResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	sandbox.setting.Lock()
	defer sandbox.setting.Unlock()
	sandbox.users.setEnv(r.Msg.Env)
	return connect.NewResponse(&agentpb.SetEnvResponse{}), nil
}

func (s *hostService) ListSpecs(
	context.Context, *connect.Request[agentpb.ListSpecsRequest],
) (*connect.Response[agentpb.ListSpecsResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	answer := new(agentpb.ListSpecsResponse)
	for _, spec := range sandbox.agent.KernelSpecs() {
		x, err := agentpb.NewKernelSpec(spec)
		if err != nil {
			return nil, err
		}
		answer.Specs = append(answer.Specs, x)
	}
	return connect.NewResponse(answer), nil
}

func (s *hostService) Warm(
	ctx context.Context, _ *connect.Request[agentpb.WarmRequest],
) (*connect.Response[agentpb.WarmResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	if err := sandbox.agent.Warm(ctx); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.WarmResponse{}), nil
}

func (s *hostService) Destroy(
	context.Context, *connect.Request[agentpb.DestroyRequest],
) (*connect.Response[agentpb.DestroyResponse], error) {
	sandbox, err := s.d.current()
	if err != nil {
		return nil, err
	}
	if err := sandbox.destroy(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.DestroyResponse{}), nil
}

func (s *hostService) Abandon(
	_ context.Context, r *connect.Request[agentpb.AbandonRequest],
) (*connect.Response[agentpb.AbandonResponse], error) {
	s.d.calls.abandon(r.Msg.Call)
	return connect.NewResponse(&agentpb.AbandonResponse{}), nil
}

// state is what the host keeps here, to find it again when it is started anew.
type state struct {
	mu     sync.Mutex // guards what follows
	values map[string][]byte
	size   int
}

// Bounds of the state besides agentpb's.
const (
	maxStateKey  = 256
	maxStateKeys = 4096
)

func (s *state) put(key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := s.size - len(s.values[key])
	if _, ok := s.values[key]; ok {
		size -= len(key)
	}
	switch {
	case key == "" || len(key) > maxStateKey:
		return fmt.Errorf("state: key of %d bytes, use 1 to %d", len(key), maxStateKey)
	case len(value) == 0:
		delete(s.values, key)
		s.size = size
		return nil
	case len(value) > agentpb.MaxStateValue:
		return fmt.Errorf("state %q: %w: %d bytes, the limit is %d", key, backends.ErrNoSpace, len(value), agentpb.MaxStateValue)
	case size+len(key)+len(value) > agentpb.MaxState || len(s.values) >= maxStateKeys:
		return fmt.Errorf("state %q: %w: the limit of all is %d bytes", key, backends.ErrNoSpace, agentpb.MaxState)
	}
	if s.values == nil {
		s.values = make(map[string][]byte)
	}
	s.values[key] = value
	s.size = size + len(key) + len(value)
	return nil
}

func (s *hostService) PutState(
	_ context.Context, r *connect.Request[agentpb.PutStateRequest],
) (*connect.Response[agentpb.PutStateResponse], error) {
	if err := s.d.state.put(r.Msg.Key, r.Msg.Value); err != nil {
		return nil, err
	}
	return connect.NewResponse(&agentpb.PutStateResponse{}), nil
}

func (s *hostService) GetState(
	_ context.Context, r *connect.Request[agentpb.GetStateRequest],
) (*connect.Response[agentpb.GetStateResponse], error) {
	s.d.state.mu.Lock()
	defer s.d.state.mu.Unlock()
	value, ok := s.d.state.values[r.Msg.Key]
	if !ok {
		return nil, fmt.Errorf("state %q: %w", r.Msg.Key, backends.ErrNotFound)
	}
	return connect.NewResponse(&agentpb.GetStateResponse{Value: value}), nil
}

func (s *hostService) ListState(
	context.Context, *connect.Request[agentpb.ListStateRequest],
) (*connect.Response[agentpb.ListStateResponse], error) {
	s.d.state.mu.Lock()
	defer s.d.state.mu.Unlock()
	answer := new(agentpb.ListStateResponse)
	for key := range s.d.state.values {
		answer.Keys = append(answer.Keys, key)
	}
	slices.Sort(answer.Keys)
	return connect.NewResponse(answer), nil
}
