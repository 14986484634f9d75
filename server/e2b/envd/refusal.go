package envd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fault"
)

// refusal is an error of the protocol's own.
type refusal struct {
	status  int
	message string
}

func refusef(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

func (e *refusal) Error() string { return e.message }

// Is makes errors.Is(err, access.ErrBadKey) true of what wants another token, so that the table of faults knows it.
func (e *refusal) Is(target error) bool {
	return e.status == http.StatusUnauthorized && target == access.ErrBadKey
}

// faultOf is what an error is to plain requests.
func faultOf(err error) fault.Fault {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return fault.Fault{Status: refused.status, Message: refused.message}
	case errors.Is(err, backends.ErrNoUser):
		return fault.Fault{Status: http.StatusUnauthorized, Message: err.Error()}
	}
	return fault.Of(err)
}

// writeError answers in the form that all plain errors have (section 3.3).
func writeError(w http.ResponseWriter, err error) {
	header := w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Disposition", "Content-Length", "Last-Modified"} {
		header.Del(name)
	}
	faultOf(err).Write(w)
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	data, err := json.Marshal(value)
	if err != nil { // of values of ours
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// codes are Connect's for the kinds of faults.
var codes = map[fault.Code]connect.Code{
	fault.InvalidArgument: connect.CodeInvalidArgument, fault.Unauthorized: connect.CodeUnauthenticated,
	fault.Forbidden: connect.CodePermissionDenied, fault.NotFound: connect.CodeNotFound, fault.Conflict: connect.CodeFailedPrecondition,
	fault.TooLarge: connect.CodeResourceExhausted, fault.RateLimited: connect.CodeResourceExhausted, fault.Canceled: connect.CodeCanceled,
	fault.Unsupported: connect.CodeUnimplemented, fault.Unavailable: connect.CodeUnavailable, fault.NoSpace: connect.CodeResourceExhausted,
	fault.DeadlineExceeded: connect.CodeDeadlineExceeded, fault.KernelDied: connect.CodeUnavailable,
	fault.LimitReached: connect.CodeResourceExhausted, fault.FailedPrecondition: connect.CodeFailedPrecondition,
}

// connectError is what an error is to the services.
func connectError(err error) error {
	var told *connect.Error
	switch {
	case errors.As(err, &told):
		return told
	case errors.Is(err, backends.ErrNoUser):
		return connect.NewError(connect.CodeUnauthenticated, err)
	case errors.Is(err, fs.ErrExist):
		return connect.NewError(connect.CodeAlreadyExists, err)
	case errors.Is(err, sandbox.ErrNoStdin), errors.Is(err, sandbox.ErrNoTerminal):
		return connect.NewError(connect.CodeFailedPrecondition, err)
	case errors.Is(err, sandbox.ErrWatchLimit):
		return connect.NewError(connect.CodeResourceExhausted, err)
	}
	f := fault.Of(err)
	code, ok := codes[f.Code]
	if !ok {
		code = connect.CodeInternal
	}
	return connect.NewError(code, errors.New(strings.ToValidUTF8(f.Message, "\uFFFD")))
}

func invalidf(format string, args ...any) error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
}

// interceptor gives errors the protocol's form, cuts what belongs to a sandbox that is gone, and says that streams are not to be held
// up on their way.
type interceptor struct{}

func (interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		answer, err := next(ctx, request)
		cutIfGone(ctx)
		if err != nil {
			return nil, connectError(err)
		}
		return answer, nil
	}
}

func (interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		conn.ResponseHeader().Set("X-Accel-Buffering", "no")
		conn.ResponseHeader().Set("Cache-Control", "no-cache")
		err := next(ctx, conn)
		cutIfGone(ctx)
		if err != nil {
			return connectError(err)
		}
		return nil
	}
}
