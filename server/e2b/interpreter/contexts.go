package interpreter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ds-sandbox/ds-sandbox/backends"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
	"github.com/ds-sandbox/ds-sandbox/server/fleet"
)

// contextBody is a context as clients know it.
type contextBody struct {
	ID       string `json:"id"`
	Language string `json:"language"`
	Dir      string `json:"cwd"`
}

// home is the working directory of E2B's sandboxes.
const home = "/home/user"

// standing are the languages whose contexts are there from the start.
var standing = []string{"python", "javascript"}

// stand makes the contexts that are there from the start, without interpreters, so that those which clients make come after them.
func stand(ctx context.Context, sbx *sandbox.Sandbox) error {
	for _, language := range standing {
		_, err := sbx.LanguageContext(ctx, language)
		var missing *backends.SpecNotFoundError
		if err != nil && !errors.As(err, &missing) {
			return err
		}
	}
	return nil
}

func describe(sbx *sandbox.Sandbox, c *sandbox.Context) contextBody {
	body := contextBody{ID: c.ID(), Language: c.Language(), Dir: c.Dir()}
	if body.Dir == "" {
		body.Dir = sbx.Info().Workspace
	}
	return body
}

func (h *Handler) list(w http.ResponseWriter, r *http.Request) {
	member := fleet.From(r.Context())
	ctx, release := member.Attach(r.Context())
	defer release()
	sbx := member.Sandbox()
	if err := stand(ctx, sbx); err != nil {
		h.refuse(w, r, cause(ctx, err))
		return
	}
	bodies := []contextBody{}
	for _, c := range sbx.Contexts() {
		bodies = append(bodies, describe(sbx, c))
	}
	answer(w, bodies)
}

func (h *Handler) create(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Language *string `json:"language"`
		Dir      *string `json:"cwd"`
	}
	if err := read(w, r, &request); err != nil {
		h.refuse(w, r, err)
		return
	}
	member := fleet.From(r.Context())
	ctx, release := member.Attach(r.Context())
	defer release()
	sbx := member.Sandbox()
	c, err := h.newContext(ctx, sbx, value(request.Language), value(request.Dir))
	if err != nil {
		h.refuse(w, r, cause(ctx, err))
		return
	}
	body := describe(sbx, c)
	if dir := value(request.Dir); dir != "" {
		body.Dir = dir // as it was asked for
	}
	answer(w, body)
}

// newContext makes a context. One whose directory can't be entered begins in the workspace, as E2B's do.
func (h *Handler) newContext(ctx context.Context, sbx *sandbox.Sandbox, language, dir string) (*sandbox.Context, error) {
	if strings.ContainsRune(dir, 0) {
		return nil, &requestError{http.StatusUnprocessableEntity, "cwd holds a NUL character"}
	}
	if err := stand(ctx, sbx); err != nil {
		return nil, err
	}
	options := &sandbox.ContextOptions{Language: language, Dir: local(sbx, dir)}
	c, err := sbx.CreateContext(ctx, options)
	var missing *backends.SpecNotFoundError
	if err == nil || dir == "" || ctx.Err() != nil || errors.As(err, &missing) {
		return c, err
	}
	h.options.Logger.Info("context begins in the workspace", "sandbox", sbx.ID(), "reason", err)
	options.Dir = ""
	return sbx.CreateContext(ctx, options)
}

// local is a directory as this sandbox names it: the home of E2B's sandboxes is the workspace, wherever that is.
func local(sbx *sandbox.Sandbox, dir string) string {
	workspace := sbx.Info().Workspace
	if rest, ok := strings.CutPrefix(dir, home); ok && (rest == "" || rest[0] == '/') {
		return workspace + rest
	}
	return dir
}

func (h *Handler) remove(w http.ResponseWriter, r *http.Request) {
	h.change(w, r, func(ctx context.Context, c *sandbox.Context) error { return c.Remove(ctx) })
}

func (h *Handler) restart(w http.ResponseWriter, r *http.Request) {
	h.change(w, r, func(ctx context.Context, c *sandbox.Context) error { return c.Restart(ctx) })
}

// change does something with a context and answers null. What is begun is done, also for a client that has left.
func (h *Handler) change(w http.ResponseWriter, r *http.Request, do func(context.Context, *sandbox.Context) error) {
	member := fleet.From(r.Context())
	ctx, release := member.Attach(context.WithoutCancel(r.Context()))
	defer release()
	c, err := find(ctx, member.Sandbox(), r.PathValue("id"))
	if err == nil {
		err = do(ctx, c)
	}
	if err != nil {
		h.refuse(w, r, cause(ctx, err))
		return
	}
	answer(w, nil)
}

// find is a context by its id.
func find(ctx context.Context, sbx *sandbox.Sandbox, id string) (*sandbox.Context, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	c, err := sbx.Context(id)
	if err != nil {
		return nil, &requestError{http.StatusNotFound, fmt.Sprintf("Context %s not found", id)}
	}
	return c, nil
}

// cause prefers why the request ended as the reason of an error.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
