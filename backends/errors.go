package backends

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Facts that any backend may report.
var (
	ErrNotFound    = errors.New("not found")
	ErrUnsupported = errors.New("not supported by this backend")
	ErrDestroyed   = errors.New("instance is destroyed")
	ErrPaused      = errors.New("sandbox is paused: call Resume first")
	// ErrCut says that the connection to an instance broke in the middle of a transfer, which may be tried again from its beginning.
	ErrCut = errors.New("the connection broke in the middle of it: try again")

	ErrInvalidName = errors.New("not a valid file name: use valid UTF-8 without NUL, each element at most 255 bytes")
	ErrOutside     = errors.New("path leads out of the workspace: use a path inside it")
	ErrNotRegular  = errors.New("not a regular file")
	ErrIsDir       = fmt.Errorf("%w: it is a folder", ErrNotRegular)
	ErrNotDir      = errors.New("not a folder")
	ErrNotEmpty    = errors.New("folder is not empty: remove what is in it first")
	ErrNoSpace     = errors.New("no space left: remove files, or ask for more disk")

	// What an upload finds of a folder that is in use.
	ErrVanished = errors.New("it was removed or replaced meanwhile: upload again")
	ErrChanged  = errors.New("it changed whenever it was read, so what was sent may be of two times: upload again when it is at rest")
	ErrLoop     = errors.New("links lead in a circle")

	ErrWatchLimit = errors.New("more than can be watched")

	// ErrInvalidNetwork is what mistakes in a Network are.
	ErrInvalidNetwork = errors.New("network can't be as it is asked for")
)

// SpecNotFoundError says that no kernelspec of a name exists, which ones do, and where they were looked for.
type SpecNotFoundError struct {
	Name     string
	Found    []string
	Searched []string
	Skipped  []SkippedSpec // maybe it is one of these
}

// SkippedSpec is a kernelspec that can't be read.
type SkippedSpec struct {
	Path   string `json:"path"` // of its kernel.json
	Reason string `json:"reason"`
}

func (s SkippedSpec) String() string { return "skipped: " + s.Path + ": " + s.Reason }

// SpecSkipper is an optional power of a Backend: it tells which kernelspecs it found and can't read.
type SpecSkipper interface {
	SkippedSpecs(ctx context.Context) ([]SkippedSpec, error)
}

func (e *SpecNotFoundError) Error() string {
	found := "none"
	if len(e.Found) > 0 {
		found = strings.Join(e.Found, ", ")
	}
	msg := fmt.Sprintf("kernel %q not found; installed kernels: %s; searched: %s",
		e.Name, found, strings.Join(e.Searched, ", "))
	for _, s := range e.Skipped {
		msg += "; " + s.String()
	}
	return msg
}

// Is makes errors.Is(err, ErrNotFound) true.
func (e *SpecNotFoundError) Is(target error) bool { return target == ErrNotFound }

// StartError says why a kernel did not come up.
type StartError struct {
	Kernel    string // kernelspec name
	Stage     string // "launch", "connect" or "handshake"
	Diagnosis string // tail of the process's own output; may be empty
	Remedy    string // what to do about it; may be empty
	Err       error
}

func (e *StartError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "start kernel %s: %s: %v", e.Kernel, e.Stage, e.Err)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	if e.Diagnosis != "" {
		b.WriteString("\n" + e.Diagnosis)
	}
	return b.String()
}

func (e *StartError) Unwrap() error { return e.Err }

// ExitError says that a process ended when it should not have.
type ExitError struct {
	Status ExitStatus
	Output string // tail of its own output; may be empty
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("exited with code %d", e.Status.Code)
	if e.Status.Signal != "" {
		how = "was ended by " + e.Status.Signal
	}
	if e.Status.Limit != nil {
		return "process " + how + ": " + e.Status.Limit.Error()
	}
	if tail := strings.TrimSpace(e.Output); tail != "" {
		return "process " + how + ": " + tail
	}
	return "process " + how
}

// Unwrap is the *LimitError of a process that a limit ended.
func (e *ExitError) Unwrap() error {
	if e.Status.Limit == nil {
		return nil
	}
	return e.Status.Limit
}

// SkippedError says that a transfer of a tree is complete but for entries that were left out: what may not be read
// (fs.ErrPermission), links that lead out of it (ErrOutside), nowhere (fs.ErrNotExist) or in a circle (ErrLoop), what is neither a
// file nor a folder (ErrNotRegular), what vanished (ErrVanished) or never stood still (ErrChanged, of which something was sent).
type SkippedError struct {
	Skipped []Skipped // the first of them, MaxSkipped at most
	Count   int       // of all
}

// Skipped is an entry that was left out; of a folder, what is in it.
type Skipped struct {
	Name string // relative to the tree
	Err  error
}

// MaxSkipped is how many entries a SkippedError tells one by one.
const MaxSkipped = 100

// Add notes an entry.
func (e *SkippedError) Add(name string, err error) {
	e.Count++
	if len(e.Skipped) < MaxSkipped {
		e.Skipped = append(e.Skipped, Skipped{Name: strings.ToValidUTF8(name, "\uFFFD"), Err: err})
	}
}

// Merge notes what another one has.
func (e *SkippedError) Merge(other *SkippedError) {
	for _, s := range other.Skipped {
		e.Add(s.Name, s.Err)
	}
	e.Count += other.Count - len(other.Skipped)
}

// OrNil is the error, or nil when nothing was left out.
func (e *SkippedError) OrNil() error {
	if e.Count == 0 {
		return nil
	}
	return e
}

// maxNamed is how many entries a message names.
const maxNamed = 3

func (e *SkippedError) Error() string {
	named := make([]string, 0, maxNamed)
	for _, s := range e.Skipped[:min(maxNamed, len(e.Skipped))] {
		named = append(named, fmt.Sprintf("%q: %v", s.Name, s.Err))
	}
	if more := e.Count - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("complete but for %d left out: %s", e.Count, strings.Join(named, "; "))
}

// Unwrap is why each was left out.
func (e *SkippedError) Unwrap() []error {
	errs := make([]error, len(e.Skipped))
	for i, s := range e.Skipped {
		errs[i] = s.Err
	}
	return errs
}
