package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// Figures of every container.
const (
	// spareProcesses are the threads of what is not the code's: the agent, its reserve of memory, its bridges, the supervisor and the
	// keeper.
	spareProcesses = 96
	// spareMemory is what these use, bytes.
	spareMemory = 72 << 20
	// relayBudget is what the agent keeps of each kernel's messages, bytes; it counts as memory of the container.
	relayBudget  = 32 << 20
	sharedMemory = 1 << 30
	// spareDisk is what the storage lets an instance have beyond its limit, bytes: the agent notices first, and says so.
	spareDisk = 64 << 20
	// mostProcesses bounds instances without a limit of their own: a fork bomb would else use up the machine's process numbers.
	mostProcesses = 4096
	// killFirst has the system, when the whole machine is out of memory, end what is in containers before anything else of it.
	killFirst = 500
)

// hostname is every container's. Without a network nobody else knows it, so its file of hosts does.
const hostname = "sandbox"

// settings are what a container is made with.
type settings struct {
	config *container.Config
	host   *container.HostConfig
	by     map[backends.LimitName]backends.Enforcer // of the limits that the engine holds
}

// settings translates a spec.
func (b *Backend) settings(spec backends.Spec, img *image) (*settings, error) {
	c := spec.Container
	s := &settings{
		config: &container.Config{
			Image: img.ID, User: "0:0", WorkingDir: "/", Hostname: hostname,
			Entrypoint: []string{agentPath, "serve"}, Cmd: []string{},
			Labels:      b.labels(spec),
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}}, // the image's would run as root
		},
		host: &container.HostConfig{
			IpcMode: "private", ExtraHosts: []string{hostname + ":127.0.0.1"}, ShmSize: sharedMemory, Runtime: c.Runtime,
			OomScoreAdj:   killFirst,
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
			LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
		},
		by: make(map[backends.LimitName]backends.Enforcer),
	}
	s.host.Ulimits = []*container.Ulimit{{Name: "core"}}
	if err := s.protect(c.Profile); err != nil {
		return nil, err
	}
	s.host.SecurityOpt = append(s.host.SecurityOpt, b.engine.seccompOptions()...)
	if c.Runtime != "" {
		if _, ok := b.engine.info.Runtimes[c.Runtime]; !ok {
			return nil, fmt.Errorf("runtime %q: %w: the engine at %s has %s", c.Runtime, backends.ErrUnsupported, b.engine.endpoint.Host,
				strings.Join(slices.Sorted(maps.Keys(b.engine.info.Runtimes)), ", "))
		}
	}
	var err error
	if s.host.Mounts, err = b.engine.mounts(c.Mounts); err != nil {
		return nil, err
	}
	if s.host.DeviceRequests, err = gpus(c.GPUs); err != nil {
		return nil, err
	}
	return s, s.limit(b.engine, spec.Limits)
}

// compatibleCapabilities are those of root in the profile compatible: what sudo, apt, pip and useradd need. Of the engine's own set it
// lacks NET_RAW (packets with any source), MKNOD and SETFCAP (device nodes and capabilities in files, which a snapshot would
// keep), AUDIT_WRITE (the machine's log), SYS_CHROOT and SETPCAP.
var compatibleCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID",
}

// protect says what the agent may do beyond an ordinary user, and with it all else in the container at most.
func (s *settings) protect(profile backends.Profile) error {
	s.host.CapDrop = []string{"ALL"}
	switch profile {
	case "", backends.ProfileHardened:
		// To become the code's user, and to end what it started.
		s.host.CapAdd = []string{"CAP_SETUID", "CAP_SETGID", "CAP_KILL"}
		s.host.SecurityOpt = []string{"no-new-privileges"}
	case backends.ProfileCompatible:
		s.host.CapAdd = slices.Clone(compatibleCapabilities)
	default:
		return fmt.Errorf("profile %q is not known: use %s or %s", profile, backends.ProfileHardened, backends.ProfileCompatible)
	}
	return nil
}

// limit sets the limits that the engine holds. The others are the agent's.
func (s *settings) limit(e *engine, l backends.Limits) error {
	if err := l.Check(); err != nil {
		return err
	}
	cgroup := backends.ByCgroup1
	if e.info.CgroupVersion == "2" {
		cgroup = backends.ByCgroup2
	}
	lacks := func(name backends.LimitName) error {
		return fmt.Errorf("limit %s: %w: the engine at %s has no such control group; leave it unset", name, backends.ErrUnsupported,
			e.endpoint.Host)
	}
	if l.Memory > 0 {
		if !e.info.MemoryLimit {
			return lacks(backends.LimitMemory)
		}
		s.host.Memory, s.by[backends.LimitMemory] = l.Memory+spareMemory, cgroup
		if e.info.SwapLimit {
			s.host.MemorySwap = s.host.Memory
		}
		s.host.ShmSize = min(s.host.ShmSize, l.Memory)
	}
	if l.CPUs > 0 {
		if !e.info.CPUCfsQuota {
			return lacks(backends.LimitCPUs)
		}
		// An engine refuses more than its machine has, which is no limit either.
		s.host.NanoCPUs = int64(math.Max(min(l.CPUs, float64(e.info.NCPU)), 0.01) * 1e9)
		s.by[backends.LimitCPUs] = cgroup
	}
	if l.Processes > 0 {
		if !e.info.PidsLimit {
			return lacks(backends.LimitProcesses)
		}
		most := int64(l.Processes) + spareProcesses
		s.host.PidsLimit, s.by[backends.LimitProcesses] = &most, cgroup
	} else if e.info.PidsLimit {
		most := int64(mostProcesses)
		s.host.PidsLimit = &most
	}
	return nil
}

// gpus reads what `docker run --gpus` takes.
func gpus(text string) ([]container.DeviceRequest, error) {
	request := container.DeviceRequest{Driver: "nvidia", Capabilities: [][]string{{"gpu"}}}
	devices, named := strings.CutPrefix(text, "device=")
	count, err := strconv.Atoi(text)
	switch {
	case text == "":
		return nil, nil
	case text == "all":
		request.Count = -1
	case named && devices != "":
		request.DeviceIDs = strings.Split(devices, ",")
	case err == nil && count > 0:
		request.Count = count
	default:
		return nil, fmt.Errorf("gpus %q: use all, a count, or device=ID,ID", text)
	}
	return []container.DeviceRequest{request}, nil
}

func (b *Backend) labels(spec backends.Spec) map[string]string {
	labels := map[string]string{
		labelOwner: b.owner.id, labelLock: b.owner.place, labelID: spec.ID, labelCreated: time.Now().UTC().Format(time.RFC3339),
	}
	if spec.Spare {
		labels[labelSpare] = "1"
	}
	return labels
}

// make makes a container, its files complete, and does not start it. A container of which only a part succeeded is removed.
func (b *Backend) make(ctx context.Context, spec backends.Spec, s *settings, img *image, agent upload) (id string, err error) {
	if spec.Limits.Disk > 0 && b.quotas() {
		s.host.StorageOpt = map[string]string{"size": strconv.FormatInt(spec.Limits.Disk+spareDisk, 10)}
		s.by[backends.LimitDisk] = backends.ByQuota
	}
	created, err := b.engine.api.ContainerCreate(ctx, s.config, s.host, nil, nil, "ds-sandbox-"+b.owner.short()+"-"+spec.ID)
	if err != nil && s.host.StorageOpt != nil && ctx.Err() == nil {
		b.noQuotas(err)
		s.host.StorageOpt = nil
		delete(s.by, backends.LimitDisk)
		created, err = b.engine.api.ContainerCreate(ctx, s.config, s.host, nil, nil, "ds-sandbox-"+b.owner.short()+"-"+spec.ID)
	}
	if err != nil {
		return "", createError(err)
	}
	if err := b.fill(ctx, created.ID, img, agent); err != nil {
		return "", errors.Join(err, b.remove(context.WithoutCancel(ctx), created.ID))
	}
	return created.ID, nil
}

// createError says what to do about a refusal.
func createError(err error) error {
	text := bare(err)
	switch {
	case strings.Contains(text, "could not select device driver"):
		return fmt.Errorf("%s: the engine has no GPUs to give: install the NVIDIA Container Toolkit there, or ask for none", text)
	case strings.Contains(text, "bind source path does not exist"):
		return fmt.Errorf("%s: mounts are of the machine that the engine runs on", text)
	case strings.Contains(text, "no space left on device"):
		return fmt.Errorf("%w: the engine's disk is full (%s): `docker system df` says of what", backends.ErrNoSpace, text)
	}
	return err
}
