package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ds-sandbox/ds-sandbox/sandbox"
)

// begin starts the member's time.
func (m *Member) begin() {
	m.mu.Lock()
	m.started = time.Now()
	m.endAt(m.started.Add(m.spec.Timeout))
	m.mu.Unlock()
	m.Log("info", "sandbox started", map[string]string{"template": m.template, "start": string(m.sandbox.Info().Start.Kind)})
}

// endAt lets the member's time end then; mu is held.
func (m *Member) endAt(t time.Time) {
	m.ends = t
	m.stopTimer()
	if m.dead || m.state != Running {
		return
	}
	epoch := m.epoch
	m.timer = time.AfterFunc(time.Until(t), func() {
		m.fleet.spawn(func() { m.expire(epoch) })
	})
}

// stopTimer stops the time; mu is held. A timer that has gone off already finds another epoch.
func (m *Member) stopTimer() {
	m.epoch++
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
}

// expire does what is to be done at the end of the time, unless another end was set meanwhile.
func (m *Member) expire(epoch int) {
	m.mu.Lock()
	due, action := m.epoch == epoch && !m.dead, m.spec.OnTimeout
	m.mu.Unlock()
	if !due {
		return
	}
	if action == Pause {
		err := m.pause(context.Background(), epoch)
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrPaused) || errors.Is(err, errPutOff) {
			return
		}
		m.fleet.options.Logger.Warn("pause sandbox whose time is over: it is killed instead", "sandbox", m.id, "error", err)
	}
	if err := m.end(context.Background(), EndedTimeout); err != nil && !errors.Is(err, ErrNotFound) {
		m.fleet.options.Logger.Warn("kill sandbox whose time is over", "sandbox", m.id, "error", err)
	}
}

// errPutOff says that the end was put off while its timer waited for its turn.
var errPutOff = errors.New("the end was put off")

// inTurn does something that must be alone with the member's power. Errors: ErrNotFound, the cause of ctx.
func (m *Member) inTurn(ctx context.Context, act func(ctx context.Context) error) error {
	ctx, detach := m.Attach(ctx)
	defer detach()
	if err := m.turn.Acquire(ctx, 1); err != nil {
		return m.reason(context.Cause(ctx))
	}
	defer m.turn.Release(1)
	if m.life.Err() != nil {
		return m.notFound()
	}
	return m.reason(act(ctx))
}

// reason prefers the end of the member as the reason of an error.
func (m *Member) reason(err error) error {
	if err != nil && m.life.Err() != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrNotFound, ErrGone)
	}
	return err
}

func (m *Member) notFound() error { return fmt.Errorf("%w: %q", ErrNotFound, m.id) }

// SetTimeout lets the member's time end d from now. Errors: *SpecError, ErrPaused, ErrNotFound.
func (m *Member) SetTimeout(d time.Duration) error {
	return m.putOff(d, func(_, asked time.Time) time.Time { return asked })
}

// Extend is SetTimeout that never makes the time shorter.
func (m *Member) Extend(d time.Duration) error {
	return m.putOff(d, later)
}

func later(now, asked time.Time) time.Time {
	if asked.After(now) {
		return asked
	}
	return now
}

func (m *Member) putOff(d time.Duration, choose func(now, asked time.Time) time.Time) error {
	if err := m.checkTimeout(d); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.dead:
		return m.notFound()
	case m.state != Running:
		return ErrPaused
	}
	if end := choose(m.ends, time.Now().Add(d)); !end.Equal(m.ends) {
		m.endAt(end)
	}
	return nil
}

func (m *Member) checkTimeout(d time.Duration) error {
	if d <= 0 {
		return specErrorf("timeout", "%v is none: use a positive one", d)
	}
	return checkTimeout(d, m.fleet.options.MaxTimeout)
}

// Pause stops everything in the sandbox where it is, until Resume; its time stands still. Errors: ErrPaused when it is already,
// ErrNotFound, backends.ErrUnsupported, the cause of ctx.
func (m *Member) Pause(ctx context.Context) error { return m.pause(ctx, anyEpoch) }

// anyEpoch is the epoch of what no timer asks for.
const anyEpoch = -1

// pause pauses; for a timer that has gone off only if its time still holds.
func (m *Member) pause(ctx context.Context, epoch int) error {
	return m.inTurn(ctx, func(ctx context.Context) error {
		m.mu.Lock()
		switch {
		case m.state == Paused:
			m.mu.Unlock()
			return ErrPaused
		case epoch != anyEpoch && epoch != m.epoch:
			m.mu.Unlock()
			return errPutOff
		}
		m.state = Paused // before it is: nobody shall come in
		ends := m.ends
		m.stopTimer()
		m.mu.Unlock()
		if err := m.sandbox.Pause(ctx); err != nil {
			m.mu.Lock()
			m.state = Running
			m.endAt(ends)
			m.mu.Unlock()
			return err
		}
		m.Log("info", "sandbox paused", nil)
		return nil
	})
}

// Resume lets a paused member go on for a time, 0 being that of its creation. Errors: ErrRunning, *SpecError, ErrNotFound, the cause
// of ctx.
func (m *Member) Resume(ctx context.Context, timeout time.Duration) error {
	resumed, err := m.wake(ctx, timeout)
	if err == nil && !resumed {
		return ErrRunning
	}
	return err
}

// Connect has the member running for a time at least, 0 being that of its creation: it is resumed if it was paused, and its end is never
// brought forward. Errors: *SpecError, ErrNotFound, the cause of ctx.
func (m *Member) Connect(ctx context.Context, timeout time.Duration) (resumed bool, err error) {
	resumed, err = m.wake(ctx, timeout)
	if err != nil || resumed {
		return resumed, err
	}
	if timeout == 0 {
		timeout = m.Info().Timeout
	}
	return false, m.Extend(timeout)
}

// Awake is for requests that the sandbox itself is to answer: it resumes a paused one that AutoResume was set for. Errors: ErrPaused,
// ErrNotFound, the cause of ctx.
func (m *Member) Awake(ctx context.Context) error {
	m.mu.Lock()
	state, auto, dead := m.state, m.spec.AutoResume, m.dead
	m.mu.Unlock()
	switch {
	case dead:
		return m.notFound()
	case state == Running:
		return nil
	case !auto:
		return ErrPaused
	}
	_, err := m.wake(ctx, 0)
	return err
}

// wake resumes a member that is paused.
func (m *Member) wake(ctx context.Context, timeout time.Duration) (resumed bool, err error) {
	if timeout == 0 {
		timeout = m.Info().Timeout
	}
	if err := m.checkTimeout(timeout); err != nil {
		return false, err
	}
	err = m.inTurn(ctx, func(ctx context.Context) error {
		m.mu.Lock()
		paused := m.state == Paused
		m.mu.Unlock()
		if !paused {
			return nil
		}
		if err := m.sandbox.Resume(ctx); err != nil {
			return err
		}
		m.mu.Lock()
		m.state, m.started = Running, time.Now()
		m.endAt(m.started.Add(timeout))
		m.mu.Unlock()
		resumed = true
		m.Log("info", "sandbox resumed", nil)
		return nil
	})
	return resumed, err
}

// Kill ends the member: its connections are cut at once, and when Kill returns nothing is left of it. ctx bounds the wait only.
// Error: ErrNotFound when it was killed before.
func (m *Member) Kill(ctx context.Context) error { return m.end(ctx, EndedKilled) }

func (m *Member) end(ctx context.Context, why EndReason) error {
	f := m.fleet
	m.mu.Lock()
	first := !m.dead
	m.dead = true
	m.stopTimer()
	m.mu.Unlock()
	if first {
		m.Log("info", "sandbox ended: "+string(why), nil)
		f.options.Logger.Info("sandbox ended", "sandbox", m.id, "owner", m.owner.Name, "reason", string(why))
		f.mu.Lock()
		delete(f.members, m.id)
		f.gone.add(m.id, tombstone{owner: m.owner.Name, reason: why, time: time.Now()})
		closed := f.closed
		if !closed {
			f.tasks.Go(m.destroy)
		}
		f.mu.Unlock()
		m.finish(ErrGone)
		if closed { // Close waits for its end
			go m.destroy()
		}
		if f.options.Observer.Ended != nil {
			f.options.Observer.Ended(m, why)
		}
	}
	select {
	case <-m.ended:
	case <-ctx.Done():
		return fmt.Errorf("kill %s: still ending: %w", m.id, context.Cause(ctx))
	}
	if !first {
		return m.notFound()
	}
	return m.endErr
}

// killTime bounds the end of a sandbox, after which its place is free again whatever has become of it.
const killTime = 2 * time.Minute

// destroy leaves nothing of a member.
func (m *Member) destroy() {
	defer close(m.ended)
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	if m.endErr = m.sandbox.Kill(ctx); m.endErr != nil {
		m.fleet.options.Logger.Error("sandbox does not end", "sandbox", m.id, "error", m.endErr)
	}
	m.giveBack()
	m.from.release(m.fleet)
}

// Dead reports whether an error says that a sandbox is no more.
func Dead(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrGone) || errors.Is(err, sandbox.ErrKilled)
}
