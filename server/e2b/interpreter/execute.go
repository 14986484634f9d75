package interpreter

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// executeRequest is the body of a run.
type executeRequest struct {
	Code     *string           `json:"code"`
	Context  *string           `json:"context_id"`
	Language *string           `json:"language"`
	Env      map[string]string `json:"env_vars"`
}

// execute runs code and streams what it does.
func (h *Handler) execute(w http.ResponseWriter, r *http.Request) {
	member := fleet.From(r.Context())
	ctx, release := member.Attach(r.Context())
	defer release()
	var request executeRequest
	err := admit(r, member)
	if err == nil {
		err = read(w, r, &request)
	}
	var c *sandbox.Context
	if err == nil {
		c, err = contextFor(ctx, member.Sandbox(), &request)
	}
	if err != nil {
		h.refuse(w, r, cause(ctx, err))
		return
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	s := h.open(w, leave)
	defer s.close()
	if err = c.Wake(ctx); err == nil {
		s.begin()
		err = h.run(ctx, s, c, &request, member)
	} else if s.withdraw() {
		h.refuse(w, r, cause(ctx, err))
		return
	}
	if err != nil {
		h.abortIfGone(r, err)
		if ctx.Err() != nil { // nobody reads any more
			h.options.Logger.Debug("run was left", "sandbox", member.ID(), "reason", context.Cause(ctx))
			return
		}
		s.fail(err)
	}
	s.end()
}

// run runs the code and tells what it does, and the member how it went.
func (h *Handler) run(ctx context.Context, s *stream, c *sandbox.Context, request *executeRequest, member *fleet.Member) error {
	begun := time.Now()
	raised, err := follow(ctx, s, c, request)
	member.NoteRun(fleet.Run{Language: c.Language(), Took: time.Since(begun), Raised: raised, Err: err})
	return err
}

// follow runs the code and passes on what it does, until its end.
func follow(ctx context.Context, s *stream, c *sandbox.Context, request *executeRequest) (raised *sandbox.ExecutionError, err error) {
	run, err := start(ctx, s, c, request)
	if err != nil {
		return nil, notRun{err}
	}
	defer func() { _ = run.Close() }()
	reading := context.WithoutCancel(ctx) // the run itself ends with ctx
	for held := false; ; {
		out, err := run.Next(reading)
		if held && !errors.Is(err, sandbox.ErrRestarted) {
			s.output(raised)
			held = false
		}
		switch {
		case errors.Is(err, io.EOF):
			return raised, nil
		case err != nil:
			return raised, err
		}
		if e, ok := out.(*sandbox.ExecutionError); ok {
			raised = e
			if held = e.Name == "KeyboardInterrupt"; held { // until it is known that no restart did it
				continue
			}
		}
		s.output(out)
	}
}

// start starts the code. An interpreter that an earlier run's interrupt did not stop is started anew, unless it is Python's, which
// comes to its interrupt at last and has its variables then.
func start(ctx context.Context, s *stream, c *sandbox.Context, request *executeRequest) (*sandbox.Run, error) {
	options := &sandbox.RunOptions{
		Env: request.Env,
		// The client, or the sandbox's end, ends the run.
		Timeout: sandbox.NoTimeout,
		// All goes out at once: nothing need be kept.
		MaxOutput: 1,
	}
	run, err := c.StartCode(ctx, *request.Code, options)
	if !errors.Is(err, kernel.ErrStuck) || c.Language() == "python" {
		return run, err
	}
	if err := c.Restart(ctx); err != nil {
		return nil, err
	}
	s.note("an earlier run could not be interrupted: its interpreter was started anew, and its variables are lost")
	return c.StartCode(ctx, *request.Code, options)
}

// contextFor is where the code runs.
func contextFor(ctx context.Context, sbx *sandbox.Sandbox, request *executeRequest) (*sandbox.Context, error) {
	if request.Code == nil {
		return nil, &requestError{http.StatusUnprocessableEntity, "code is missing: give the code to run, a string"}
	}
	id, language := value(request.Context), value(request.Language)
	if id != "" && language != "" {
		return nil, &requestError{http.StatusBadRequest, "Only one of context_id or language can be provided"}
	}
	if id != "" {
		return find(ctx, sbx, id)
	}
	return sbx.LanguageContext(ctx, language)
}

// admit refuses a run with another sandbox's token. Clients need not send one, and some do not: whether a sandbox's traffic is
// public is decided where it comes in.
func admit(r *http.Request, member *fleet.Member) error {
	token, wanted := r.Header.Get("X-Access-Token"), member.AccessToken()
	if token == "" || wanted == "" || subtle.ConstantTimeCompare([]byte(token), []byte(wanted)) == 1 {
		return nil
	}
	return &requestError{http.StatusUnauthorized, "the access token in X-Access-Token is not this sandbox's"}
}

// notRun is why code was not run at all.
type notRun struct{ error }

func (e notRun) Unwrap() error { return e.error }

// The names of errors that are the interpreter's and not the code's, as E2B has them.
const (
	nameEnded     = "UnexpectedEndOfExecution"
	nameAborted   = "ExecutionAborted"
	nameRestarted = "ContextRestarting"
)

// fail tells of a run that did not come to its end.
func (s *stream) fail(err error) {
	name, text := nameEnded, err.Error()
	switch {
	case errors.Is(err, sandbox.ErrRestarted):
		name, text = nameRestarted, "Context was restarted"
	case errors.As(err, new(notRun)):
		name = nameAborted
	}
	s.output(&sandbox.ExecutionError{Name: name, Value: text, Traceback: name + ": " + text})
}
