package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"github.com/ds-sandbox/ds-sandbox/agent/netrules"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Labels of what this package makes.
const (
	LabelHelper  = "org.ds-sandbox.helper"  // id of the container whose rules a helper keeps, or "facts"
	LabelNetwork = "org.ds-sandbox.network" // of our network
)

// DefaultNetwork is the bridge that sandboxes are on.
const DefaultNetwork = "ds-sandbox"

// Options of a Guard.
type Options struct {
	// Agent is the agent's static binary for the engine's architecture; helpers run nothing else. Required.
	Agent []byte
	// Network is the name of the bridge; DefaultNetwork. Where there is none it is made.
	Network string
	// Upstreams are asked by sandboxes' resolvers; those that the engine gives to its containers.
	Upstreams []netip.AddrPort
	// Host is further addresses of the engine's machine that no sandbox may reach: those that it doesn't know itself, such as a
	// public address that is translated to it.
	Host []netip.Addr
}

// Guard keeps network rules on one engine.
type Guard struct {
	api     client.APIClient
	options Options

	mu      sync.Mutex // guards what follows; held while it is found out, so that it is found out once
	image   string     // name of the helpers'; "" before it is known
	network string
	facts   netrules.Facts
	learned time.Time
}

// New is a guard on the engine of api, which stays the caller's. It does no I/O.
func New(api client.APIClient, options Options) *Guard {
	if options.Network == "" {
		options.Network = DefaultNetwork
	}
	return &Guard{api: api, options: options}
}

// Ready does ahead what the first Prepare and Apply would do: the network, the helpers' image, facts about the engine's machine.
func (g *Guard) Ready(ctx context.Context) error {
	if _, err := g.bridge(ctx); err != nil {
		return err
	}
	_, err := g.learn(ctx)
	return err
}

// sharedKernel are runtimes whose containers use the network of the engine's kernel. In others (gVisor, virtual machines) packets pass
// the namespace's hooks by, and rules there would be for show.
var sharedKernel = []string{"", "runc", "crun", "youki", "nvidia", "io.containerd.runc.v2"}

// Prepare sets what a container's network needs before it is created: the network, the resolver, and the capabilities that undo rules
// taken away. Mistakes in n are told, as are settings under which rules would not hold; such of the runtime are backends.ErrUnsupported.
func (g *Guard) Prepare(ctx context.Context, n backends.Network, host *container.HostConfig) error {
	switch n.Mode {
	case "", backends.NetworkNone:
		host.NetworkMode = network.NetworkNone
		return nil
	}
	if !slices.Contains(sharedKernel, host.Runtime) {
		return fmt.Errorf("network %q with runtime %q: %w: its packets pass no firewall; use network none, or the engine's default runtime",
			n.Mode, host.Runtime, backends.ErrUnsupported)
	}
	if host.Privileged {
		return errors.New("network rules don't bind a privileged container")
	}
	if policy := host.RestartPolicy.Name; policy != "" && policy != container.RestartPolicyDisabled {
		return fmt.Errorf("restart policy %q gives a container a new network, without rules: leave it away", policy)
	}
	for _, name := range host.CapAdd {
		switch bare := strings.TrimPrefix(strings.ToUpper(name), "CAP_"); bare {
		case "ALL", "NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "BPF", "SYS_RAWIO":
			return fmt.Errorf("network rules don't bind a container with capability %s: leave it away", bare)
		}
	}
	// NET_RAW, which engines give by default, makes packets that no output hook sees, with any source and with the resolver's mark.
	for _, name := range []string{"NET_RAW", "NET_ADMIN"} {
		if !slices.ContainsFunc(host.CapDrop, func(c string) bool {
			c = strings.TrimPrefix(strings.ToUpper(c), "CAP_")
			return c == "ALL" || c == name
		}) {
			host.CapDrop = append(host.CapDrop, name)
		}
	}
	name, err := g.bridge(ctx)
	if err != nil {
		return err
	}
	host.NetworkMode = container.NetworkMode(name)
	host.DNS = []string{"127.0.0.1"} // engines that have a resolver of their own write 127.0.0.11, which the rules lead to ours
	host.DNSSearch = []string{"."}   // none: not the host's
	host.DNSOptions = []string{"timeout:5", "attempts:2"}
	return nil
}

const optionICC = "com.docker.network.bridge.enable_icc"

// bridge is the network's name, made where it is absent.
func (g *Guard) bridge(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.network != "" {
		return g.network, nil
	}
	name := g.options.Network
	found, err := g.api.NetworkInspect(ctx, name, network.InspectOptions{})
	if errdefs.IsNotFound(err) {
		_, err = g.api.NetworkCreate(ctx, name, network.CreateOptions{
			Driver:  "bridge",
			Options: map[string]string{optionICC: "false"}, // sandboxes don't see one another, whatever their rules
			Labels:  map[string]string{LabelNetwork: "1"},
		})
		if err == nil || errdefs.IsConflict(err) { // another program was faster
			found, err = g.api.NetworkInspect(ctx, name, network.InspectOptions{})
		}
	}
	if err != nil {
		return "", fmt.Errorf("network %s: %w", name, err)
	}
	if found.Driver != "bridge" || found.Options[optionICC] != "false" {
		return "", fmt.Errorf("network %s is not one for sandboxes (a bridge with %s=false): remove it by `docker network rm %s`, "+
			"and it is made anew", name, optionICC, name)
	}
	g.network = name
	return name, nil
}
