package backends

import (
	"context"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Backend makes instances.
type Backend interface {
	// Create makes an instance: its workspace exists when Create returns. The caller ends it with Destroy.
	Create(ctx context.Context, spec Spec) (Instance, error)
	// KernelSpecs lists the kernels that an instance can start, by name.
	KernelSpecs(ctx context.Context) ([]messaging.KernelSpec, error)
	// Isolation is what instances get that ask for none in particular, and how it is enforced or why it is not stronger.
	Isolation() (isolation Isolation, detail string)
	// Close destroys every instance that is left and waits for its own goroutines.
	Close() error
}

// Spec is what an instance is made from.
type Spec struct {
	ID  string            // ^[a-z0-9]+$, unique in the backend's base folder; required
	Env map[string]string // environment of every process, on top of the backend's minimal one
	// Isolation is Backend.Isolation's when empty. Create fails with ErrUnsupported for one that can't be had here.
	Isolation Isolation
	Limits    Limits // of the instance; none when zero
	// WorkspacePath is a folder of the user's own, absolute, that the workspace is a link to: Destroy removes only the link. A new
	// folder of the instance's own when empty. It may neither lie in the folders of the backend nor hold them.
	WorkspacePath string
	// AllowedRoots are folders outside of the workspace, absolute, into which its links may lead, to read and to write; the
	// same holds of them as of WorkspacePath.
	AllowedRoots []string
	Container    Container // what only containers have
	// Spare says that nobody has asked for the instance yet. Until it is claimed, see Claimer, it is of no use to other programs.
	Spare bool
}

// Instance is the place a sandbox owns: a folder, a container, a pod.
type Instance interface {
	ID() string
	// Workspace is the absolute path of the workspace as the code inside sees it.
	Workspace() string
	// Isolation is what the instance has.
	Isolation() Isolation
	// StartKernel starts a kernel; ctx bounds the start only. Errors: *SpecNotFoundError, *StartError.
	StartKernel(ctx context.Context, cfg KernelConfig) (KernelProcess, error)
	// StartCommand starts a program; ctx bounds the start only. Errors wrap fs.ErrNotExist (the program, or the
	// folder) and fs.ErrPermission.
	StartCommand(ctx context.Context, cmd Cmd) (Command, error)
	Files() FileSystem
	// Stats tells what the instance uses. It works while the instance is paused. Error: ErrDestroyed.
	Stats(ctx context.Context) (Stats, error)
	// Enforcement tells what makes each limit of Spec.Limits hold.
	Enforcement() map[LimitName]Enforcer
	// Destroy ends every process that was started in the instance, whatever it has become since, and
	// removes the workspace. It is idempotent.
	Destroy(ctx context.Context) error
}

// KernelConfig says which kernel to start and how.
type KernelConfig struct {
	Name string            // of the kernelspec; "python3" when empty
	Dir  string            // working directory, a path of the FileSystem; the workspace when empty; made when absent
	Env  map[string]string // on top of Spec.Env
	// MaxFrame is the largest frame accepted from the kernel in bytes; 256 MiB when 0.
	MaxFrame int64
}

// Process is something that runs in an instance.
type Process interface {
	ID() string // opaque, unique in the instance
	// Signal sends sig to the process and its group; a finished process is no error.
	Signal(ctx context.Context, sig Signal) error
	// Wait waits for the end. It may be called often and by several goroutines; ctx bounds this wait only.
	Wait(ctx context.Context) (ExitStatus, error)
}

// KernelProcess is a kernel's process and the way to its sockets.
type KernelProcess interface {
	Process
	Spec() messaging.KernelSpec
	// Connect returns a transport with its subscription sent; it waits until the kernel's sockets are there.
	// It ends early with a *StartError when the process ends first. The caller closes the transport.
	Connect(ctx context.Context) (messaging.Transport, error)
	// Diagnose returns the tail of the process's own output, at most 16 KiB, for error messages.
	Diagnose(ctx context.Context) string
	// Meter starts measuring what the process and the workspace do from now on.
	Meter(ctx context.Context) (Meter, error)
}

// Meter measures one span of a kernel's work, normally one run.
type Meter interface {
	// Stop ends the span. It is called once.
	Stop(ctx context.Context) (Usage, error)
}

// RunMeterer is a KernelProcess that measures runs without a round trip of its own.
type RunMeterer interface {
	// MeterNext measures the next request to execute code that is sent to the kernel, from before it arrives there until the kernel
	// is idle again.
	MeterNext() Meter
}

// Usage is what a span of work used.
type Usage struct {
	CPU          time.Duration // user and system time of the process and its descendants
	PeakMemory   int64         // highest resident set of the kernel's process in the span, bytes; 0 if unknown
	Files        []FileChange  // of the workspace, by name
	FilesPartial bool          // the workspace holds more entries than are compared, so Files may miss some
	LimitsHit    []*LimitError // that were enforced meanwhile, see ExitStatus
}

// FileChange is one file that a span of work touched.
type FileChange struct {
	Path string     `json:"path"` // relative to the workspace, with slashes
	Op   ChangeKind `json:"op"`
	Size int64      `json:"size"` // bytes, after the change
}

// ChangeKind says what happened to a file.
type ChangeKind string

// What can happen to a file.
const (
	FileCreated ChangeKind = "created"
	FileChanged ChangeKind = "changed"
	FileRemoved ChangeKind = "removed"
)

// Signal is a signal by name, because instances may live on another system.
type Signal string

// The signals the engine sends.
const (
	Interrupt Signal = "SIGINT"
	Terminate Signal = "SIGTERM"
	Kill      Signal = "SIGKILL"
	Stop      Signal = "SIGSTOP" // which no code hears of; only Kill has an effect then
)

// ExitStatus is how a process ended.
type ExitStatus struct {
	Code   int    // exit code; -1 when a signal ended it
	Signal string // "SIGKILL" and so on; empty when it exited by itself
	Time   time.Time
	Limit  *LimitError // the limit that ended it; nil when none did
	// LimitsHit are the limits that were enforced while it lived, on itself or what it had started, the last time of each: a
	// child that was ended for memory, forks that were refused. One whose victim can't be told stands with all that lived then.
	// What a process is refused by its own limits (file size, open files) only it is told.
	LimitsHit []*LimitError
}
