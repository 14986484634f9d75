package bridge

import (
	"context"
	"encoding/json"

	"github.com/ds-sandbox/ds-sandbox/messaging"
	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// dispatch does what a request asks for. Runs are taken in the order they come; what has to ask a kernel is done beside.
func (v *viewer) dispatch(r *request) {
	refuse := func(err error) { v.answer(&answer{ID: r.ID, Error: problemOf(err)}) }
	if r.Type == "ping" {
		v.answer(&answer{ID: r.ID})
		return
	}
	c := v.context
	if r.Context != "" {
		var err error
		if c, err = v.member.Sandbox().Context(r.Context); err != nil {
			refuse(err)
			return
		}
	}
	switch r.Type {
	case "run":
		if err := v.run(c, r); err != nil {
			refuse(err)
		}
		return
	case "remove_context":
		if r.Context == "" {
			refuse(badRequest("context is missing: name the one to remove"))
			return
		}
	}
	select {
	case v.slots <- struct{}{}:
	default:
		refuse(badRequest("%d requests are under way: wait for their answers", maxAtOnce))
		return
	}
	v.tasks.Go(func() {
		defer func() { <-v.slots }()
		value, err := v.do(c, r)
		if err != nil {
			refuse(err)
			return
		}
		v.answer(&answer{ID: r.ID, Value: value})
	})
}

// run asks for a run, which does not end with the viewer.
func (v *viewer) run(c *sandbox.Context, r *request) error {
	return v.handler.run(v.member, c, &job{code: r.Code, opts: r.options(), begun: func(run int64, err error) {
		if err != nil {
			v.answer(&answer{ID: r.ID, Error: problemOf(err)})
			return
		}
		v.answer(&answer{ID: r.ID, Value: &runAnswer{Context: c.ID(), Run: run}})
	}})
}

// do does what takes its time. It ends with the viewer, but for restarts and removals.
func (v *viewer) do(c *sandbox.Context, r *request) (any, error) {
	ctx, detach := v.member.Attach(v.life)
	defer detach()
	s := v.member.Sandbox()
	switch r.Type {
	case "contexts":
		return &contextsAnswer{contextsOf(s)}, nil
	case "input":
		return nil, v.handler.answer(ctx, c, r.Run, reply{value: r.Value, end: r.End})
	}
	if err := v.member.Awake(ctx); err != nil {
		return nil, err
	}
	switch r.Type {
	case "interrupt":
		dropped := 0
		if r.Waiting {
			dropped = v.handler.dropWaiting(c)
		}
		return &interruptAnswer{dropped}, c.Interrupt(ctx)
	case "complete":
		reply, err := c.Complete(ctx, r.Code, r.Cursor)
		if err != nil {
			return nil, err
		}
		return completion(reply), nil
	case "inspect":
		reply, err := c.Inspect(ctx, r.Code, r.Cursor, r.Detail)
		if err != nil {
			return nil, err
		}
		text, _ := reply.Data.Text("text/plain")
		html, _ := reply.Data.Text("text/html")
		return &inspectAnswer{Found: reply.Found, Text: text, HTML: html}, nil
	case "restart":
		return nil, c.Restart(context.WithoutCancel(ctx))
	case "create_context":
		made, err := s.CreateContext(ctx, &sandbox.ContextOptions{Language: r.Language, Dir: r.Dir})
		if err != nil {
			return nil, err
		}
		return infoOf(made, s.DefaultContext()), nil
	case "remove_context":
		return nil, c.Remove(context.WithoutCancel(ctx))
	}
	return nil, badRequest("type %q is not known", clip(r.Type))
}

// completion is a kernel's reply with what ipykernel knows of each match.
func completion(reply *messaging.CompleteReply) *completeAnswer {
	a := &completeAnswer{Matches: make([]match, len(reply.Matches)), Start: reply.CursorStart, End: reply.CursorEnd}
	for i, text := range reply.Matches {
		a.Matches[i].Text = text
	}
	var known []struct {
		Text, Type, Signature string
	}
	if json.Unmarshal(reply.Metadata["_jupyter_types_experimental"], &known) != nil || len(known) != len(a.Matches) {
		return a
	}
	for i, k := range known {
		if k.Text == a.Matches[i].Text && k.Type != "<unknown>" {
			a.Matches[i].Kind, a.Matches[i].Signature = k.Type, k.Signature
		}
	}
	return a
}
