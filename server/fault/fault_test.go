package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/access"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

func TestErrorsAreToldAsWhatTheyAre(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		code   Code
	}{
		{access.ErrNoKey, 401, Unauthorized},
		{access.ErrBadKey, 401, Unauthorized},
		{access.ErrForeign, 403, Forbidden},
		{&fleet.LimitError{Quota: fleet.QuotaCreates}, 429, RateLimited},
		{&fleet.SpecError{Field: "x"}, 400, InvalidArgument},
		{fleet.ErrNotFound, 404, NotFound},
		{&fleet.GoneError{ID: "x"}, 404, NotFound},
		{&fleet.TemplateError{Name: "x"}, 404, NotFound},
		{fleet.ErrGone, 404, NotFound},
		{sandbox.ErrNotFound, 404, NotFound},
		{sandbox.ErrPaused, 409, Conflict},
		{fleet.ErrRunning, 409, Conflict},
		{fleet.ErrClosed, 503, Unavailable},
		{backends.ErrUnsupported, 501, Unsupported},
		{&backends.SpecNotFoundError{Name: "r"}, 400, InvalidArgument},
		{fmt.Errorf("%w: %w", backends.ErrNoSpace, &sandbox.LimitError{Limit: backends.LimitDisk}), 507, NoSpace},
		{backends.ErrOutside, 400, InvalidArgument},
		{backends.ErrInvalidNetwork, 400, InvalidArgument},
		{&sandbox.RefusedError{}, 409, FailedPrecondition},
		{errors.Join(kernel.ErrDead, &sandbox.LimitError{Limit: backends.LimitMemory}), 507, LimitReached},
		{kernel.ErrDead, 502, KernelDied},
		{&backends.StartError{Err: errors.New("x")}, 502, KernelDied},
		{&sandbox.TimeoutError{Timeout: time.Second}, 504, DeadlineExceeded},
		{fs.ErrNotExist, 404, NotFound},
		{fs.ErrPermission, 403, Forbidden},
		{&http.MaxBytesError{Limit: 1}, 413, TooLarge},
		{context.Canceled, 499, Canceled},
	} {
		f := Of(fmt.Errorf("wrapped: %w", test.err))
		require.Equal(t, test.status, f.Status, test.err)
		require.Equal(t, test.code, f.Code, test.err)
		require.Equal(t, test.code, CodeOf(test.err), test.err)
		require.Contains(t, f.Message, test.err.Error())
	}
}

func TestUnknownErrorsAreLoggedAndNotTold(t *testing.T) {
	var log logged
	before := slog.Default()
	slog.SetDefault(slog.New(&log))
	defer slog.SetDefault(before)
	f := Of(errors.New("open /root/secret: no such device"))
	require.Equal(t, 500, f.Status)
	require.NotContains(t, f.Message, "secret")
	require.Equal(t, 1, log.records)
}

type logged struct{ records int }

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) Handle(context.Context, slog.Record) error {
	l.records++
	return nil
}

func (l *logged) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *logged) WithGroup(string) slog.Handler { return l }

func TestFaultIsWrittenInTheFormOfE2B(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, &fleet.LimitError{Quota: fleet.QuotaCreates, Allowed: 3, RetryAfter: 1500 * time.Millisecond})
	require.Equal(t, 429, w.Code)
	require.Equal(t, "2", w.Header().Get("Retry-After"))
	require.JSONEq(t, `{"code": 429, "message": "limit of new sandboxes a minute reached (3): try again in 2 s"}`, w.Body.String())
}
