package fault

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// Code is a word for a kind of fault, that of Connect's protocol where it has one.
type Code string

// The codes.
const (
	InvalidArgument    Code = "invalid_argument"
	Unauthorized       Code = "unauthorized"
	Forbidden          Code = "forbidden"
	NotFound           Code = "not_found"
	Conflict           Code = "conflict"
	TooLarge           Code = "too_large"
	RateLimited        Code = "rate_limited"
	Canceled           Code = "canceled"
	Internal           Code = "internal"
	Unsupported        Code = "unsupported"
	Unavailable        Code = "unavailable"
	DeadlineExceeded   Code = "deadline_exceeded"
	NoSpace            Code = "no_space"
	KernelDied         Code = "kernel_died"
	LimitReached       Code = "limit_reached"
	FailedPrecondition Code = "failed_precondition"
)

// StatusCanceled is the status of what nobody waits for any more.
const StatusCanceled = 499

// Fault is an error as a client is told of it.
type Fault struct {
	Status     int // of HTTP
	Code       Code
	Message    string
	RetryAfter int // seconds; 0 is no word of it
}

// entry is one line of the table.
type entry struct {
	is     func(error) bool
	status int
	code   Code
}

// is is an entry for errors that are one of these.
func is(status int, code Code, targets ...error) entry {
	return entry{func(err error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}, status, code}
}

// as is an entry for errors that are of a type.
func as[T error](status int, code Code) entry {
	return entry{func(err error) bool {
		var target T
		return errors.As(err, &target)
	}, status, code}
}

// table is gone through from the top: what says more comes first.
var table = []entry{
	is(http.StatusUnauthorized, Unauthorized, access.ErrNoKey, access.ErrBadKey),
	is(http.StatusForbidden, Forbidden, access.ErrForeign),
	as[*fleet.LimitError](http.StatusTooManyRequests, RateLimited),
	as[*fleet.SpecError](http.StatusBadRequest, InvalidArgument),
	as[*http.MaxBytesError](http.StatusRequestEntityTooLarge, TooLarge),

	is(http.StatusNotFound, NotFound, fleet.ErrNotFound, fleet.ErrNoTemplate, fleet.ErrNoSnapshot, sandbox.ErrKilled, sandbox.ErrRemoved,
		backends.ErrDestroyed),
	is(http.StatusConflict, Conflict, fleet.ErrPaused, fleet.ErrRunning),
	is(http.StatusServiceUnavailable, Unavailable, fleet.ErrClosed, sandbox.ErrClosed, sandbox.ErrDetached),

	is(http.StatusNotImplemented, Unsupported, backends.ErrUnsupported),
	as[*backends.SpecNotFoundError](http.StatusBadRequest, InvalidArgument),
	is(http.StatusInsufficientStorage, NoSpace, backends.ErrNoSpace),
	is(http.StatusRequestEntityTooLarge, TooLarge, sandbox.ErrTooLarge),
	is(http.StatusBadRequest, InvalidArgument,
		backends.ErrInvalidName, backends.ErrOutside, backends.ErrNotRegular, backends.ErrIsDir, backends.ErrNotDir, backends.ErrNotEmpty,
		backends.ErrNoStdin, backends.ErrNoTerminal, backends.ErrInvalidNetwork,
		sandbox.ErrInvalidCode, sandbox.ErrInvalidEnv, sandbox.ErrForeignContext,
		kernel.ErrNotExecute),
	as[*sandbox.RefusedError](http.StatusConflict, FailedPrecondition),
	is(http.StatusConflict, FailedPrecondition, sandbox.ErrCulled, sandbox.ErrReentrant),

	as[*sandbox.LimitError](http.StatusInsufficientStorage, LimitReached),
	is(http.StatusGatewayTimeout, DeadlineExceeded, sandbox.ErrTimeout, context.DeadlineExceeded),
	is(http.StatusBadGateway, KernelDied, kernel.ErrDead, kernel.ErrStuck, kernel.ErrInterruptTimeout, kernel.ErrNoReply),
	as[*backends.StartError](http.StatusBadGateway, KernelDied),

	is(http.StatusNotFound, NotFound, sandbox.ErrNotFound, fs.ErrNotExist),
	is(http.StatusConflict, Conflict, fs.ErrExist),
	is(http.StatusForbidden, Forbidden, fs.ErrPermission),
	is(StatusCanceled, Canceled, context.Canceled),
}

// internalMessage is all that a client learns of a fault of ours.
const internalMessage = "internal error: the daemon's log tells more"

// lookUp finds the line of the table for an error; ok is false when there is none.
func lookUp(err error) (e entry, ok bool) {
	for _, e := range table {
		if e.is(err) {
			return e, true
		}
	}
	return entry{status: http.StatusInternalServerError, code: Internal}, false
}

// Of is what a client is told of an error. One that the table does not know is internal: it is logged, and the client learns nothing of it.
func Of(err error) Fault {
	e, known := lookUp(err)
	f := Fault{Status: e.status, Code: e.code, Message: internalMessage}
	if !known {
		slog.Error("internal error", "error", err)
		return f
	}
	f.Message = err.Error()
	var limit *fleet.LimitError
	if errors.As(err, &limit) {
		f.RetryAfter = limit.Seconds()
	}
	return f
}

// CodeOf is the code of an error, for figures.
func CodeOf(err error) Code {
	e, _ := lookUp(err)
	return e.code
}
