package backends

import (
	"context"
	"reflect"
)

// Container says what only a backend with containers can give an instance. The zero value is the backend's defaults;
// other backends refuse anything else with ErrUnsupported.
type Container struct {
	// Image that the instance is made from: a name, or the id of a snapshot. The backend's own.
	Image   string  `json:"image,omitempty"`
	Profile Profile `json:"profile,omitempty"` // ProfileHardened
	Runtime string  `json:"runtime,omitempty"` // of the engine, by its name there ("runsc"); the engine's default
	Network Network `json:"network"`
	Mounts  []Mount `json:"mounts,omitempty"`
	// GPUs for the instance, as `docker run --gpus` has them: "all", a count, or "device=0,1". None.
	GPUs string `json:"gpus,omitempty"`
}

// IsZero reports whether c asks for nothing in particular.
func (c Container) IsZero() bool { return reflect.ValueOf(c).IsZero() }

// Profile is how far the code may go inside its container. In both the machine outside is safe from it.
type Profile string

// The profiles.
const (
	// ProfileHardened: code is an ordinary user that can gain no privileges.
	ProfileHardened Profile = "hardened"
	// ProfileCompatible: as E2B's sandboxes have it; the user may become root by sudo, without a password.
	ProfileCompatible Profile = "compatible"
)

// Mount is data of the machine that the engine runs on, to read in the instance and never to write.
type Mount struct {
	Source string `json:"source"` // absolute path there, without links in it
	Target string `json:"target"` // absolute path in the instance, outside of the system's folders
}

// Network is what an instance may reach. In any mode it reaches neither the machine outside, nor other instances, nor private ranges, nor
// the metadata services of clouds, unless Allow names them.
type Network struct {
	Mode NetworkMode `json:"mode,omitempty"` // NetworkNone
	// Allow and Deny are addresses ("1.2.3.4"), ranges ("10.0.0.0/8") and, in Allow, domains ("pypi.org", "*.pypi.org", which is what
	// is below that). What Allow names is admitted also where Deny, or the rule about private ranges, would refuse it; never
	// loopback and link-local addresses.
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

// NetworkMode is what is reached that no list names.
type NetworkMode string

// The modes.
const (
	NetworkNone   NetworkMode = "none"   // nothing, not even by name; lists must be empty
	NetworkBridge NetworkMode = "bridge" // the internet, but for what Deny names
	NetworkAllow  NetworkMode = "allow"  // only what Allow names
)

// Networker is an Instance whose network can be changed while it lives. It is optional.
type Networker interface {
	// SetNetwork replaces the whole of what Container.Network said. An instance made with NetworkNone stays without.
	// Connections that are no longer admitted are cut. Errors: ErrUnsupported, mistakes in n by name.
	SetNetwork(ctx context.Context, n Network) error
}

// Snapshotter is an Instance whose files can be kept as an image. It is optional.
type Snapshotter interface {
	// Snapshot keeps the instance's files, and neither its processes nor its memory, under an id that Container.Image takes.
	Snapshot(ctx context.Context) (id string, err error)
}

// SnapshotRemover is a Backend that removes what a Snapshotter kept. It is optional.
type SnapshotRemover interface {
	// RemoveSnapshot removes a snapshot by the id that Snapshot returned. One that instances are made from is an error.
	// Error: ErrNotFound.
	RemoveSnapshot(ctx context.Context, id string) error
}
