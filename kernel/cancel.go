package kernel

import (
	"context"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// Interrupts are sent only while the kernel runs the code they are meant for. One that comes earlier is lost:
// ipykernel ignores SIGINT until its handler runs, also when a callback of an earlier run's holds it up, and dies of it before it
// is initialised. One that waits for a paused process
// may be taken by any of its threads as it goes on, and then does not wake the one that sleeps in the code.

// runsAfter is how long after busy the code counts as running when the kernel sends no execute_input.
const runsAfter = 100 * time.Millisecond

// afterResume is how long after a pause a process's threads have taken up their work again.
const afterResume = 50 * time.Millisecond

// Interrupt stops the run: at once when its code runs, else as soon as it does. It returns before the
// kernel has reacted and does nothing when the run is over. It may be called again.
func (e *Execution) Interrupt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.gotReply || e.gotIdle {
		return
	}
	e.wanted = 1
	e.sendWanted()
}

// advance moves the run's phase on, never back, and sends an interrupt that waited for it.
func (e *Execution) advance(to phase) {
	if to <= e.phase {
		return
	}
	if e.phase == phaseSent {
		if e.onStart != nil && !e.over {
			e.onStart()
		}
		if to == phaseBusy && !e.over {
			time.AfterFunc(runsAfter, func() {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.advance(phaseRuns)
			})
		}
	}
	e.phase = to
	e.sendWanted()
}

// sendWanted sends the interrupt that is asked for, if it would reach the code.
func (e *Execution) sendWanted() {
	if e.wanted == 0 || e.phase < phaseRuns || e.over || e.gotReply || e.gotIdle {
		return
	}
	if clock := e.conn.opts.Clock; clock.Paused() {
		clock.AfterFunc(afterResume, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.sendWanted()
		})
		return
	}
	e.wanted = 0
	e.interrupts++
	go e.sendInterrupt()
}

// sendInterrupt calls the interrupt, and passes the turn on if the run ended meanwhile.
func (e *Execution) sendInterrupt() {
	ctx, cancel := context.WithTimeout(context.Background(), e.conn.opts.InterruptGrace)
	defer cancel()
	if err := e.conn.interrupt(ctx); err != nil {
		e.conn.opts.Logger.Warn("interrupt kernel", "error", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.interrupts--
	if e.over && e.interrupts == 0 {
		e.release()
	}
}

// cancel interrupts the run because its context is done or its reader closed it, and bounds its end.
func (e *Execution) cancel() {
	e.mu.Lock()
	already := e.cancelled || e.over
	e.cancelled = true
	if !already {
		e.haltTimer = e.conn.opts.Clock.AfterFunc(e.conn.opts.InterruptGrace, e.halt)
	}
	e.mu.Unlock()
	if !already {
		e.Interrupt()
	}
}

// halt gives up on a run that did not react to its interrupt.
func (e *Execution) halt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.over:
	case e.gotReply:
		e.finishIdleLost()
	case e.gotIdle:
		e.finishLocked(ErrNoReply)
	default:
		a := &abandoned{id: e.id, hit: e.phase > phaseSent}
		e.conn.update(func(f *inFlight) { f.stuck = a })
		if a.hit && e.wanted > 0 { // the kernel begins it just now, and this run sends nothing any more
			time.AfterFunc(runsAfter, func() { e.conn.interruptAbandoned(a) })
		}
		e.finishLocked(ErrInterruptTimeout)
	}
}

// abandoned is a run that was given up while the kernel was not done with it. Until it is, the kernel is stuck.
type abandoned struct {
	id           string
	hit          bool // it has been interrupted, or is about to be
	interrupting bool // an interrupt is being sent
	over         bool // the kernel is done with it
}

// deliverAbandoned takes a message of the run that the kernel is stuck in. It returns the run if that is to be interrupted: one
// that the kernel begins only now is nobody's any more. It is called under the connection's lock.
func (f *inFlight) deliverAbandoned(m *messaging.Message) (unwanted *abandoned) {
	switch {
	case m.Channel == messaging.Shell && m.Header.MsgType == "execute_reply":
		f.stuck.over = true
	case m.Channel != messaging.IOPub:
	case m.Header.MsgType == "execute_input" && !f.stuck.hit:
		f.stuck.hit = true
		return f.stuck
	case m.Header.MsgType == "status":
		content, err := m.Decode()
		if status, ok := content.(*messaging.Status); err == nil && ok {
			f.stuck.over = f.stuck.over || status.ExecutionState == messaging.StateIdle
		}
	}
	f.unstick()
	return nil
}

// unstick lets runs in again when the kernel is done with the run it was stuck in, and no interrupt can hit another.
func (f *inFlight) unstick() {
	if f.stuck.over && !f.stuck.interrupting {
		f.stuck = nil
	}
}

// interruptAbandoned interrupts the run that the kernel is stuck in, again and again until it ends: one interrupt may be lost, or not
// heeded, and nobody else would send another.
func (c *Conn) interruptAbandoned(a *abandoned) {
	over := false
	c.update(func(f *inFlight) {
		over = f.stuck != a
		a.interrupting = !over
	})
	if over || c.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.life, c.opts.InterruptGrace)
	defer cancel()
	if err := c.interrupt(ctx); err != nil {
		c.opts.Logger.Warn("interrupt kernel", "error", err)
	}
	c.update(func(f *inFlight) {
		a.interrupting = false
		f.unstick()
	})
	c.opts.Clock.AfterFunc(c.opts.InterruptGrace, func() { c.interruptAbandoned(a) })
}
