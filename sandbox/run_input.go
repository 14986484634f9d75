package sandbox

import (
	"context"
	"errors"

	"github.com/ds-sandbox/ds-sandbox/kernel"
	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// answer gives the code the line it asks for.
func (r *Run) answer(ctx context.Context, request *messaging.InputRequest) {
	value, err := r.askInput(request)
	if err != nil {
		if r.ctx.Err() != nil {
			return // the run is being interrupted, which ends the input better
		}
		value = messaging.EndOfInput
	}
	// Before it is sent, for the kernel is fast. An answer that can't be sent means that the run is ending, which Next tells.
	kept := value
	if request.Password || err != nil {
		kept = ""
	}
	r.context.journal.answered(r.record, kept)
	if err := r.execution.Reply(ctx, value); err != nil && !errors.Is(err, kernel.ErrNoInput) {
		r.context.sandbox.engine.config.Logger.Debug("answer input", "error", err)
	}
}

func (r *Run) askInput(request *messaging.InputRequest) (string, error) {
	waiting, stop := context.WithCancelCause(r.ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-r.execution.Done():
			stop(errInputOver)
		case <-waiting.Done():
		}
	}()
	defer func() {
		stop(nil)
		<-watched
	}()
	if r.opts.OnInput == nil { // of a run of another program, which could answer
		return "", errNoInput
	}
	defer r.context.enterCallback(r.goroutine)()
	return r.opts.OnInput(waiting, request.Prompt, request.Password)
}

// errNoInput ends an input that nobody answers.
var errNoInput = errors.New("nobody answers input: set OnInput")

// errInputOver is the end of a run that had asked for input.
var errInputOver = errors.New("the run that asked for input is over")
