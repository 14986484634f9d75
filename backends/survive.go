package backends

import (
	"context"
	"errors"
)

// Adopter is a Backend whose instances outlive the program that made them, for a while. It is optional.
type Adopter interface {
	// Adopt takes over a live instance of a program that has ended or let go of it. Its kernels and commands are as they
	// were. Errors: ErrNotFound, ErrInUse.
	Adopt(ctx context.Context, id string) (Survivor, error)
	// Orphans lists the ids of instances that can be adopted.
	Orphans(ctx context.Context) ([]string, error)
}

// Survivor is an Instance of an Adopter.
type Survivor interface {
	Instance
	// Kernels lists the kernels that live. What such a kernel has sent since the last run that was over, as far as it is kept,
	// comes again by its Connect.
	Kernels(ctx context.Context) ([]KernelProcess, error)
	// SetState keeps a value of at most 64 KiB with the instance, for whoever adopts it; an empty one removes it.
	SetState(ctx context.Context, key string, value []byte) error
	// State is what SetState kept. Error: ErrNotFound.
	State(ctx context.Context, key string) ([]byte, error)
	// Release lets go of the instance without ending anything in it. Nobody can use it through this value any more; it ends by itself
	// when it is not adopted in time.
	Release(ctx context.Context) error
}

// Claimer is a Survivor that may be made as a spare. Until Claim it is no orphan when its program dies, and is removed by the next one.
type Claimer interface {
	Survivor
	// Claim makes a spare somebody's.
	Claim(ctx context.Context) error
}

// ErrInUse says that the program of an instance lives.
var ErrInUse = errors.New("instance is in use by the program that made it")
