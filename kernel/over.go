package kernel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ds-sandbox/ds-sandbox/messaging"
)

// A run is over when both its reply (shell) and its idle (iopub) have come, in either order. Either may
// get lost: PUB drops messages at its mark, ipykernel 7 can strand a reply. This file decides.

// deliver takes a message of this run from the demultiplexer. It never blocks.
func (e *Execution) deliver(m *messaging.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	if e.onEach != nil {
		e.onEach(m)
	}
	// The channel first: a status on shell or an output on stdin means nothing.
	switch m.Channel {
	case messaging.Shell:
		e.takeReply(m)
	case messaging.Stdin:
		if m.Header.MsgType == "input_request" && e.request.AllowStdin {
			e.asking = m
			e.enqueue(m)
		}
	case messaging.IOPub:
		switch m.Header.MsgType {
		case "status":
			e.takeStatus(m)
			return
		case leftOutType:
			e.leaveOut(m)
			return
		}
		e.advance(phaseRuns) // output of any kind shows that the code runs
		e.enqueue(m)
	}
}

func (e *Execution) enqueue(m *messaging.Message) {
	if e.unread {
		return
	}
	e.backlog.push(m)
	e.signal()
}

// signal wakes a waiting reader.
func (e *Execution) signal() {
	if !e.waiting {
		return
	}
	e.waiting = false
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

var leftOutType = (*messaging.LeftOut)(nil).MsgType()

// leaveOut counts what was too large to be received.
func (e *Execution) leaveOut(m *messaging.Message) {
	if content, err := m.Decode(); err == nil {
		e.backlog.leaveOut(max(0, content.(*messaging.LeftOut).Bytes))
		e.signal()
	}
}

func (e *Execution) takeReply(m *messaging.Message) {
	if e.gotReply || m.Header.MsgType != "execute_reply" {
		return
	}
	content, err := m.Decode()
	reply, ok := content.(*messaging.ExecuteReply)
	if err != nil || !ok {
		e.conn.opts.OnProtocolError(err)
		reply = messaging.SalvageExecuteReply(m.Content)
	}
	e.reply, e.gotReply = reply, true
	if e.entire {
		e.enqueue(m)
	}
	e.advance(phaseBusy)
	if e.gotIdle {
		e.finishLocked(nil)
		return
	}
	e.awaitIdle(e.conn.opts.IdleGrace)
}

func (e *Execution) takeStatus(m *messaging.Message) {
	content, err := m.Decode()
	status, ok := content.(*messaging.Status)
	if err != nil || !ok {
		e.conn.opts.OnProtocolError(err)
		return
	}
	if e.entire {
		e.enqueue(m)
	}
	switch status.ExecutionState {
	case messaging.StateBusy:
		e.advance(phaseBusy)
	case messaging.StateIdle:
		if e.gotIdle {
			return
		}
		e.gotIdle = true
		e.advance(phaseBusy)
		if e.gotReply {
			e.finishLocked(nil)
			return
		}
		e.awaitReply()
	}
}

// awaitIdle ends the run, marked truncated, once iopub has been silent for IdleGrace: silence, not time since the reply,
// because a flood is slow to arrive.
func (e *Execution) awaitIdle(wait time.Duration) {
	e.graceTimer = e.conn.opts.Clock.AfterFunc(wait, func() {
		var silent time.Duration
		e.conn.update(func(f *inFlight) { silent = time.Since(f.lastIOPub) })
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.over {
			return
		}
		if left := e.conn.opts.IdleGrace - silent; left > 0 {
			e.awaitIdle(left)
			return
		}
		e.finishIdleLost()
	})
}

// awaitReply asks the kernel for its info after ReplyGrace: that unwedges a stranded reply of ipykernel 7. Shell
// answers in order, so when the info came and the reply did not, it never will. The run's context may be done by then: its
// reply counts nevertheless.
func (e *Execution) awaitReply() { e.probe(func() bool { return e.gotReply }) }

// awaitStart does the same for a request that is not ours: a kernel says nothing about one that it can't read, or has seen before.
func (e *Execution) awaitStart() { e.probe(func() bool { return e.gotReply || e.phase > phaseSent }) }

// probe ends the run with ErrNoReply unless what is awaited comes within ReplyGrace or before the kernel's next reply.
func (e *Execution) probe(came func() bool) {
	e.graceTimer = e.conn.opts.Clock.AfterFunc(e.conn.opts.ReplyGrace, func() {
		e.mu.Lock()
		settled := e.over || came()
		e.mu.Unlock()
		if settled {
			return
		}
		answers := make(chan answer, 1)
		ctx, cancel := context.WithTimeout(context.Background(), e.conn.opts.ReplyGrace)
		defer cancel()
		nudge, err := e.conn.startCall(ctx, messaging.Shell, &messaging.KernelInfoRequest{}, answers)
		if err != nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			if !e.over && e.conn.life.Err() == nil {
				e.probe(came) // the socket took nothing in time
			}
			return
		}
		defer nudge.forget()
		select {
		case <-e.done:
			return
		case <-answers:
		case <-e.conn.life.Done():
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if !came() {
			e.finishLocked(ErrNoReply)
		}
	})
}

// finishIdleLost ends a run that has its reply, and says that its idle is missing.
func (e *Execution) finishIdleLost() {
	e.backlog.idleLost()
	e.finishLocked(nil)
}

// finish ends the run with err, or with nil as runs end.
func (e *Execution) finish(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finishLocked(err)
}

func (e *Execution) finishLocked(err error) {
	if e.over {
		return
	}
	e.over = true
	if e.cancelled && e.ctx.Err() != nil {
		switch cause := context.Cause(e.ctx); {
		case err == nil:
			err = cause
		case errors.Is(err, ErrInterruptTimeout):
			err = fmt.Errorf("%w: %w", cause, err)
		}
	}
	if err != nil {
		e.err = fmt.Errorf("kernel: run: %w", err)
	}
	for _, t := range []*Timer{e.graceTimer, e.haltTimer} {
		if t != nil {
			t.Stop()
		}
	}
	if e.unwatch != nil {
		e.unwatch()
	}
	e.advance(phaseBusy)
	e.wanted = 0
	close(e.done)
	e.signal()
	// The next run starts only when no interrupt of this one is on its way any more. Waiting for that
	// here would block the demultiplexer, so a timer's goroutine does when there is one.
	if e.interrupts == 0 {
		e.release()
	}
}

// release takes the run off the connection and passes the turn on.
func (e *Execution) release() {
	e.conn.update(func(f *inFlight) {
		delete(f.executions, e.id)
		if e.onLate != nil {
			f.late.expect(e.id, e.onLate)
		}
	})
	e.conn.passTurn()
}
