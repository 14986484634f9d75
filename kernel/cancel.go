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
		e.conn.update(func(f *inFlight) { f.stuck = &abandoned{id: e.id, started: e.phase > phaseSent} })
		e.finishLocked(ErrInterruptTimeout)
	}
}

// abandoned is a run that was given up while the kernel was not done with it. Until it is, the kernel is stuck.
type abandoned struct {
	id         string
	started    bool // an interrupt has been sent to it
	interrupts int  // being sent
	over       bool // the kernel is done with it
}

// deliverAbandoned takes a message of the run that the kernel is stuck in. It reports whether to interrupt the run: one
// that the kernel begins only now is nobody's any more. It is called under the connection's lock.
func (f *inFlight) deliverAbandoned(m *messaging.Message) (interrupt bool) {
	switch {
	case m.Channel == messaging.Shell && m.Header.MsgType == "execute_reply":
		f.stuck.over = true
	case m.Channel != messaging.IOPub:
	case m.Header.MsgType == "execute_input" && !f.stuck.started:
		f.stuck.started = true
		f.stuck.interrupts++
		return true
	case m.Header.MsgType == "status":
		content, err := m.Decode()
		if status, ok := content.(*messaging.Status); err == nil && ok {
			f.stuck.over = f.stuck.over || status.ExecutionState == messaging.StateIdle
		}
	}
	f.unstick()
	return false
}

// unstick lets runs in again when the kernel is done with the run it was stuck in, and no interrupt can hit another.
func (f *inFlight) unstick() {
	if f.stuck.over && f.stuck.interrupts == 0 {
		f.stuck = nil
	}
}

// interruptAbandoned interrupts the run that the kernel is stuck in.
func (c *Conn) interruptAbandoned() {
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.InterruptGrace)
	defer cancel()
	if err := c.interrupt(ctx); err != nil {
		c.opts.Logger.Warn("interrupt kernel", "error", err)
	}
	c.update(func(f *inFlight) {
		f.stuck.interrupts-- // it is not another's while this one was being sent
		f.unstick()
	})
}
