package backends

import (
	"context"
	"slices"
	"strings"
)

// StartKind is how a kernel came to be.
type StartKind string

// The kinds of starts, the fastest first.
const (
	StartSpare StartKind = "spare" // it was there already, forked or cold, and waited for somebody to need it
	StartFork  StartKind = "fork"  // a fork of a process that had imported what it needs, or of another kernel
	StartCold  StartKind = "cold"  // a new interpreter
)

// StartTeller is a KernelProcess that knows how it came to be; others are taken for cold ones.
type StartTeller interface {
	StartKind() StartKind
}

// Warmer is a Backend that prepares its starts in advance. Warm waits for that; an error says why starts are cold instead.
type Warmer interface {
	Warm(ctx context.Context) error
}

// Preloader is a Warmer that imports modules in advance. NotPreloaded are those it could not, with the reasons.
type Preloader interface {
	NotPreloaded() map[string]string
}

// Dependent is a KernelProcess that ends when another process does. Doomed reports that this has ended, which may come first.
type Dependent interface {
	Doomed() bool
}

// EnvSetter is an Instance whose processes can be given further variables from now on.
type EnvSetter interface {
	SetEnv(env map[string]string)
}

// readAtStart are beginnings of names of variables that an interpreter or a library reads once, as it is started or imported.
var readAtStart = []string{
	"PYTHON", "LD_", "DYLD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "GOTO_", "MKL_", "BLIS_",
	"VECLIB_", "NUMEXPR_", "NPY_", "ARROW_", "POLARS_", "JPY_", "DS_SANDBOX_",
}

// ReadAtStart reports whether a variable comes too late for a process that has its libraries already.
func ReadAtStart(name string) bool {
	return slices.ContainsFunc(readAtStart, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
