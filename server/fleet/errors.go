package fleet

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// Facts about members. They come wrapped; ask with errors.Is.
var (
	ErrNotFound   = errors.New("sandbox was not found")
	ErrPaused     = sandbox.ErrPaused
	ErrRunning    = errors.New("sandbox is running already")
	ErrNoTemplate = errors.New("template was not found")
	ErrNoSnapshot = errors.New("snapshot was not found")
	ErrClosed     = errors.New("the daemon is ending")
	// ErrGone is the cause of contexts that ended with the member they belong to.
	ErrGone = fmt.Errorf("%w while the request was in progress", sandbox.ErrKilled)
)

// GoneError says that a sandbox is there no more, to whom it belonged. It is ErrNotFound.
type GoneError struct {
	ID     string
	Reason EndReason
	Time   time.Time
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("sandbox %s ended at %s: %s", e.ID, e.Time.UTC().Format(time.RFC3339), e.Reason)
}

// Is makes errors.Is(err, ErrNotFound) true.
func (e *GoneError) Is(target error) bool { return target == ErrNotFound }

// TemplateError says that there is no template of a name, and which there are. It is ErrNoTemplate.
type TemplateError struct {
	Name  string
	Known []string
}

func (e *TemplateError) Error() string {
	return fmt.Sprintf("template %q was not found: use one of %s", e.Name, strings.Join(e.Known, ", "))
}

// Is makes errors.Is(err, ErrNoTemplate) true.
func (e *TemplateError) Is(target error) bool { return target == ErrNoTemplate }

// SpecError is a mistake in what a sandbox was asked to be.
type SpecError struct {
	Field   string // as the protocols name it, roughly
	Problem string // what is wrong and what to do
}

func (e *SpecError) Error() string { return e.Field + ": " + e.Problem }

func specErrorf(field, format string, args ...any) error {
	return &SpecError{field, fmt.Sprintf(format, args...)}
}

// Quota names what an owner has so much of.
type Quota string

// The quotas.
const (
	QuotaSandboxes Quota = "live sandboxes"
	QuotaMemory    Quota = "memory of live sandboxes"
	QuotaCreates   Quota = "new sandboxes a minute"
	QuotaStreams   Quota = "requests at once"
	QuotaDaemon    Quota = "live sandboxes of this daemon"
	QuotaSnapshots Quota = "snapshots"
)

// LimitError says that an owner has all that they may have, or the daemon all that it can take.
type LimitError struct {
	Quota      Quota
	Allowed    int64 // a count, or bytes of memory
	Note       string
	RetryAfter time.Duration // when it may be otherwise, at the earliest; whole seconds, at least one
}

func (e *LimitError) Error() string {
	allowed := fmt.Sprint(e.Allowed)
	if e.Quota == QuotaMemory {
		allowed = fmt.Sprintf("%d MB", e.Allowed>>20)
	}
	remedy := "kill some, paused ones too, or wait for their end"
	switch e.Quota {
	case QuotaCreates, QuotaStreams:
		remedy = fmt.Sprintf("try again in %d s", e.Seconds())
	case QuotaSnapshots:
		remedy = "remove some"
	}
	text := fmt.Sprintf("limit of %s reached (%s): %s", e.Quota, allowed, remedy)
	if e.Note != "" {
		text += "; " + e.Note
	}
	return text
}

// Seconds is RetryAfter as the header of that name has it.
func (e *LimitError) Seconds() int { return max(1, int((e.RetryAfter+time.Second-1)/time.Second)) }
