package backends

import "context"

// Brancher is a KernelProcess of whose memory copies can be made while it lives. It is optional: a type assertion finds it.
type Brancher interface {
	// Park has the kernel make a copy of itself, which waits to be woken. ask tells the kernel to: it returns the process
	// id of a copy that listens on the unix socket of that path. The caller closes what Park returns. Errors:
	// ErrUnsupported, that of ask.
	Park(ctx context.Context, ask func(ctx context.Context, socket string) (pid int, err error)) (Parked, error)
}

// Parked is a copy of a kernel that waits. It outlives the kernel and ends with its instance.
type Parked interface {
	// Wake makes the copy a kernel, any number of times. ctx bounds the wake. Errors: *StartError, ErrDestroyed.
	Wake(ctx context.Context, cfg WakeConfig) (KernelProcess, error)
	// Close ends the copy; the kernels it became live on. It is idempotent.
	Close(ctx context.Context) error
}

// WakeConfig says what a parked copy becomes.
type WakeConfig struct {
	Into Instance // where the kernel belongs to: nil for the copy's own, or one that Fork made from that
	// Last uses the copy up: no other can be made of it, and this one comes at half the cost.
	Last bool
	// Restored says that the files are others than the copy had open: it opens them again by their names.
	Restored bool
	// Fresh gives the kernel other random numbers than those that would have come next.
	Fresh    bool
	MaxFrame int64 // as in KernelConfig
}

// Forker is an Instance that can be copied with its files. It is optional.
type Forker interface {
	// Fork makes an instance with a copy of the workspace, and of what was installed, as they are once flushed is closed. Of
	// spec it takes the ID and the variables that differ; the rest is as here. The code of the two is kept from the rest of
	// the machine, and less from each other. The caller ends it with Destroy.
	Fork(ctx context.Context, spec Spec, flushed <-chan struct{}) (Instance, error)
}

// FileSaver is an Instance whose workspace can be kept as it is at a moment. It is optional.
type FileSaver interface {
	// SaveFiles copies the workspace, without a copy of what the file system can share. The caller closes what it returns.
	// Errors: ErrUnsupported for a workspace that is a folder of the user's own; the cause of ctx.
	SaveFiles(ctx context.Context) (SavedFiles, error)
}

// SavedFiles is a copy of a workspace. It ends with its instance.
type SavedFiles interface {
	// Restore makes the workspace as it was, any number of times: what has come since is removed. Nothing else may change it meanwhile.
	Restore(ctx context.Context) error
	// Close removes the copy. It is idempotent.
	Close(ctx context.Context) error
}
