package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/backends/docker/guard"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Config of a Backend. Zero fields are the defaults.
type Config struct {
	// Host is the engine, as DOCKER_HOST has it; that of DOCKER_HOST, of the docker command's context, the usual socket.
	Host string
	// Agent is the file of ds-sandbox-agent, or the folder of one for each architecture; DS_SANDBOX_AGENT, what is built
	// in, what the image has.
	Agent string
	// Defaults of instances, for each field that a Spec leaves zero: the image of `ds-sandbox image build`, hardened, no network.
	Defaults backends.Container
	Logger   *slog.Logger // nil discards
	// NoForkServer has every kernel started afresh; else a fork server imports the modules of Preload once an instance has its first kernel.
	NoForkServer bool
	Preload      []string
	// Silence is how long the agent of a container lives without a word from us; 2 min.
	Silence time.Duration
	// Trace sees each message sent ("->") and received ("<-") on kernels' sockets. It must not block.
	Trace func(direction string, m *messaging.Message)
}

// merge is what an instance gets that asks for c.
func (c *Config) merge(asked backends.Container) backends.Container {
	asked.Image, asked.Profile = cmp.Or(asked.Image, c.Defaults.Image), cmp.Or(asked.Profile, c.Defaults.Profile)
	asked.Runtime, asked.GPUs = cmp.Or(asked.Runtime, c.Defaults.Runtime), cmp.Or(asked.GPUs, c.Defaults.GPUs)
	if n := asked.Network; n.Mode == "" && len(n.Allow) == 0 && len(n.Deny) == 0 {
		asked.Network = c.Defaults.Network
	}
	if len(asked.Mounts) == 0 {
		asked.Mounts = c.Defaults.Mounts
	}
	return asked
}

// DefaultSilence is Config.Silence's.
const DefaultSilence = 2 * time.Minute

// Backend is a backends.Backend on a container engine. The caller ends it with Close.
type Backend struct {
	config Config
	engine *engine
	owner  *owner

	working  sync.WaitGroup // the sweep and the watch
	stop     context.CancelFunc
	closing  sync.Once
	closeErr error

	guarding sync.Mutex // guards guard
	guard    *guard.Guard

	mu        sync.Mutex // guards what follows
	instances map[string]*instance
	specs     map[string][]messaging.KernelSpec // by image
	noQuota   bool                              // the engine's storage refused one
	closed    bool
}

var _ backends.Backend = (*Backend)(nil)

// Open reaches the engine and sweeps what dead programs left there. Errors: *UnreachableError, *ImageMissingError, and what
// to do about a missing agent.
func Open(ctx context.Context, config Config) (*Backend, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Silence == 0 {
		config.Silence = DefaultSilence
	}
	e, err := connect(ctx, config.Host)
	if err != nil {
		return nil, err
	}
	img, err := e.findImage(ctx, config.Defaults.Image)
	if err == nil {
		_, err = e.agentFor(img, config.Agent)
	}
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	if img.Labels[labelImage] == imageKernel && img.Labels[labelRecipe] != Recipe() {
		config.Logger.Warn("the image was made for another version: `ds-sandbox image build` makes it anew", "image", img.Name)
	}
	o, err := newOwner()
	if err != nil {
		return nil, errors.Join(err, e.close())
	}
	b := &Backend{
		config: config, engine: e, owner: o, instances: make(map[string]*instance), specs: make(map[string][]messaging.KernelSpec),
	}
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	b.working.Go(func() { b.sweep(own) })
	b.working.Go(func() { b.watch(own) })
	return b, nil
}

// Available tells why containers can be had, or the error why not: no engine answers, it lacks the image, there is no agent.
func Available(ctx context.Context, config Config) (reason string, err error) {
	e, err := connect(ctx, config.Host)
	if err != nil {
		return "", err
	}
	defer func() { _ = e.close() }()
	img, err := e.findImage(ctx, config.Defaults.Image)
	if err != nil {
		return "", err
	}
	if _, err := e.agentFor(img, config.Agent); err != nil {
		return "", err
	}
	return fmt.Sprintf("the engine at %s answers and has the image %s", e.endpoint.Host, img.Name), nil
}

// Describe tells what instances are made on and from.
func (b *Backend) Describe() string {
	return fmt.Sprintf("engine %s at %s (%s), API %s, storage %s", b.engine.info.ServerVersion, b.engine.endpoint.Host,
		b.engine.endpoint.Source, b.engine.api.ClientVersion(), b.engine.info.Driver)
}

var validID = regexp.MustCompile(`^[a-z0-9]{1,40}$`)

// Create makes a container and starts its agent.
func (b *Backend) Create(ctx context.Context, spec backends.Spec) (backends.Instance, error) {
	if !validID.MatchString(spec.ID) {
		return nil, fmt.Errorf("docker: id %q: use 1 to 40 of a-z and 0-9", spec.ID)
	}
	in := &instance{backend: b, id: spec.ID}
	in.changing.Lock() // a Close that comes meanwhile waits, and then destroys it
	defer in.changing.Unlock()
	if err := b.claim(in); err != nil {
		return nil, fmt.Errorf("docker: create %s: %w", spec.ID, err)
	}
	if err := in.make(ctx, spec); err != nil {
		in.destroyed = true
		b.forget(in)
		return nil, fmt.Errorf("docker: create %s: %w", spec.ID, err)
	}
	return in, nil
}

func (b *Backend) claim(in *instance) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errors.New("backend is closed")
	}
	if b.instances[in.id] != nil {
		return fmt.Errorf("id is taken: %w", os.ErrExist)
	}
	b.instances[in.id] = in
	return nil
}

func (b *Backend) forget(in *instance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.instances[in.id] == in {
		delete(b.instances, in.id)
	}
}

func (b *Backend) live() []*instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*instance, 0, len(b.instances))
	for _, in := range b.instances {
		all = append(all, in)
	}
	return all
}

// quotas reports whether the engine's storage is worth asking for a limit of the disk.
func (b *Backend) quotas() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.noQuota
}

func (b *Backend) noQuotas(err error) {
	b.config.Logger.Debug("the engine's storage takes no limits, the agent holds them", "reason", bare(err))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noQuota = true
}

// removeTime bounds the removal of a container.
const removeTime = 30 * time.Second

// remove ends and removes a container; one that is gone already is no error.
func (b *Backend) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, removeTime, fmt.Errorf("the engine removed no container within %v", removeTime))
	defer cancel()
	for {
		err := b.engine.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		switch {
		case err == nil || gone(err):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !busy(err):
			return fmt.Errorf("remove container %s: %s", shortID(id), bare(err))
		}
		select { // somebody else removes it
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Isolation is IsolationContainer.
func (b *Backend) Isolation() (backends.Isolation, string) {
	profile := b.config.Defaults.Profile
	if profile == "" {
		profile = backends.ProfileHardened
	}
	runtime := b.config.Defaults.Runtime
	if runtime == "" {
		runtime = b.engine.info.DefaultRuntime
	}
	return backends.IsolationContainer, fmt.Sprintf("a container of its own, profile %s, runtime %s, engine %s", profile, runtime,
		b.engine.info.ServerVersion)
}

// Close destroys what is left and waits for what works in the background. It is idempotent.
func (b *Backend) Close() error {
	b.closing.Do(func() { b.closeErr = b.close() })
	return b.closeErr
}

func (b *Backend) close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	left := b.live()
	errs := make([]error, len(left))
	var wg sync.WaitGroup
	for i, in := range left {
		wg.Go(func() { errs[i] = in.Destroy(context.Background()) })
	}
	wg.Wait()
	b.stop()
	b.working.Wait()
	return errors.Join(append(errs, b.owner.close(), b.engine.close())...)
}
