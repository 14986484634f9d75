package docker

import (
	"context"
	"errors"

	"github.com/ds-sandbox/ds-sandbox/agent/remote"
	"github.com/ds-sandbox/ds-sandbox/backends"
)

// What has become of a container that its agent can no longer tell.

// drop ends the connection, if there is one, and waits for that.
func (in *instance) drop() {
	in.endWith(&end{err: backends.ErrDestroyed})
	in.closing.Wait()
}

// look finds out whether the container still runs, and ends what waits for it if it does not.
func (in *instance) look(ctx context.Context) {
	id := in.containerID()
	if id == "" {
		return
	}
	wrong, paused, err := in.backend.inspect(ctx, id, in.limits)
	switch {
	case err != nil:
		in.backend.config.Logger.Debug("look at container", "sandbox", in.id, "error", err)
	case wrong != nil:
		in.endWith(wrong)
	default:
		in.freeze(paused)
	}
}

// freeze notes that somebody else has paused the container, or lets it go on. A frozen agent does not answer, and is not lost for that.
func (in *instance) freeze(paused bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.frozen == paused || paused && in.snapping {
		return
	}
	in.frozen = paused
	switch {
	case in.client == nil:
	case paused:
		in.client.Freeze()
	default:
		in.client.Thaw()
	}
}

// endWith notes that the container has ended, and ends the connection: what waits for the agent hears of it.
func (in *instance) endWith(wrong *end) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.wrong != nil {
		return
	}
	in.wrong = wrong
	if in.inner != nil {
		in.inner.Forsake(wrong.limit)
	}
	if in.client != nil {
		in.closing.Go(func() { _ = in.client.Close() }) // which waits for a dial, and that may be who tells us
	}
}

// check is state, once more asked for where it may be that the container goes on and we have not heard of it yet.
func (in *instance) check(ctx context.Context) error {
	err := in.state()
	if errors.Is(err, ErrFrozen) {
		in.look(ctx)
		err = in.state()
	}
	return err
}

// state tells why nothing can be asked of the container; nil when it can.
func (in *instance) state() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.wrong != nil:
		return in.wrong.err
	case in.frozen:
		return ErrFrozen
	}
	return nil
}

// fate is how the container ended; nil while it runs.
func (in *instance) fate() *end {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.wrong
}

// explain is an error of the connection with what the engine knows about the container.
func (in *instance) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	in.look(context.WithoutCancel(ctx))
	if wrong := in.fate(); wrong != nil {
		return wrong.err
	}
	return err
}

// lost is an error of a call or, if that came of it, how the container ended or that it is paused.
func (in *instance) lost(err error) error {
	if state := in.state(); state != nil && (errors.Is(err, remote.ErrLost) || errors.Is(err, remote.ErrClosed) ||
		errors.Is(err, backends.ErrDestroyed) || errors.Is(err, backends.ErrPaused)) {
		return state
	}
	return err
}
