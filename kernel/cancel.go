package kernel

import (
	"context"
	"time"
)

// Interrupts are sent only while the kernel runs the code they are meant for. One that comes earlier is lost:
// ipykernel ignores SIGINT until its handler runs, and dies of it before it is initialised. One that waits for a paused process
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
	default:
		e.conn.update(func(f *inFlight) { f.stuck = true })
		e.finishLocked(ErrInterruptTimeout)
	}
}
