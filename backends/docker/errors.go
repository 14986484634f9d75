package docker

import (
	"errors"
	"fmt"

	"github.com/ds-sandbox/ds-sandbox/backends"
)

// What calls tell of a container that somebody else has ended.
var (
	errRemoved = fmt.Errorf("%w: its container was removed from outside: make another sandbox", backends.ErrDestroyed)
	errEnded   = fmt.Errorf("%w: its container has ended", backends.ErrDestroyed)
	// ErrFrozen says that somebody else has paused the container.
	ErrFrozen = errors.New("the container was paused from outside: `docker unpause` lets it go on")
)

// EndedError says that a container has ended by itself: it was stopped from outside, the engine was started anew, or its agent ended.
type EndedError struct {
	Code   int
	Detail string // the engine's; may be empty
}

func (e *EndedError) Error() string {
	why := fmt.Sprintf("its container has ended (exit code %d)", e.Code)
	switch e.Code {
	case 137:
		why = "its container was killed from outside, or the engine was started anew"
	case 143:
		why = "its container was stopped from outside"
	}
	if e.Detail != "" {
		why += ": " + e.Detail
	}
	return fmt.Sprintf("%v: %s: make another sandbox", backends.ErrDestroyed, why)
}

// Unwrap is backends.ErrDestroyed.
func (e *EndedError) Unwrap() error { return backends.ErrDestroyed }
